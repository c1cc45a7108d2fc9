"""Matrix multiplication near the processor's peak: every convolution here ends in it.

A core can start one or two fused multiply-adds (FMA) on whole registers in each cycle. To keep it fed, each number that
is loaded must be used several times. A *tile* of the result, 6 rows x 2 registers, stays in twelve registers while the
loop runs over the whole depth K:

    for k in range(K):                          out[0:6, 0:32] += a[0:6, k] (outer product) b[k, 0:32]
        2 loads of b, 6 loads of one number of a, 12 FMA

The right-hand matrix is *packed* once into panels of two registers' width, K rows deep and contiguous, so that the loop
reads memory strictly forward. The left-hand matrix is read row by row as it lies. What does not fill a tile:

* rows past the last repeat the last one: the same value is stored twice in the same place;
* columns past the last are zeros in the panel, and the result has room for them.

The oracle is `reference.matmul`.
"""

import numpy as np

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, fma, load, maximum, store, zeros

TILE_ROWS = 6


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
    return np.concatenate([pairs.reshape(*stack, -1), padded[..., whole:].reshape(*stack, -1)], axis=-1)


@kernel
def tile_of_two_registers(a, rows, depth, panels, panel, bias, column, relu, out, targets):
    """Compute a tile of 6 rows x 2 registers: `out = a @ panel + bias`, then ReLU if `relu`.

    `rows` and `targets` are six indices each: where a row of `a` starts, and where its result goes.
    """
    lanes = VECTOR_BYTES // panels.itemsize
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a00 = a10 = a20 = a30 = a40 = a50 = load(bias, column)
    a01 = a11 = a21 = a31 = a41 = a51 = load(bias, column + lanes)
    for k in range(depth):
        b0 = load(panels, panel)
        b1 = load(panels, panel + lanes)
        panel += 2 * lanes
        a00, a01 = fma(a00, a[r0 + k], b0), fma(a01, a[r0 + k], b1)
        a10, a11 = fma(a10, a[r1 + k], b0), fma(a11, a[r1 + k], b1)
        a20, a21 = fma(a20, a[r2 + k], b0), fma(a21, a[r2 + k], b1)
        a30, a31 = fma(a30, a[r3 + k], b0), fma(a31, a[r3 + k], b1)
        a40, a41 = fma(a40, a[r4 + k], b0), fma(a41, a[r4 + k], b1)
        a50, a51 = fma(a50, a[r5 + k], b0), fma(a51, a[r5 + k], b1)
    if relu:
        zero = zeros(panels)
        a00, a10, a20 = maximum(a00, zero), maximum(a10, zero), maximum(a20, zero)
        a30, a40, a50 = maximum(a30, zero), maximum(a40, zero), maximum(a50, zero)
        a01, a11, a21 = maximum(a01, zero), maximum(a11, zero), maximum(a21, zero)
        a31, a41, a51 = maximum(a31, zero), maximum(a41, zero), maximum(a51, zero)
    store(out, t0, a00)
    store(out, t0 + lanes, a01)
    store(out, t1, a10)
    store(out, t1 + lanes, a11)
    store(out, t2, a20)
    store(out, t2 + lanes, a21)
    store(out, t3, a30)
    store(out, t3 + lanes, a31)
    store(out, t4, a40)
    store(out, t4 + lanes, a41)
    store(out, t5, a50)
    store(out, t5 + lanes, a51)


@kernel
def tile_of_one_register(a, rows, depth, panels, panel, bias, column, relu, out, targets):
    """Compute a tile of 6 rows x 1 register, for the last panel of a narrow or odd matrix."""
    lanes = VECTOR_BYTES // panels.itemsize
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a0 = a1 = a2 = a3 = a4 = a5 = load(bias, column)
    for k in range(depth):
        b = load(panels, panel)
        panel += lanes
        a0, a1, a2 = fma(a0, a[r0 + k], b), fma(a1, a[r1 + k], b), fma(a2, a[r2 + k], b)
        a3, a4, a5 = fma(a3, a[r3 + k], b), fma(a4, a[r4 + k], b), fma(a5, a[r5 + k], b)
    if relu:
        zero = zeros(panels)
        a0, a1, a2 = maximum(a0, zero), maximum(a1, zero), maximum(a2, zero)
        a3, a4, a5 = maximum(a3, zero), maximum(a4, zero), maximum(a5, zero)
    store(out, t0, a0)
    store(out, t1, a1)
    store(out, t2, a2)
    store(out, t3, a3)
    store(out, t4, a4)
    store(out, t5, a5)


@kernel
def six_rows(first, stride, row, last):
    """Return where the rows `row` to `row + 5` start; rows past `last` repeat it."""
    return (
        first + stride * row,
        first + stride * min(row + 1, last),
        first + stride * min(row + 2, last),
        first + stride * min(row + 3, last),
        first + stride * min(row + 4, last),
        first + stride * min(row + 5, last),
    )


@kernel
def multiply(a, first, stride, rows, depth, panels, panel, columns, bias, column, relu, out, target, out_stride):
    """Compute `out = a @ b + bias` for a block of rows, then ReLU if `relu`, on one thread.

    All arrays are flat. Row i of the left-hand matrix is `a[first + stride * i:][:depth]`; the right-hand matrix is
    packed and starts at `panels[panel]`; `bias[column:]` holds `columns` numbers, and zeros up to a whole panel
    behind them.

    Row i of the result is `out[target + out_stride * i:][:columns]`. If `columns` is no multiple of the lanes, up to
    two registers are overwritten behind it: rows must have that room, or be written from left to right.
    """
    lanes = VECTOR_BYTES // panels.itemsize
    for done in range(0, columns, 2 * lanes):
        wide = columns - done > lanes
        for row in range(0, rows, TILE_ROWS):
            sources = six_rows(first, stride, row, rows - 1)
            targets = six_rows(target + done, out_stride, row, rows - 1)
            if wide:
                tile_of_two_registers(a, sources, depth, panels, panel, bias, column + done, relu, out, targets)
            else:
                tile_of_one_register(a, sources, depth, panels, panel, bias, column + done, relu, out, targets)
        panel += depth * 2 * lanes


@kernel
def row_with_room(c_out, columns, lanes):
    """Return a row length for `c_out` columns, made by products of `columns` each, with the room that they need."""
    return c_out if columns % lanes == 0 else round_up(c_out, lanes) + 2 * lanes
