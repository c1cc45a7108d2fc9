"""ReLU6: ReLU that stops at 6, made for numbers of few bits (MobileNet).

The oracles are `reference.relu6` and `reference.relu6_backward`.
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
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            value = x[i]
            value = zero if value < 0 else value
            out[i] = six if value > 6 else value


@parallel_kernel
def relu6_backward(grad_out, out, grad_x):
    """Let the gradient pass where the output is above 0 and below 6.

    Parameters
    ----------
    grad_out, out : ndarray, flat
    grad_x : ndarray, flat
        Is filled.
    """
    for chunk in prange((out.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        for i in range(chunk * CHUNK, min(out.size, (chunk + 1) * CHUNK)):
            grad_x[i] = grad_out[i] if 0 < out[i] < 6 else 0
