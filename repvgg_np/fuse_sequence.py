"""More algebra of folding: the six transforms of the Diverse Branch Block (arXiv 2103.13425, section 3.2).

`fuse.py` has what RepVGG needs. Blocks after it (and ACNet's before it) need convolutions that follow one another,
average pooling, and kernels that are neither 3x3 nor 1x1. In the numbering of that paper, with "*" the convolution:

    I    a batch norm goes into the kernel before it             `fuse.fold_batch_norm`, `fold_batch_norm_after_bias`
    II   parallel branches add up                                `add_branches` (`fuse.fuse_branches` for RepVGG)
    III  a 1x1 convolution goes into the KxK one after it        `fold_sequence`
    IV   groups are convolutions of their own, side by side      `concatenate`, `join_groups`
    V    average pooling is a convolution                        `average_kernel`
    VI   a smaller kernel is a larger one with a border of zeros `pad_kernel` (`fuse.pad_1x1_to_3x3` for RepVGG)

As in `fuse.py`, every function returns new arrays, keeps the dtype, and works on exact fractions too (dtype object).
"""

from fractions import Fraction

import numpy as np

from repvgg_np.fuse import fold_batch_norm


def fold_batch_norm_after_bias(kernel, bias, gamma, beta, running_mean, running_var, eps):
    """Write a batch norm into the convolution before it, which has a bias (transform I).

    `BN(X * W + b)` subtracts the mean, so a bias before it is a mean that is smaller by the bias.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)
    gamma, beta, running_mean, running_var, eps
        As for `fuse.fold_batch_norm`.

    Returns
    -------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)
    """
    return fold_batch_norm(kernel, gamma, beta, running_mean - bias, running_var, eps)


def pad_kernel(kernel, size):
    """Put a border of zeros around a kernel (transform VI). With as much more padding, it computes the same.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    size : pair of int
        The height and width that it is to have; each larger by an even number, or equal.

    Returns
    -------
    ndarray (C_out, C_in / groups, *size)

    Raises
    ------
    ValueError
        If the middle of the kernel cannot be the middle of the larger one.
    """
    height, width = kernel.shape[2:]
    more = size[0] - height, size[1] - width
    if min(more) < 0 or more[0] % 2 or more[1] % 2:
        raise ValueError(f"size must be {height}x{width} or more by even numbers, got {size[0]}x{size[1]}")
    padded = np.zeros((*kernel.shape[:2], *size), kernel.dtype)
    top, left = more[0] // 2, more[1] // 2
    padded[:, :, top : top + height, left : left + width] = kernel
    return padded


def add_branches(branches):
    """Add parallel convolutions of the same stride and groups, each padded by half its kernel size (transform II).

    Parameters
    ----------
    branches : list of (kernel, bias)
        Kernels (C_out, C_in / groups, K_h, K_w) of odd sizes, which may differ; biases (C_out,).

    Returns
    -------
    kernel : ndarray
        As high as the highest and as wide as the widest.
    bias : ndarray (C_out,)

    Raises
    ------
    ValueError
        If there is no branch, or two have different channels.
    """
    if not branches:
        raise ValueError("branches must not be empty")
    size = tuple(max(kernel.shape[axis] for kernel, _ in branches) for axis in (2, 3))
    kernels = [pad_kernel(kernel, size) for kernel, _ in branches]
    biases = [bias for _, bias in branches]
    for kernel, bias in zip(kernels, biases, strict=True):
        if kernel.shape != kernels[0].shape or bias.shape != kernel.shape[:1]:
            raise ValueError(f"branches must have the same channels, got kernel {kernel.shape}, bias {bias.shape}")
    return sum(kernels[1:], kernels[0]), sum(biases[1:], biases[0].copy())


def fold_sequence(first, second, groups=1):
    """Write a 1x1 convolution into the KxK convolution after it (transform III).

    `(X * W1 + b1) * W2 + b2` is one convolution, because a 1x1 kernel only mixes channels, pixel by pixel:

        W'[o, i, k, l] = sum over m of W2[o, m, k, l] W1[m, i]
        b'[o]          = b2[o] + sum over (m, k, l) of W2[o, m, k, l] b1[m]

    The bias is the same at every pixel only if W2 sees b1 at each of its K x K places, *beyond the border too*. So the
    second convolution must find its input padded with b1 (which is what the first one makes of a border of zeros), not
    with zeros. Then the two are equal to the last digit, at the border as everywhere; padded with zeros they would not
    be, in the outermost pixels, and no other kernel could mend it.

    Parameters
    ----------
    first : (kernel, bias)
        (M, C_in / groups, 1, 1) and (M,), at stride 1.
    second : (kernel, bias)
        (C_out, M / groups, K_h, K_w) and (C_out,).
    groups : int
        Of both.

    Returns
    -------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)

    Raises
    ------
    ValueError
        If the first kernel is not 1x1, or the channels don't fit together.
    """
    (w1, b1), (w2, b2) = first, second
    if w1.shape[2:] != (1, 1):
        raise ValueError(f"the first kernel must be 1x1, got {w1.shape[2]}x{w1.shape[3]}")
    if len(w1) != w2.shape[1] * groups or b1.shape != w1.shape[:1]:
        raise ValueError(
            f"the first convolution must have the {w2.shape[1] * groups} channels that the second takes, "
            f"got kernel {w1.shape}, bias {b1.shape}"
        )
    parts = []
    for one, b, two in zip(np.split(w1, groups), np.split(b1, groups), np.split(w2, groups), strict=True):
        # (O, M, K, K) times (M, I), summed over M -> (O, K, K, I) -> (O, I, K, K)
        kernel = np.tensordot(two, one[:, :, 0, 0], axes=(1, 0)).transpose(0, 3, 1, 2)
        parts.append((kernel, np.tensordot(two.sum(axis=(2, 3)), b, axes=(1, 0))))
    kernel, bias = concatenate(parts)
    return np.ascontiguousarray(kernel), bias + b2


def concatenate(parts):
    """Put the outputs of several convolutions side by side (transform IV): their kernels lie one below the other.

    Parameters
    ----------
    parts : list of (kernel, bias)
        One for each group.

    Returns
    -------
    kernel, bias : ndarray
    """
    kernels, biases = zip(*parts, strict=True)
    return np.concatenate(kernels), np.concatenate(biases)


def join_groups(kernel, groups, fewer):
    """Write a convolution of many groups as one of fewer groups, with zeros between channels that don't meet.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    groups, fewer : int
        `fewer` divides `groups`.

    Returns
    -------
    ndarray (C_out, C_in / fewer, K_h, K_w)

    Raises
    ------
    ValueError
        If `fewer` does not divide `groups`.
    """
    if fewer < 1 or groups % fewer:
        raise ValueError(f"fewer must divide the {groups} groups, got {fewer}")
    c_out, depth_in = kernel.shape[:2]
    together = groups // fewer  # so many of the old groups make a new one
    joined = np.zeros((c_out, depth_in * together, *kernel.shape[2:]), kernel.dtype)
    for group, rows in enumerate(np.split(np.arange(c_out), groups)):
        first = group % together * depth_in
        joined[rows, first : first + depth_in] = kernel[rows]
    return joined


def average_kernel(channels, size=3, dtype=np.float32):
    """Make the kernel of an average over K x K pixels, each channel by itself (transform V).

    As the paper writes it, with all channels in one group: 1 / K^2 where input and output channel are the same, else 0.
    That is `join_groups(average_kernel(C), C, 1)`.

    Parameters
    ----------
    channels, size : int
    dtype : dtype
        With dtype object, of fractions.

    Returns
    -------
    ndarray (channels, 1, size, size)
        For a convolution of as many groups as channels.
    """
    share = Fraction(1, size**2) if np.dtype(dtype) == object else 1 / size**2
    return np.full((channels, 1, size, size), share, dtype)
