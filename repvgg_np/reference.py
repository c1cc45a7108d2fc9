"""What each operation *is*: slow, obvious definitions that every fast kernel is held against.

Everything here is written from its formula, with loops where the formula has sums, for arrays of any dtype: float32,
float64, and arrays of Python's exact `Fraction` (dtype object), on which "equal" means equal. Nothing is imported but
NumPy, so that a mistake elsewhere cannot hide here. This file has what RepVGG consists of; what other networks need
besides is in `reference_networks.py`, Winograd's convolution in `reference_winograd.py`.

Activations are (N, C, H, W), kernels (C_out, C_in / groups, K_h, K_w).
"""

import math

import numpy as np


def square_root(value):
    """Take the square root; of exact fractions it must be exact too.

    Parameters
    ----------
    value : ndarray
        Floats, or (dtype object) `fractions.Fraction`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If a fraction is not the square of a fraction.
    """
    if value.dtype != object:
        return np.sqrt(value)
    roots = np.empty(value.shape, object)
    for index in np.ndindex(value.shape):
        square = value[index]
        roots[index] = type(square)(math.isqrt(square.numerator), math.isqrt(square.denominator))
        if roots[index] * roots[index] != square:
            raise ValueError(f"value must be the square of a fraction, got {square}")
    return roots


def matmul(a, b):
    """Multiply two matrices: `out[i, j] = sum over k of a[i, k] b[k, j]`.

    Parameters
    ----------
    a : ndarray (M, K)
    b : ndarray (K, N)

    Returns
    -------
    ndarray (M, N)
    """
    out = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k in range(a.shape[1]):
        out = out + a[:, k : k + 1] * b[k : k + 1, :]
    return out


def pad(x, padding):
    """Put a border of zeros around each picture.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    padding : pair of int
        Above and below, left and right.

    Returns
    -------
    ndarray (N, C, H + 2 padding[0], W + 2 padding[1])
    """
    n, c, height, width = x.shape
    padded = np.zeros((n, c, height + 2 * padding[0], width + 2 * padding[1]), x.dtype)
    padded[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = x
    return padded


def conv2d(x, weight, bias=None, stride=(1, 1), padding=(1, 1), groups=1):
    """Convolve: the seven loops, three of which are left to NumPy.

    `out[n, o, i, j] = bias[o] + sum over (c, k, l) of x[n, c', i s + k - p, j s + l - p] weight[o, c, k, l]`,
    where c' is channel c of the group that output channel o belongs to, s the stride and p the padding.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,), optional
    stride, padding : pair of int
    groups : int

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
    """
    c_out, depth_in, k_h, k_w = weight.shape
    x = pad(x, padding)
    height = (x.shape[2] - k_h) // stride[0] + 1
    width = (x.shape[3] - k_w) // stride[1] + 1
    out = np.zeros((x.shape[0], c_out, height, width), x.dtype)
    for o in range(c_out):
        first = o // (c_out // groups) * depth_in  # the first input channel of this output channel's group
        for c in range(depth_in):
            for k in range(k_h):
                for l in range(k_w):  # noqa: E741
                    rows = slice(k, k + height * stride[0], stride[0])
                    columns = slice(l, l + width * stride[1], stride[1])
                    out[:, o] = out[:, o] + x[:, first + c, rows, columns] * weight[o, c, k, l]
        if bias is not None:
            out[:, o] = out[:, o] + bias[o]
    return out


def conv2d_backward(grad_out, x, weight, stride=(1, 1), padding=(1, 1), groups=1):
    """Run the loops of `conv2d` again; each product hands its gradient to both of its factors.

    Parameters
    ----------
    grad_out : ndarray (N, C_out, H_out, W_out)
    x, weight, stride, padding, groups
        As in the forward pass.

    Returns
    -------
    grad_x : ndarray (N, C_in, H, W)
    grad_weight : ndarray (C_out, C_in / groups, K_h, K_w)
    grad_bias : ndarray (C_out,)
    """
    c_out, depth_in, k_h, k_w = weight.shape
    height, width = grad_out.shape[2:]
    padded = pad(x, padding)
    grad_padded = np.zeros(padded.shape, x.dtype)
    grad_weight = np.zeros(weight.shape, x.dtype)
    for o in range(c_out):
        first = o // (c_out // groups) * depth_in
        for c in range(depth_in):
            for k in range(k_h):
                for l in range(k_w):  # noqa: E741
                    rows = slice(k, k + height * stride[0], stride[0])
                    columns = slice(l, l + width * stride[1], stride[1])
                    grad_weight[o, c, k, l] = (padded[:, first + c, rows, columns] * grad_out[:, o]).sum()
                    grad_padded[:, first + c, rows, columns] += grad_out[:, o] * weight[o, c, k, l]
    rows = slice(padding[0], padding[0] + x.shape[2])
    columns = slice(padding[1], padding[1] + x.shape[3])
    return grad_padded[:, :, rows, columns], grad_weight, grad_out.sum(axis=(0, 2, 3))


def batch_norm(x, gamma, beta, mean, var, eps):
    """Normalise each channel with the statistics given: `gamma (x - mean) / sqrt(var + eps) + beta`.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    gamma, beta, mean, var : ndarray (C,)
        In inference mode the running statistics, in training mode those of the batch.
    eps : number

    Returns
    -------
    ndarray (N, C, H, W)
    """
    std = square_root(var + eps)
    return (x - mean[:, None, None]) * (gamma / std)[:, None, None] + beta[:, None, None]


def batch_statistics(x):
    """Return the mean and the (biased) variance of each channel, over the batch and both axes of the picture.

    Parameters
    ----------
    x : ndarray (N, C, H, W)

    Returns
    -------
    mean, var : ndarray (C,)
    """
    count = x.shape[0] * x.shape[2] * x.shape[3]
    mean = x.sum(axis=(0, 2, 3)) / count
    deviation = x - mean[:, None, None]
    return mean, (deviation * deviation).sum(axis=(0, 2, 3)) / count


def batch_norm_backward(grad_out, x, gamma, eps):
    """Compute the gradients of batch norm in training mode, where mean and variance depend on x too.

    With `xhat = (x - mean) / std` and m numbers in a channel:
    `grad_x = gamma / std (grad_out - mean(grad_out) - xhat mean(grad_out xhat))` (Ioffe and Szegedy, arXiv 1502.03167).

    Parameters
    ----------
    grad_out, x : ndarray (N, C, H, W)
    gamma : ndarray (C,)
    eps : number

    Returns
    -------
    grad_x : ndarray (N, C, H, W)
    grad_gamma, grad_beta : ndarray (C,)
    """
    count = x.shape[0] * x.shape[2] * x.shape[3]
    mean, var = batch_statistics(x)
    std = square_root(var + eps)
    xhat = (x - mean[:, None, None]) / std[:, None, None]
    grad_gamma = (grad_out * xhat).sum(axis=(0, 2, 3))
    grad_beta = grad_out.sum(axis=(0, 2, 3))
    spread = grad_out - (grad_beta / count)[:, None, None] - xhat * (grad_gamma / count)[:, None, None]
    return spread * (gamma / std)[:, None, None], grad_gamma, grad_beta


def relu(x):
    """Replace what is negative by zero. A NaN stays a NaN.

    Parameters
    ----------
    x : ndarray

    Returns
    -------
    ndarray
    """
    return np.where(x < 0, x - x, x)


def relu_backward(grad_out, out):
    """Let the gradient pass where the output is positive.

    Parameters
    ----------
    grad_out, out : ndarray

    Returns
    -------
    ndarray
    """
    return np.where(out > 0, grad_out, grad_out - grad_out)


def global_average_pool(x):
    """Average each channel over the picture.

    Parameters
    ----------
    x : ndarray (N, C, H, W)

    Returns
    -------
    ndarray (N, C)
    """
    return x.sum(axis=(2, 3)) / (x.shape[2] * x.shape[3])


def linear(x, weight, bias):
    """Multiply by a matrix and add a bias: `x @ weight.T + bias`.

    Parameters
    ----------
    x : ndarray (N, C_in)
    weight : ndarray (C_out, C_in)
    bias : ndarray (C_out,)

    Returns
    -------
    ndarray (N, C_out)
    """
    return matmul(x, weight.T) + bias


def momentum_step(data, grad, velocity, learning_rate, momentum, weight_decay, nesterov):
    """Return a parameter and its velocity after a step of gradient descent with momentum (PyTorch's formula).

    Parameters
    ----------
    data, grad, velocity : ndarray
        Of one shape, and any dtype.
    learning_rate, momentum, weight_decay : number
        Of that dtype.
    nesterov : bool

    Returns
    -------
    data, velocity : ndarray
    """
    direction = grad + weight_decay * data
    velocity = momentum * velocity + direction
    return data - learning_rate * (direction + momentum * velocity if nesterov else velocity), velocity
