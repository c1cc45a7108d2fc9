"""ReLU, and the average over the picture before the classifier: short loops that only read and write.

The oracles are `reference.relu`, `reference.relu_backward` and `reference.global_average_pool`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.jit import parallel_kernel

CHUNK = 16384


@parallel_kernel
def relu(x, out):
    """Replace what is negative by zero; a NaN stays a NaN.

    Parameters
    ----------
    x : ndarray, flat
    out : ndarray, flat
        Is filled; may be `x` itself.
    """
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        source, target = x[chunk * CHUNK : (chunk + 1) * CHUNK], out[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(source.size):
            target[i] = x.dtype.type(0) if source[i] < 0 else source[i]


@parallel_kernel
def relu_backward(grad_out, out, grad_x):
    """Let the gradient pass where the output is positive.

    Parameters
    ----------
    grad_out, out : ndarray, flat
    grad_x : ndarray, flat
        Is filled; may be `grad_out` itself.
    """
    for chunk in prange((out.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, (chunk + 1) * CHUNK
        result, grad, target = out[first:last], grad_out[first:last], grad_x[first:last]
        for i in range(result.size):
            target[i] = grad[i] if result[i] > 0 else out.dtype.type(0)


@parallel_kernel
def global_average_pool(x, out):
    """Average each channel over the picture.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    out : ndarray (N, C)
        Is filled.
    """
    size = x.shape[1] * x.shape[2]
    for n in prange(x.shape[0]):  # each iteration writes one picture's row
        total = np.zeros(x.shape[3], x.dtype)
        row_sum = np.empty(x.shape[3], x.dtype)
        for i in range(x.shape[1]):
            row_sum[:] = 0  # short sums of short sums keep float32 accurate
            for j in range(x.shape[2]):
                for c in range(x.shape[3]):
                    row_sum[c] += x[n, i, j, c]
            for c in range(x.shape[3]):
                total[c] += row_sum[c]
        for c in range(x.shape[3]):
            out[n, c] = total[c] / size
