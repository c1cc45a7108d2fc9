"""Matrix multiplication near the processor's peak: every convolution here ends in it.

The right-hand matrix is *packed* once into panels of two registers' width, K rows deep and contiguous. For each panel,
the rows of the left-hand matrix are taken six (or four) at a time through the register tiles of `tiles.py`, which read
them where they lie:

    for each panel of b:  for each six rows of a:  out[6 rows, panel] = a[6 rows, :] @ panel

What does not fill a tile: of the last rows, one may be computed twice; columns past the last are zeros in the panel,
and are not written.

The oracle is `reference.matmul`.
"""

import numpy as np

from repvgg_np.kernels import buffers
from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.kernels.tiles import (
    four_rows_of_one_register,
    four_rows_of_two_registers,
    six_rows_of_one_register,
    six_rows_of_two_registers,
)


@kernel
def round_up(number, multiple):
    """Return the smallest multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


def pack_panels(matrix):
    """Pack the right-hand matrix of a product into panels.

    Parameters
    ----------
    matrix : ndarray (..., K, N)
        float32 or float64; each matrix of a stack is packed by itself.

    Returns
    -------
    ndarray (..., K * (N rounded up to whole registers))
        Panel after panel; a panel holds two registers' width of columns (the last one may hold one), row by row.
        Missing columns are zeros.
    """
    stack, depth, columns = matrix.shape[:-2], matrix.shape[-2], matrix.shape[-1]
    lanes = VECTOR_BYTES // matrix.itemsize
    padded = np.zeros((*stack, depth, round_up(columns, lanes)), matrix.dtype)
    padded[..., :columns] = matrix
    whole = padded.shape[-1] // (2 * lanes) * (2 * lanes)
    pairs = padded[..., :whole].reshape(*stack, depth, -1, 2 * lanes)
    pairs = pairs.swapaxes(-3, -2)  # -> (..., panels, K, 2 registers)
    panels = buffers.empty((*stack, depth * padded.shape[-1]), matrix.dtype)
    return np.concatenate([pairs.reshape(*stack, -1), padded[..., whole:].reshape(*stack, -1)], axis=-1, out=panels)


@kernel
def rows_of_next_tile(remaining):
    """Return 6 or 4: how tall the next tile is, so that at the end at most one row is computed twice."""
    return 4 if remaining <= 4 or remaining == 7 or remaining == 8 else 6


@kernel
def multiply(
    a, offset, starts, rows, runs, panels, panel, columns, bias, column, accumulate, relu, out, target, out_stride
):
    """Compute `out = a @ b + bias` for some rows, then ReLU if `relu`, on one thread.

    All arrays but `starts` are flat. Row i of the left-hand matrix begins at `a[offset + starts[i]]` and lies in `runs`
    (see `tiles.py`). The right-hand matrix is packed and begins at `panels[panel]`; `bias[column:]` holds `columns`
    numbers, and zeros up to a whole panel behind them. Row i of the result goes to `out[target + out_stride * i:]`; if
    `accumulate`, the product is added to what stands there, instead of to the bias.
    """
    lanes = VECTOR_BYTES // panels.itemsize
    depth = runs[0] * runs[2] * runs[4]
    for done in range(0, columns, 2 * lanes):
        left = columns - done
        wide = left > lanes
        last = min(left - lanes, lanes) if wide else left  # how many lanes of the last register are real
        to, at = target + done, column + done
        row = 0
        while row < rows:
            height = rows_of_next_tile(rows - row)
            r1, r2, r3 = min(row + 1, rows - 1), min(row + 2, rows - 1), min(row + 3, rows - 1)
            s0, s1, s2, s3 = offset + starts[row], offset + starts[r1], offset + starts[r2], offset + starts[r3]
            t0, t1, t2, t3 = (
                to + out_stride * row, to + out_stride * r1, to + out_stride * r2, to + out_stride * r3
            )  # fmt: skip
            if height == 4:
                sources, targets = (s0, s1, s2, s3), (t0, t1, t2, t3)
                if wide:
                    four_rows_of_two_registers(
                        a, sources, runs, panels, panel, bias, at, accumulate, last, relu, out, targets
                    )
                else:
                    four_rows_of_one_register(
                        a, sources, runs, panels, panel, bias, at, accumulate, last, relu, out, targets
                    )
            else:
                r4, r5 = min(row + 4, rows - 1), min(row + 5, rows - 1)
                sources = (s0, s1, s2, s3, offset + starts[r4], offset + starts[r5])
                targets = (t0, t1, t2, t3, to + out_stride * r4, to + out_stride * r5)
                if wide:
                    six_rows_of_two_registers(
                        a, sources, runs, panels, panel, bias, at, accumulate, last, relu, out, targets
                    )
                else:
                    six_rows_of_one_register(
                        a, sources, runs, panels, panel, bias, at, accumulate, last, relu, out, targets
                    )
            row += height
        panel += depth * 2 * lanes
