"""Smaller pictures, for the first epochs of a training: a step on 16x16 pixels costs a quarter of one on 32x32.

What a network learns of small pictures helps it with large ones ("progressive resizing": Howard et al. for DAWNBench,
2018).
"""

import numpy as np

from repvgg_np.data.checks import check_at_least


def shares(before, after):
    """Return how much of each old pixel of a row belongs to each new one: (after, before), each row adds up to 1."""
    edges = np.arange(after + 1) * (before / after)
    starts = np.arange(before)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.maximum(overlap, 0) * (after / before)


def shrink(images, size):
    """Make pictures smaller: each new pixel is the mean of the area that it covers.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, C, H, W).
    size : int
        The new height and width: at least 1, at most the old ones.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, size, size); the same array if that is its size.

    Raises
    ------
    ValueError
        If `size` is out of range.
    """
    check_at_least("size", size, 1)
    if size > min(images.shape[2:]):
        raise ValueError(f"size must be at most that of the pictures, {min(images.shape[2:])}, got {size}")
    if images.shape[2:] == (size, size):
        return images
    rows = _weighted_rows(images.transpose(2, 0, 1, 3).astype(np.float32), size)  # (size, N, C, W)
    pixels = _weighted_rows(rows.transpose(3, 1, 2, 0), size)  # (size, N, C, size): columns, then rows
    return np.rint(pixels.transpose(1, 2, 3, 0)).astype(np.uint8)


def _weighted_rows(x, size):
    """Return `size` means of neighbouring `x[i]`; only the few that have a share are added."""
    weights = shares(len(x), size).astype(x.dtype)
    out = np.zeros((size, *x.shape[1:]), x.dtype)
    for new, old in np.argwhere(weights > 1e-6):
        out[new] += weights[new, old] * x[old]
    return out
