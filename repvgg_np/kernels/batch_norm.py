"""Batch norm: the statistics of each channel, the normalisation, and the gradient of both.

    xhat = (x - mean) / sqrt(var + eps),    y = gamma xhat + beta          (Ioffe and Szegedy, arXiv 1502.03167)

Channels-last, a batch is a matrix of M = N*H*W rows and C columns, and every loop here runs along a row, over channels
that lie side by side. What has to be added up over the M rows is added up in two levels: over chunks of at most
`CHUNK_ROWS` rows, then over the chunks, in float64. The chunks depend on M alone, so that the bits do not depend on the
number of threads; and short sums keep float32 accurate.

The variance of a chunk is taken around the chunk's own mean, and the chunks are combined by Chan's formula; the
textbook shortcut E[x^2] - E[x]^2 loses all digits where the mean is large.

The oracles are `reference.batch_statistics`, `reference.batch_norm` and `reference.batch_norm_backward`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.jit import parallel_kernel

CHUNK_ROWS = 256


@parallel_kernel
def _chunk_statistics(x, means, squares):
    rows, channels = x.shape
    for chunk in prange(means.shape[0]):  # each iteration writes its own row of `means` and `squares`
        first, last = chunk * CHUNK_ROWS, min(rows, (chunk + 1) * CHUNK_ROWS)
        mean, square = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        for row in range(first, last):
            for c in range(channels):
                mean[c] += x[row, c]
        for c in range(channels):
            mean[c] /= last - first
        for row in range(first, last):  # the second pass finds the chunk in the cache
            for c in range(channels):
                deviation = x[row, c] - mean[c]
                square[c] += deviation * deviation
        means[chunk], squares[chunk] = mean, square


def batch_statistics(x):
    """Compute the mean and the (biased) variance of each channel.

    Parameters
    ----------
    x : ndarray (M, C)
        A batch as a matrix, C-contiguous.

    Returns
    -------
    mean, var : ndarray (C,)
        Of the dtype of `x`.
    """
    rows, channels = x.shape
    chunks = -(-rows // CHUNK_ROWS)
    means, squares = np.empty((chunks, channels), x.dtype), np.empty((chunks, channels), x.dtype)
    _chunk_statistics(x, means, squares)
    sizes = np.full((chunks, 1), CHUNK_ROWS, np.float64)
    sizes[-1] = rows - CHUNK_ROWS * (chunks - 1)
    means = means.astype(np.float64)
    mean = (means * sizes).sum(axis=0) / rows
    # Chan's formula: squares around the common mean = squares around each chunk's mean + what the means differ by.
    var = (squares + sizes * (means - mean) ** 2).sum(axis=0) / rows
    return mean.astype(x.dtype), var.astype(x.dtype)


@parallel_kernel
def scale_and_shift(x, scale, shift, out):
    """Compute `out = scale x + shift`, channel by channel.

    Parameters
    ----------
    x : ndarray (M, C)
    scale, shift : ndarray (C,)
    out : ndarray (M, C)
        Is filled.
    """
    rows, channels = x.shape
    for chunk in prange((rows + CHUNK_ROWS - 1) // CHUNK_ROWS):  # each iteration writes its own rows
        for row in range(chunk * CHUNK_ROWS, min(rows, (chunk + 1) * CHUNK_ROWS)):
            for c in range(channels):
                out[row, c] = x[row, c] * scale[c] + shift[c]


@parallel_kernel
def _chunk_gradients(grad_out, x, mean, sums, products):
    rows, channels = x.shape
    for chunk in prange(sums.shape[0]):  # each iteration writes its own row of `sums` and `products`
        total, product = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        for row in range(chunk * CHUNK_ROWS, min(rows, (chunk + 1) * CHUNK_ROWS)):
            for c in range(channels):
                total[c] += grad_out[row, c]
                product[c] += grad_out[row, c] * (x[row, c] - mean[c])
        sums[chunk], products[chunk] = total, product


@parallel_kernel
def _grad_input(grad_out, x, a, b, c0, grad_x):
    rows, channels = x.shape
    for chunk in prange((rows + CHUNK_ROWS - 1) // CHUNK_ROWS):  # each iteration writes its own rows
        for row in range(chunk * CHUNK_ROWS, min(rows, (chunk + 1) * CHUNK_ROWS)):
            for c in range(channels):
                grad_x[row, c] = a[c] * grad_out[row, c] + b[c] * x[row, c] + c0[c]


def parameter_gradients(grad_out, x, mean, std):
    """Compute the gradients of gamma and beta.

    Parameters
    ----------
    grad_out, x : ndarray (M, C)
    mean, std : ndarray (C,)
        With which the forward pass normalised.

    Returns
    -------
    grad_gamma, grad_beta : ndarray (C,) float64
        `sum(grad_out xhat)` and `sum(grad_out)`.
    """
    chunks = -(-x.shape[0] // CHUNK_ROWS)
    sums, products = np.empty((chunks, x.shape[1]), x.dtype), np.empty((chunks, x.shape[1]), x.dtype)
    _chunk_gradients(grad_out, x, mean, sums, products)
    return products.sum(axis=0, dtype=np.float64) / std, sums.sum(axis=0, dtype=np.float64)


def input_gradient(grad_out, x, gamma, mean, std, grad_gamma, grad_beta):
    """Compute the gradient of the input in training mode, where mean and variance depend on x too.

    `grad_x = gamma / std (grad_out - grad_beta / M - xhat grad_gamma / M)`, which for each channel is
    `grad_x = a grad_out + b x + c` with three constants.

    Parameters
    ----------
    grad_out, x : ndarray (M, C)
    gamma, mean, std : ndarray (C,)
    grad_gamma, grad_beta : ndarray (C,) float64
        From `parameter_gradients`.

    Returns
    -------
    ndarray (M, C)
    """
    rows = x.shape[0]
    a = gamma.astype(np.float64) / std
    b = -a * grad_gamma / rows / std
    c0 = -a * grad_beta / rows - b * mean
    grad_x = np.empty_like(x)
    _grad_input(grad_out, x, a.astype(x.dtype), b.astype(x.dtype), c0.astype(x.dtype), grad_x)
    return grad_x
