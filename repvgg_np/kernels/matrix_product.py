"""The product of two matrices on all threads, for what is no convolution.

NumPy's `@` would do, but its threads and Numba's get in each other's way: between two convolutions, one product stalls
for milliseconds. The rows of the left-hand matrix are cut into blocks of a fixed height, and every number of the result
is a sum over the depth in one order, so its bits do not depend on the number of threads.

The oracle is `reference.matmul`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.gemm import multiply, pack_panels, round_up
from repvgg_np.kernels.jit import kernel, parallel_kernel
from repvgg_np.kernels.layout import plain_memory
from repvgg_np.kernels.simd import VECTOR_BYTES

BLOCK = 24  # rows: four tiles of six


@kernel
def _block(a, first, rows, depth, panels, bias, out, columns):
    """Compute some rows of the product."""
    starts = depth * np.arange(rows)
    multiply(
        a, first * depth, starts, rows, (1, 0, 1, 0, depth), panels, 0, columns, bias, 0, False, False,
        out, first * columns, columns,
    )  # fmt: skip


@parallel_kernel
def _product(a, rows, depth, panels, bias, out, columns):
    # Every block writes rows of its own.
    for block in prange(-(-rows // BLOCK)):
        first = np.intp(block) * BLOCK
        _block(a, first, min(BLOCK, rows - first), depth, panels, bias, out, columns)


def matrix_product(a, b):
    """Multiply two matrices.

    Parameters
    ----------
    a : ndarray (M, K)
        float32 or float64, in any memory order; no side of length 0.
    b : ndarray (K, N)
        Of the same dtype.

    Returns
    -------
    ndarray (M, N)
        C-contiguous.
    """
    (rows, depth), columns = a.shape, b.shape[1]
    bias = np.zeros(round_up(columns, 2 * VECTOR_BYTES // b.itemsize), b.dtype)
    out = buffers.empty((rows, columns), a.dtype)
    _product(plain_memory(a).reshape(-1), rows, depth, pack_panels(b), bias, out.reshape(-1), columns)
    return out
