"""The sigmoid 1 / (1 + exp(-x)), and SiLU, which multiplies x by its own sigmoid (EfficientNet's "swish").

Written so that no exponential overflows: exp is only ever taken of a number that is not positive.

The oracles are `reference_networks.sigmoid` and `reference_networks.silu`, with their gradients.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.activation import CHUNK
from repvgg_np.kernels.jit import kernel, parallel_kernel


@kernel
def sigmoid_of(value, one):
    """Return 1 / (1 + exp(-value)); `one` is 1 of the same dtype, so that float32 stays float32."""
    small = np.exp(-abs(value))
    return one / (one + small) if value >= 0 else small / (one + small)


@parallel_kernel
def sigmoid(x, out):
    """Compute the sigmoid of each number.

    Parameters
    ----------
    x : ndarray, flat
    out : ndarray, flat
        Is filled.
    """
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)
        x_part, out_part = x[first:last], out[first:last]
        for i in range(x_part.size):
            out_part[i] = sigmoid_of(x_part[i], one)


@parallel_kernel
def sigmoid_backward(grad_out, out, grad_x):
    """Multiply the gradient by the sigmoid's derivative, `out (1 - out)`.

    Parameters
    ----------
    grad_out, out : ndarray, flat
    grad_x : ndarray, flat
        Is filled.
    """
    one = out.dtype.type(1)
    for chunk in prange((out.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(out.size, (chunk + 1) * CHUNK)
        grad_out_part, out_part, grad_x_part = grad_out[first:last], out[first:last], grad_x[first:last]
        for i in range(out_part.size):
            grad_x_part[i] = grad_out_part[i] * out_part[i] * (one - out_part[i])


@parallel_kernel
def silu(x, out):
    """Compute `x sigmoid(x)` of each number.

    Parameters
    ----------
    x : ndarray, flat
    out : ndarray, flat
        Is filled.
    """
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)
        x_part, out_part = x[first:last], out[first:last]
        for i in range(x_part.size):
            out_part[i] = x_part[i] * sigmoid_of(x_part[i], one)


@parallel_kernel
def silu_backward(grad_out, x, grad_x):
    """Multiply the gradient by SiLU's derivative, `s (1 + x (1 - s))` with `s = sigmoid(x)`.

    Parameters
    ----------
    grad_out, x : ndarray, flat
    grad_x : ndarray, flat
        Is filled.
    """
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)
        grad_out_part, x_part, grad_x_part = grad_out[first:last], x[first:last], grad_x[first:last]
        for i in range(x_part.size):
            share = sigmoid_of(x_part[i], one)
            grad_x_part[i] = grad_out_part[i] * share * (one + x_part[i] * (one - share))
