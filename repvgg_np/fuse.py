"""Structural re-parameterization: three branches become one 3x3 convolution (section 3.3 of the paper).

In training a RepVGG block computes

    Y = BN3(X * W3) + BN1(X * W1) + BN0(X)

with a 3x3 kernel W3, a 1x1 kernel W1 and an identity (where input and output have the same shape), each followed by a
batch norm of its own. In inference a batch norm is a straight line for each channel, so all of this is linear in X,
and the sum is one convolution with a bias. Three steps:

1. `fold_batch_norm` writes a batch norm into the kernel before it:    W'_i = (gamma_i / sigma_i) W_i,
   b'_i = beta_i - mu_i gamma_i / sigma_i     (equation 3; sigma is the standard deviation, mu the mean, i the channel).
2. `identity_kernel` and `pad_1x1_to_3x3` make every branch a 3x3 convolution: the identity is a 1x1 convolution with
   the unit matrix, and a 1x1 kernel is a 3x3 kernel with a border of zeros.
3. `fuse_branches` adds kernels and biases, because convolution is linear in the kernel.

Every function returns new arrays, keeps the dtype, and works on exact fractions too (dtype object).
"""

import numpy as np

from repvgg_np.reference import square_root


def fold_batch_norm(kernel, gamma, beta, running_mean, running_var, eps):
    """Write a batch norm in inference mode into the convolution before it.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
        Of a convolution without bias.
    gamma, beta, running_mean, running_var : ndarray (C_out,)
    eps : number

    Returns
    -------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)

    Raises
    ------
    ValueError
        If the shapes don't fit together, or a variance is negative or no number.
    """
    statistics = {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var}
    for name, array in statistics.items():
        if array.shape != kernel.shape[:1]:
            raise ValueError(f"{name} must have the shape {kernel.shape[:1]} of the output channels, got {array.shape}")
    if not (running_var >= 0).all():
        raise ValueError(f"running_var must not be negative or NaN, got {running_var[~(running_var >= 0)][0]}")
    if running_var.dtype != object:
        eps = running_var.dtype.type(eps)
    std = square_root(running_var + eps)
    scale = gamma / std
    return kernel * scale[:, None, None, None], beta - running_mean * scale


def pad_1x1_to_3x3(kernel):
    """Put a border of zeros around a 1x1 kernel. With one pixel more padding, it computes the same.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, 1, 1)

    Returns
    -------
    ndarray (C_out, C_in / groups, 3, 3)

    Raises
    ------
    ValueError
        If the kernel is not 1x1.
    """
    if kernel.shape[2:] != (1, 1):
        raise ValueError(f"kernel must have the shape (C_out, C_in/groups, 1, 1), got {kernel.shape}")
    padded = np.zeros((*kernel.shape[:2], 3, 3), kernel.dtype)
    padded[:, :, 1:2, 1:2] = kernel
    return padded


def identity_kernel(channels, groups=1, dtype=np.float32):
    """Make the 1x1 kernel that copies its input: the unit matrix, or with groups one unit matrix for each group.

    A kernel has only the columns of its own group, so row i has its 1 in column `i mod (channels / groups)`.

    Parameters
    ----------
    channels, groups : int
    dtype : dtype

    Returns
    -------
    ndarray (channels, channels / groups, 1, 1)

    Raises
    ------
    ValueError
        If `groups` does not divide `channels`.
    """
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the {channels} channels, got {groups}")
    kernel = np.zeros((channels, channels // groups, 1, 1), dtype)
    rows = np.arange(channels)
    kernel[rows, rows % (channels // groups)] = 1
    return kernel


def fuse_branches(branches):
    """Add parallel convolutions of the same stride and groups; the 3x3 ones have a pixel more padding than the 1x1.

    Parameters
    ----------
    branches : list of (kernel, bias)
        Kernels (C_out, C_in / groups, 3, 3) or (C_out, C_in / groups, 1, 1), biases (C_out,).

    Returns
    -------
    kernel : ndarray (C_out, C_in / groups, 3, 3)
    bias : ndarray (C_out,)

    Raises
    ------
    ValueError
        If there is no branch, or two have different channels.
    """
    if not branches:
        raise ValueError("branches must not be empty")
    kernels = [kernel if kernel.shape[2:] == (3, 3) else pad_1x1_to_3x3(kernel) for kernel, _ in branches]
    biases = [bias for _, bias in branches]
    for kernel, bias in zip(kernels, biases, strict=True):
        if kernel.shape != kernels[0].shape or bias.shape != kernel.shape[:1]:
            raise ValueError(f"branches must have the same channels, got kernel {kernel.shape}, bias {bias.shape}")
    return sum(kernels[1:], kernels[0].copy()), sum(biases[1:], biases[0].copy())


def fuse(model):
    """Convert a network from its training form to its inference form.

    Parameters
    ----------
    model : Layer
        Any layer, block or network. It is left as it is.

    Returns
    -------
    Layer
        A new network in which every block is one convolution with a bias; in inference mode.
    """
    return model.fused().eval()
