"""ReLU6: ReLU that stops at 6, made for numbers of few bits (MobileNet).

Loops over a slice, from 0, become vector instructions; over part of the whole array's indices they do not (ten times as
slow), because any of those might be negative and count from the end.

The oracles are `reference_networks.relu6` and `reference_networks.relu6_backward`.
"""

from numba import prange

from repvgg_np.kernels.activation import CHUNK
from repvgg_np.kernels.jit import parallel_kernel


@parallel_kernel
def relu6(x, out):
    """Replace what is negative by 0, and what is above 6 by 6; a NaN stays a NaN.

    Parameters
    ----------
    x : ndarray, flat
    out : ndarray, flat
        Is filled.
    """
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)
        x_part, out_part = x[first:last], out[first:last]
        for i in range(x_part.size):
            value = x_part[i]
            value = zero if value < zero else value
            out_part[i] = six if value > six else value


@parallel_kernel
def relu6_backward(grad_out, out, grad_x):
    """Let the gradient pass where the output is above 0 and below 6.

    Parameters
    ----------
    grad_out, out : ndarray, flat
    grad_x : ndarray, flat
        Is filled.
    """
    zero, six = out.dtype.type(0), out.dtype.type(6)
    for chunk in prange((out.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(out.size, (chunk + 1) * CHUNK)
        grad_out_part, out_part, grad_x_part = grad_out[first:last], out[first:last], grad_x[first:last]
        for i in range(out_part.size):
            passes = zero < out_part[i] < six
            grad_x_part[i] = grad_out_part[i] if passes else zero
