"""Depthwise convolution: every channel has a small kernel of its own, and channels never mix.

    out[n, c, i, j] = bias[c] + sum over (k, l) of x[n, c, i s + k - p, j s + l - p] w[c, k, l]

(s is the stride, p the padding.)

As a matrix product this would be C products with one column each. Here the channels of a pixel lie side by side, so a
register holds sixteen of them, and one multiply-add does sixteen channels: each loaded number is used once, and memory
sets the speed. (That is the paper's point about depthwise convolutions: few FLOPs are not much speed.)

The oracle is `reference.conv2d` with `groups` equal to the number of channels.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.jit import kernel, parallel_kernel


@kernel
def _span(offset, stride, size, out_size):
    """Return the outputs `first` to `last - 1` for which `output * stride + offset` lies in an input of `size`."""
    first = max(0, (-offset + stride - 1) // stride)
    last = min(out_size, (size - 1 - offset) // stride + 1)
    return first, last


@parallel_kernel
def forward(x, weight, bias, relu, stride, padding, out):
    """Convolve depthwise.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (K_h, K_w, C)
    bias : ndarray (C,)
    relu : bool
    stride, padding : pair of int
    out : ndarray (N, H_out, W_out, C)
        Is filled.
    """
    k_h, k_w, channels = weight.shape
    for row in prange(out.shape[0] * out.shape[1]):  # each iteration writes one row of one picture
        n, i = row // out.shape[1], row % out.shape[1]
        for j in range(out.shape[2]):
            for c in range(channels):
                out[n, i, j, c] = bias[c]
        for k in range(k_h):
            y = i * stride[0] + k - padding[0]
            if not 0 <= y < x.shape[1]:
                continue
            for l in range(k_w):  # noqa: E741
                first, last = _span(l - padding[1], stride[1], x.shape[2], out.shape[2])
                for j in range(first, last):
                    column = j * stride[1] + l - padding[1]
                    for c in range(channels):
                        out[n, i, j, c] += x[n, y, column, c] * weight[k, l, c]
        if relu:
            for j in range(out.shape[2]):
                for c in range(channels):
                    if out[n, i, j, c] < 0:
                        out[n, i, j, c] = 0


@parallel_kernel
def grad_input(grad_out, weight, stride, padding, grad_x):
    """Compute the gradient of the input: each output hands its gradient back through the same weights.

    Parameters
    ----------
    grad_out : ndarray (N, H_out, W_out, C)
    weight : ndarray (K_h, K_w, C)
    stride, padding : pair of int
    grad_x : ndarray (N, H, W, C)
        Is filled.
    """
    k_h, k_w, channels = weight.shape
    for n in prange(grad_x.shape[0]):  # each iteration writes one picture
        grad_x[n] = 0
        for i in range(grad_out.shape[1]):
            for k in range(k_h):
                y = i * stride[0] + k - padding[0]
                if not 0 <= y < grad_x.shape[1]:
                    continue
                for l in range(k_w):  # noqa: E741
                    first, last = _span(l - padding[1], stride[1], grad_x.shape[2], grad_out.shape[2])
                    for j in range(first, last):
                        column = j * stride[1] + l - padding[1]
                        for c in range(channels):
                            grad_x[n, y, column, c] += grad_out[n, i, j, c] * weight[k, l, c]


@parallel_kernel
def grad_kernel(x, grad_out, stride, padding, grad_weight):
    """Compute the gradient of the kernel, a sum over all pixels of all pictures.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    grad_out : ndarray (N, H_out, W_out, C)
    stride, padding : pair of int
    grad_weight : ndarray (K_h, K_w, C)
        Is filled.
    """
    k_h, k_w, channels = grad_weight.shape
    for tap in prange(k_h * k_w):  # each iteration writes one tap of the kernel, so nothing is added up across threads
        k, l = tap // k_w, tap % k_w  # noqa: E741
        grad_weight[k, l] = 0
        first, last = _span(l - padding[1], stride[1], x.shape[2], grad_out.shape[2])
        row_sum = np.empty(channels, x.dtype)
        for n in range(x.shape[0]):
            for i in range(grad_out.shape[1]):
                y = i * stride[0] + k - padding[0]
                if not 0 <= y < x.shape[1]:
                    continue
                row_sum[:] = 0  # short sums of short sums keep float32 accurate
                for j in range(first, last):
                    column = j * stride[1] + l - padding[1]
                    for c in range(channels):
                        row_sum[c] += x[n, y, column, c] * grad_out[n, i, j, c]
                for c in range(channels):
                    grad_weight[k, l, c] += row_sum[c]
