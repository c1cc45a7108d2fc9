"""What a training block does number by number, in as few passes over memory as there can be.

A RepVGG block in training adds three batch norms and applies ReLU. With the statistics of the batch known, a batch norm
is a straight line for each channel, and so is its gradient (`batch_norm.py` has the formulas):

    forward    out = ReLU(a3 y3 + a1 y1 + a0 x + shift)                                 one pass
    backward   g = grad_out where out > 0
               sums of g and of g (y - mean) over each channel, for the three y         one pass
               grad_y = a g + b y + c, for the three y                                  one pass

One layer after the other, this would be ten passes, each of which reads and writes the whole batch.

y3 and y1 are what the convolutions return, y0 = x.

Channels-last, the coefficients of neighbouring numbers repeat with the period of the channel count C. They are laid out
here over the shortest period that is also a whole number of registers, so that twelve channels keep all sixteen lanes
busy. Sums are kept for each place of the period, over chunks of a few hundred pixels, and added up in float64: the bits
do not depend on the number of threads, and float32 stays accurate. The variance of a chunk is taken around its own
mean.

The oracles are the layers themselves: `batch_norm.py`, `activation.py`, and an addition.
"""

import math

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.copy import load_some, store_some
from repvgg_np.kernels.jit import kernel, parallel_kernel
from repvgg_np.kernels.simd import (
    VECTOR_BYTES,
    add,
    fma,
    load,
    maximum,
    store,
    store_part,
    subtract,
    where_positive,
    zeros,
)

CHUNK_ROWS = 256


def layout(channels, itemsize):
    """Return the period of the coefficients, and how many numbers a chunk has.

    Parameters
    ----------
    channels : int
    itemsize : int
        Bytes of a number.

    Returns
    -------
    period : int
        The shortest period of the channels that is a whole number of registers.
    chunk : int
        About `CHUNK_ROWS` pixels, in whole periods.
    """
    period = math.lcm(channels, VECTOR_BYTES // itemsize)
    return period, -(-CHUNK_ROWS * channels // period) * period


@kernel
def sum_chunk(x, first, last, period, total):
    """Add up the numbers `first` to `last - 1` by their place in the period."""
    lanes = VECTOR_BYTES // x.itemsize
    for start in range(first, last, period):
        for i in range(0, min(period, last - start), lanes):
            store(total, i, add(load(total, i), load_some(x, start + i, last - start - i)))


@kernel
def sum_squares(x, first, last, period, mean, total):
    """Add up the squared deviations from `mean` by their place in the period."""
    lanes = VECTOR_BYTES // x.itemsize
    for start in range(first, last, period):
        for i in range(0, min(period, last - start), lanes):
            count = last - start - i
            deviation = subtract(load_some(x, start + i, count), load(mean, i))
            square = fma(load(total, i), deviation, deviation)
            # Lanes behind the last number hold -mean, whose square must not be counted.
            store_part(total, i, square, count)


@kernel
def chunk_statistics(x, first, last, channels, period, mean, square):
    """Write the mean of each channel over a chunk to `mean`, place by place, and the sums of squares around it."""
    sum_chunk(x, first, last, period, mean)
    rows = (last - first) // channels
    for i in range(channels):  # the mean of a channel, over all its places in the period
        total = x.dtype.type(0)
        for place in range(i, period, channels):
            total += mean[place]
        for place in range(i, period, channels):
            mean[place] = total / rows
    sum_squares(x, first, last, period, mean, square)


@kernel
def combine_statistics(means, squares, sizes, channels, mean, var):
    """Combine the chunks' statistics, in float64, by Chan's formula.

    The squares around the common mean are the squares around each chunk's mean, plus what the means differ by.
    """
    chunks, period = means.shape
    rows = sizes.sum()
    mean[:], var[:] = 0, 0
    for c in range(chunks):
        for i in range(channels):
            mean[i] += means[c, i] * sizes[c]
    for i in range(channels):
        mean[i] /= rows
    for c in range(chunks):
        for place in range(period):
            var[place % channels] += squares[c, place]
        for i in range(channels):
            var[i] += sizes[c] * (means[c, i] - mean[i]) ** 2
    for i in range(channels):
        var[i] /= rows


@kernel
def repeat(line, target, place, period):
    """Write the coefficients of a line, one for each channel, over a whole period."""
    channels = line.size
    for start in range(0, period, channels):
        for i in range(channels):
            target[place + start + i] = line[i]


@kernel
def combine_chunk(y3, y1, y0, three, coefficients, period, first, last, out):
    """Compute `out = ReLU(a3 y3 + a1 y1 + a0 y0 + shift)` for the numbers `first` to `last - 1`."""
    lanes = VECTOR_BYTES // out.itemsize
    zero = zeros(out)
    for start in range(first, last, period):
        for i in range(0, min(period, last - start), lanes):
            here, count = start + i, last - start - i
            total = fma(load(coefficients, 3 * period + i), load(coefficients, i), load_some(y3, here, count))
            total = fma(total, load(coefficients, period + i), load_some(y1, here, count))
            if three:
                total = fma(total, load(coefficients, 2 * period + i), load_some(y0, here, count))
            store_some(out, here, maximum(total, zero), count)


@parallel_kernel
def _normalise(y3, y1, y0, three, gammas, betas, eps, period, chunk, sizes, partial, means, variances, out):
    branches, channels = gammas.shape
    for c in prange(sizes.size):  # each iteration writes its own rows of `partial`
        first, last = c * chunk, min(out.size, (c + 1) * chunk)
        chunk_statistics(y3, first, last, channels, period, partial[0, c], partial[1, c])
        chunk_statistics(y1, first, last, channels, period, partial[2, c], partial[3, c])
        if three:
            chunk_statistics(y0, first, last, channels, period, partial[4, c], partial[5, c])
    coefficients = np.zeros(4 * period, out.dtype)
    shift = np.zeros(channels, np.float64)
    for b in range(branches):
        combine_statistics(partial[2 * b], partial[2 * b + 1], sizes, channels, means[b], variances[b])
        scale = gammas[b] / np.sqrt(variances[b] + eps[b])
        shift += betas[b] - means[b] * scale
        repeat(scale, coefficients, b * period, period)
    repeat(shift, coefficients, 3 * period, period)
    for c in prange(sizes.size):  # each iteration writes its own stretch of `out`
        combine_chunk(y3, y1, y0, three, coefficients, period, c * chunk, min(out.size, (c + 1) * chunk), out)


def normalise(branches, gammas, betas, eps):
    """Normalise each branch with the statistics of the batch, add the branches, and apply ReLU.

    Parameters
    ----------
    branches : list of ndarray, flat
        Two or three, pixels of C numbers: y3, y1 and, where there is an identity branch, x.
    gammas, betas : ndarray (branches, C) float64
    eps : ndarray (branches,) float64

    Returns
    -------
    out : ndarray, flat
        `ReLU(sum over the branches of gamma (y - mean) / sqrt(var + eps) + beta)`.
    means, variances : ndarray (branches, C) float64
        Of the batch; the variance is the biased one.
    """
    y3, y1, y0 = branches[0], branches[1], branches[-1]
    channels = gammas.shape[1]
    period, chunk = layout(channels, y3.itemsize)
    chunks = -(-y3.size // chunk)
    sizes = np.full(chunks, chunk // channels, np.float64)
    sizes[-1] = y3.size // channels - (chunk // channels) * (chunks - 1)
    partial = np.zeros((2 * len(branches), chunks, period), y3.dtype)
    means, variances = np.empty(gammas.shape), np.empty(gammas.shape)
    out = buffers.empty(y3.shape, y3.dtype)
    three = len(branches) == 3
    _normalise(y3, y1, y0, three, gammas, betas, eps, period, chunk, sizes, partial, means, variances, out)
    return out, means, variances


@kernel
def add_gradients(grad_out, out, y3, y1, y0, three, means, period, first, last, sums):
    """Add up g, g (y3 - mean3), g (y1 - mean1) and g (y0 - mean0) by their place in the period.

    g is the gradient before the ReLU.
    """
    lanes = VECTOR_BYTES // out.itemsize
    for start in range(first, last, period):
        for i in range(0, min(period, last - start), lanes):
            here, count = start + i, last - start - i
            # Behind the last number g is zero, and so are its products.
            g = where_positive(load_some(out, here, count), load_some(grad_out, here, count))
            store(sums, i, add(load(sums, i), g))
            deviation = subtract(load_some(y3, here, count), load(means, i))
            store(sums, period + i, fma(load(sums, period + i), g, deviation))
            deviation = subtract(load_some(y1, here, count), load(means, period + i))
            store(sums, 2 * period + i, fma(load(sums, 2 * period + i), g, deviation))
            if three:
                deviation = subtract(load_some(y0, here, count), load(means, 2 * period + i))
                store(sums, 3 * period + i, fma(load(sums, 3 * period + i), g, deviation))


@kernel
def spread_chunk(grad_out, out, y3, y1, y0, three, coefficients, period, first, last, grad3, grad1, grad0):
    """Compute `a g + b y + c` for each branch, for the numbers `first` to `last - 1`."""
    lanes = VECTOR_BYTES // out.itemsize
    for start in range(first, last, period):
        for i in range(0, min(period, last - start), lanes):
            here, count = start + i, last - start - i
            g = where_positive(load_some(out, here, count), load_some(grad_out, here, count))
            total = fma(load(coefficients, 2 * period + i), load(coefficients, i), g)
            total = fma(total, load(coefficients, period + i), load_some(y3, here, count))
            store_some(grad3, here, total, count)
            total = fma(load(coefficients, 5 * period + i), load(coefficients, 3 * period + i), g)
            total = fma(total, load(coefficients, 4 * period + i), load_some(y1, here, count))
            store_some(grad1, here, total, count)
            if three:
                total = fma(load(coefficients, 8 * period + i), load(coefficients, 6 * period + i), g)
                total = fma(total, load(coefficients, 7 * period + i), load_some(y0, here, count))
                store_some(grad0, here, total, count)


@parallel_kernel
def _backward(
    grad_out, out, y3, y1, y0, three, gammas, means, stds, period, chunk, sums, grad_gammas, grad_sum,
    grad3, grad1, grad0,
):  # fmt: skip
    branches, channels = gammas.shape
    rows = out.size // channels
    repeated = np.zeros(3 * period, out.dtype)
    for b in range(branches):
        repeat(means[b], repeated, b * period, period)
    for c in prange(sums.shape[0]):  # each iteration writes its own row of `sums`
        last = min(out.size, (c + 1) * chunk)
        add_gradients(grad_out, out, y3, y1, y0, three, repeated, period, c * chunk, last, sums[c])
    grad_sum[:], grad_gammas[:] = 0, 0
    for c in range(sums.shape[0]):
        for place in range(period):
            grad_sum[place % channels] += sums[c, place]
            for b in range(branches):
                grad_gammas[b, place % channels] += sums[c, (b + 1) * period + place]
    coefficients = np.zeros(9 * period, out.dtype)
    for b in range(branches):
        grad_gammas[b] /= stds[b]
        # grad_y = gamma / std (g - sum(g) / M - yhat sum(g yhat) / M) = a g + b y + c
        slope = gammas[b] / stds[b]
        curve = -slope * grad_gammas[b] / rows / stds[b]
        repeat(slope, coefficients, 3 * b * period, period)
        repeat(curve, coefficients, (3 * b + 1) * period, period)
        repeat(-slope * grad_sum / rows - curve * means[b], coefficients, (3 * b + 2) * period, period)
    for c in prange(sums.shape[0]):  # each iteration writes its own stretches
        last = min(out.size, (c + 1) * chunk)
        spread_chunk(grad_out, out, y3, y1, y0, three, coefficients, period, c * chunk, last, grad3, grad1, grad0)


def backward(grad_out, out, branches, gammas, means, stds):
    """Compute the gradients of `normalise`.

    Parameters
    ----------
    grad_out, out : ndarray, flat
        The gradient of the output, and the output.
    branches : list of ndarray, flat
    gammas, means, stds : ndarray (branches, C) float64
        As in `normalise`; `stds = sqrt(variances + eps)`.

    Returns
    -------
    grads : list of ndarray, flat
        Of the branches.
    grad_gammas : ndarray (branches, C) float64
    grad_beta : ndarray (C,) float64
        The same for all branches.
    """
    y3, y1, y0 = branches[0], branches[1], branches[-1]
    channels = gammas.shape[1]
    period, chunk = layout(channels, out.itemsize)
    sums = np.zeros((-(-out.size // chunk), 4 * period), out.dtype)
    grad_gammas, grad_beta = np.empty(gammas.shape), np.empty(channels)
    grads = [buffers.empty(out.shape, out.dtype) for _ in branches]
    _backward(
        grad_out, out, y3, y1, y0, len(branches) == 3, gammas, means, stds, period, chunk, sums,
        grad_gammas, grad_beta, grads[0], grads[1], grads[-1],
    )  # fmt: skip
    return grads, grad_gammas, grad_beta


@parallel_kernel
def _add(total, a, b, three, chunk):
    lanes = VECTOR_BYTES // total.itemsize
    for c in prange((total.size + chunk - 1) // chunk):  # each iteration writes its own stretch
        last = min(total.size, (c + 1) * chunk)
        for i in range(c * chunk, last, lanes):
            value = add(load_some(total, i, last - i), load_some(a, i, last - i))
            if three:
                value = add(value, load_some(b, i, last - i))
            store_some(total, i, value, last - i)


def add_to(total, others):
    """Add one or two arrays to `total`, in place.

    Parameters
    ----------
    total : ndarray, flat
    others : list of ndarray, flat
    """
    _add(total, others[0], others[-1], len(others) == 2, 64 * 1024)
