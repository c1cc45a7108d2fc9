"""Mixup: train on blends of two pictures (Zhang et al., arXiv 1710.09412)."""

import math

from repvgg_np.training.loss import one_hot


def mixup(x, y, num_classes, alpha, rng):
    """Blend each picture of a batch with another one of it, and their labels in the same proportion.

    `x' = lam x + (1 - lam) x[order]`, with one random order of the batch, and one `lam` drawn from Beta(alpha, alpha):
    a small `alpha` leaves most batches nearly as they are, 1 draws every proportion alike.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
        float32 or float64.
    y : ndarray (N,)
        int64 numbers of the classes.
    num_classes : int
    alpha : float
        More than 0.
    rng : numpy.random.Generator

    Returns
    -------
    x : ndarray (N, C, H, W)
        A new array of the same dtype, channels-last in memory.
    targets : ndarray (N, num_classes)
        Distributions, of the same dtype.

    Raises
    ------
    ValueError
        If `alpha` is not a positive number, or a label is out of range.
    """
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a positive number, got {alpha}")
    share = float(rng.beta(alpha, alpha))  # lam, as Python's float: it leaves the dtype of an array alone
    order = rng.permutation(len(x))
    targets = one_hot(y, num_classes, x.dtype)
    pixels = x.transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C), as they lie in memory
    return _blend(pixels, order, share).transpose(0, 3, 1, 2), _blend(targets, order, share)


def _blend(a, order, share):
    """Return `share a + (1 - share) a[order]`, along the first axis."""
    other = a[order]
    other *= 1 - share
    other += share * a
    return other
