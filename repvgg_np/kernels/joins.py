"""Where branches part and meet: addition, concatenation, and the order of channels. Nothing but memory is moved here.

That is what the paper holds against them: few FLOPs, but every byte is read and written once more.

The oracles are `+`, `reference_networks.channel_shuffle` and `numpy.concatenate`.
"""

from numba import prange

from repvgg_np.kernels.activation import CHUNK
from repvgg_np.kernels.jit import parallel_kernel

CHUNK_ROWS = 256


@parallel_kernel
def add(a, b, relu, out):
    """Add two arrays, number by number.

    Parameters
    ----------
    a, b : ndarray, flat
    relu : bool
        Whether to replace what is negative in the sum by zero.
    out : ndarray, flat
        Is filled.
    """
    zero = a.dtype.type(0)
    for chunk in prange((a.size + CHUNK - 1) // CHUNK):  # each iteration writes its own stretch
        first, last = chunk * CHUNK, min(a.size, (chunk + 1) * CHUNK)
        a_part, b_part, out_part = a[first:last], b[first:last], out[first:last]
        for i in range(a_part.size):
            total = a_part[i] + b_part[i]
            out_part[i] = zero if relu and total < zero else total


@parallel_kernel
def put_channels(x, first, out):
    """Copy the channels of `x` side by side into wider rows.

    Parameters
    ----------
    x : ndarray (M, C)
    first : int
        In which column of `out` they begin.
    out : ndarray (M, C_out)
        Columns `first` to `first + C - 1` are filled.
    """
    for chunk in prange((x.shape[0] + CHUNK_ROWS - 1) // CHUNK_ROWS):  # each iteration writes its own rows
        for row in range(chunk * CHUNK_ROWS, min(x.shape[0], (chunk + 1) * CHUNK_ROWS)):
            for c in range(x.shape[1]):
                out[row, first + c] = x[row, c]


@parallel_kernel
def take_channels(x, order, out):
    """Copy channels in another order: `out[m, k] = x[m, order[k]]`.

    Parameters
    ----------
    x : ndarray (M, C)
    order : ndarray (K,) int64
    out : ndarray (M, K)
        Is filled.
    """
    for chunk in prange((x.shape[0] + CHUNK_ROWS - 1) // CHUNK_ROWS):  # each iteration writes its own rows
        for row in range(chunk * CHUNK_ROWS, min(x.shape[0], (chunk + 1) * CHUNK_ROWS)):
            for k in range(order.size):
                out[row, k] = x[row, order[k]]
