"""What each operation *is* that the networks beside RepVGG need: pooling by windows, activations, gates, shuffling.

Like `reference.py`, which has the operations of RepVGG itself: slow and obvious definitions. Activations are
(N, C, H, W).
"""

import numpy as np

from repvgg_np.reference import relu


def max_pool(x, kernel_size, stride, padding, out_size):
    """Take the largest number of each window of pixels; the padding never counts.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    kernel_size, stride, padding : pair of int
    out_size : pair of int
        How many windows there are down and across.

    Returns
    -------
    ndarray (N, C, H_out, W_out)
    """
    out = np.empty((*x.shape[:2], *out_size), x.dtype)
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[(n, c, *_window(i, j, kernel_size, stride, padding))].max()
    return out


def max_pool_backward(grad_out, x, kernel_size, stride, padding):
    """Give each window's gradient to its largest number; of several, to the first, row by row.

    Parameters
    ----------
    grad_out : ndarray (N, C, H_out, W_out)
    x : ndarray (N, C, H, W)
    kernel_size, stride, padding : pair of int

    Returns
    -------
    ndarray (N, C, H, W)
    """
    grad_x = np.zeros(x.shape, x.dtype)
    for n, c, i, j in np.ndindex(grad_out.shape):
        place = (n, c, *_window(i, j, kernel_size, stride, padding))
        winner = np.unravel_index(x[place].argmax(), x[place].shape)
        grad_x[place][winner] += grad_out[n, c, i, j]
    return grad_x


def _window(i, j, kernel_size, stride, padding):
    """Return the rows and the columns of a picture that window (i, j) covers, as slices."""
    top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
    return slice(max(top, 0), top + kernel_size[0]), slice(max(left, 0), left + kernel_size[1])


def average_windows(x, rows, columns):
    """Add up each window of pixels and divide.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    rows, columns : sequence of (first, last, divisor)
        Each window covers pixels `first` to `last - 1`; its sum is divided by both divisors.

    Returns
    -------
    ndarray (N, C, H_out, W_out)
    """
    out = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    for i, (top, bottom, height) in enumerate(rows):
        for j, (left, right, width) in enumerate(columns):
            out[:, :, i, j] = x[:, :, top:bottom, left:right].sum(axis=(2, 3)) / (height * width)
    return out


def average_windows_backward(grad_out, rows, columns, shape):
    """Share each average's gradient among the pixels of its window.

    Parameters
    ----------
    grad_out : ndarray (N, C, H_out, W_out)
    rows, columns : sequence of (first, last, divisor)
    shape : tuple
        Of the input, (N, C, H, W).

    Returns
    -------
    ndarray (N, C, H, W)
    """
    grad_x = np.zeros(shape, grad_out.dtype)
    for i, (top, bottom, height) in enumerate(rows):
        for j, (left, right, width) in enumerate(columns):
            grad_x[:, :, top:bottom, left:right] += grad_out[:, :, i : i + 1, j : j + 1] / (height * width)
    return grad_x


def sigmoid(x):
    """Compute `1 / (1 + exp(-x))`, for x so moderate that the exponential is a number."""
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(grad_out, out):
    """Multiply the gradient by `out (1 - out)`."""
    return grad_out * out * (1 - out)


def silu(x):
    """Compute `x sigmoid(x)`."""
    return x * sigmoid(x)


def silu_backward(grad_out, x):
    """Multiply the gradient by `s + x s (1 - s)` with `s = sigmoid(x)`: the product rule."""
    return grad_out * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)))


def relu6(x):
    """Replace what is negative by 0 and what is above 6 by 6. A NaN stays a NaN."""
    return np.where(x > 6, x - x + 6, relu(x))


def relu6_backward(grad_out, out):
    """Let the gradient pass where the output is above 0 and below 6."""
    return np.where((out > 0) & (out < 6), grad_out, grad_out - grad_out)


def channel_shuffle(x, groups):
    """Deal out the channels: first the first of every group, then the second of every group, and so on.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    groups : int

    Returns
    -------
    ndarray (N, C, H, W)
    """
    size = x.shape[1] // groups
    order = [group * size + member for member in range(size) for group in range(groups)]
    return x[:, order]


def gate(x, gate):
    """Multiply each channel of each picture by a number of its own.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    gate : ndarray (N, C)

    Returns
    -------
    ndarray (N, C, H, W)
    """
    return x * gate[:, :, None, None]


def gate_backward(grad_out, x, gate):
    """Compute the gradients of `gate`: the product rule.

    Parameters
    ----------
    grad_out, x : ndarray (N, C, H, W)
    gate : ndarray (N, C)

    Returns
    -------
    grad_x : ndarray (N, C, H, W)
    grad_gate : ndarray (N, C)
    """
    return grad_out * gate[:, :, None, None], (grad_out * x).sum(axis=(2, 3))
