"""Pooling: one number out of each window of pixels, the largest or the average, channel by channel.

The channels of a pixel lie side by side: the innermost loop runs over channels, and a register holds sixteen of them.

The oracles are `max_pool` and `average_windows`, each with its `_backward`, in `reference_networks.py`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.jit import parallel_kernel


def max_pool_size(size, kernel_size, stride, padding, ceil_mode):
    """Return how many windows fit along one axis.

    Parameters
    ----------
    size, kernel_size, stride, padding : int
    ceil_mode : bool
        Whether a last window may reach beyond the border; it must begin inside the picture or its padding on the left,
        as in PyTorch.

    Returns
    -------
    int
    """
    room = size + 2 * padding - kernel_size
    if not ceil_mode:
        return room // stride + 1
    windows = -(-room // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


def fixed_windows(size, kernel_size, stride, padding):
    """Return the windows of an ordinary average pooling along one axis.

    Parameters
    ----------
    size, kernel_size, stride, padding : int

    Returns
    -------
    ndarray (windows, 3) int64
        First pixel, the one after the last, and by what to divide: by the whole window, the padding's zeros included.
    """
    first = np.arange((size + 2 * padding - kernel_size) // stride + 1) * stride - padding
    last = np.minimum(first + kernel_size, size)
    return np.stack([np.maximum(first, 0), last, np.full_like(first, kernel_size)], axis=1)


def adaptive_windows(size, out_size):
    """Return the windows that share `size` pixels among `out_size` averages; they overlap where it doesn't divide.

    Parameters
    ----------
    size, out_size : int

    Returns
    -------
    ndarray (windows, 3) int64
        First pixel, the one after the last, and by what to divide: by how many there are.
    """
    number = np.arange(out_size)
    first, last = number * size // out_size, -(-(number + 1) * size // out_size)
    return np.stack([first, last, last - first], axis=1)


@parallel_kernel
def max_pool(x, kernel_size, stride, padding, out):
    """Take the largest number of each window; a NaN in it is the largest.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    kernel_size, stride, padding : pair of int
        Every window must hold a pixel.
    out : ndarray (N, H_out, W_out, C)
        Is filled.
    """
    for row in prange(out.shape[0] * out.shape[1]):  # each iteration writes one row of one picture
        n, i = row // out.shape[1], row % out.shape[1]
        top = i * stride[0] - padding[0]
        first, last = max(top, 0), min(top + kernel_size[0], x.shape[1])
        for j in range(out.shape[2]):
            left = j * stride[1] - padding[1]
            first_column = max(left, 0)
            for c in range(x.shape[3]):
                out[n, i, j, c] = x[n, first, first_column, c]
            for y in range(first, last):
                for z in range(first_column, min(left + kernel_size[1], x.shape[2])):
                    for c in range(x.shape[3]):
                        value = x[n, y, z, c]
                        if value > out[n, i, j, c] or value != value:  # only a NaN differs from itself
                            out[n, i, j, c] = value


@parallel_kernel
def max_pool_backward(grad_out, x, out, kernel_size, stride, padding, grad_x):
    """Give each window's gradient to the first of its pixels, row by row, that holds the largest number.

    Parameters
    ----------
    grad_out : ndarray (N, H_out, W_out, C)
    x : ndarray (N, H, W, C)
    out : ndarray (N, H_out, W_out, C)
        What `max_pool` returned. A NaN equals nothing: its gradient goes nowhere.
    kernel_size, stride, padding : pair of int
    grad_x : ndarray (N, H, W, C)
        Is filled.
    """
    channels = x.shape[3]
    for n in prange(x.shape[0]):  # windows overlap within a picture only: each iteration owns one
        grad_x[n] = 0
        found = np.empty(channels, np.bool_)
        for i in range(out.shape[1]):
            top = i * stride[0] - padding[0]
            for j in range(out.shape[2]):
                left = j * stride[1] - padding[1]
                found[:] = False
                for y in range(max(top, 0), min(top + kernel_size[0], x.shape[1])):
                    for z in range(max(left, 0), min(left + kernel_size[1], x.shape[2])):
                        for c in range(channels):
                            if not found[c] and x[n, y, z, c] == out[n, i, j, c]:
                                grad_x[n, y, z, c] += grad_out[n, i, j, c]
                                found[c] = True


@parallel_kernel
def average_windows(x, rows, columns, out):
    """Add up each window and divide.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    rows, columns : ndarray (H_out, 3) and (W_out, 3) int64
        From `fixed_windows` or `adaptive_windows`.
    out : ndarray (N, H_out, W_out, C)
        Is filled.
    """
    for row in prange(out.shape[0] * out.shape[1]):  # each iteration writes one row of one picture
        n, i = row // out.shape[1], row % out.shape[1]
        for j in range(out.shape[2]):
            for c in range(x.shape[3]):
                out[n, i, j, c] = 0
            for y in range(rows[i, 0], rows[i, 1]):
                for z in range(columns[j, 0], columns[j, 1]):
                    for c in range(x.shape[3]):
                        out[n, i, j, c] += x[n, y, z, c]
            for c in range(x.shape[3]):
                out[n, i, j, c] /= rows[i, 2] * columns[j, 2]


@parallel_kernel
def average_windows_backward(grad_out, rows, columns, grad_x):
    """Share each average's gradient among the pixels of its window.

    Parameters
    ----------
    grad_out : ndarray (N, H_out, W_out, C)
    rows, columns : ndarray (H_out, 3) and (W_out, 3) int64
    grad_x : ndarray (N, H, W, C)
        Is filled.
    """
    for n in prange(grad_x.shape[0]):  # windows overlap within a picture only: each iteration owns one
        grad_x[n] = 0
        for i in range(grad_out.shape[1]):
            for j in range(grad_out.shape[2]):
                size = rows[i, 2] * columns[j, 2]
                for y in range(rows[i, 0], rows[i, 1]):
                    for z in range(columns[j, 0], columns[j, 1]):
                        for c in range(grad_x.shape[3]):
                            grad_x[n, y, z, c] += grad_out[n, i, j, c] / size
