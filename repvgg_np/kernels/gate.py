"""A gate: every channel of every picture is multiplied by a number of its own (the "excite" of squeeze-and-excite).

The oracles are `reference_networks.gate` and `reference_networks.gate_backward`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.jit import parallel_kernel


@parallel_kernel
def scale_channels(x, gate, out):
    """Compute `out[n, i, j, c] = x[n, i, j, c] gate[n, c]`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    gate : ndarray (N, C)
    out : ndarray (N, H, W, C)
        Is filled.
    """
    for row in prange(x.shape[0] * x.shape[1]):  # each iteration writes one row of one picture
        n, i = row // x.shape[1], row % x.shape[1]
        for j in range(x.shape[2]):
            for c in range(x.shape[3]):
                out[n, i, j, c] = x[n, i, j, c] * gate[n, c]


@parallel_kernel
def sum_products(a, b, out):
    """Compute the gate's gradient, `out[n, c] = sum over (i, j) of a[n, i, j, c] b[n, i, j, c]`.

    Parameters
    ----------
    a, b : ndarray (N, H, W, C)
    out : ndarray (N, C)
        Is filled.
    """
    for n in prange(a.shape[0]):  # each iteration writes one picture's row
        row_sum = np.empty(a.shape[3], a.dtype)
        out[n] = 0
        for i in range(a.shape[1]):
            row_sum[:] = 0  # short sums of short sums keep float32 accurate
            for j in range(a.shape[2]):
                for c in range(a.shape[3]):
                    row_sum[c] += a[n, i, j, c] * b[n, i, j, c]
            for c in range(a.shape[3]):
                out[n, c] += row_sum[c]
