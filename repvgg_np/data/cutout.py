"""Cutout: a square of each training picture is covered (DeVries and Taylor, arXiv 1708.04552)."""

import numpy as np

from repvgg_np.data.checks import check_at_least


def cutout(images, rng, size, fill):
    """Cover a square of each picture, at a random place of its own.

    The square's centre may be any pixel, so near a border only a part of the square lies inside the picture.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, C, H, W).
    rng : numpy.random.Generator
        Where the places come from.
    size : int
        The side of the square in pixels; at least 0.
    fill : numpy.ndarray
        uint8 (C,): what covers it. The training set's mean becomes about 0 when it is normalised.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, H, W), a new array.

    Raises
    ------
    ValueError
        If `size` is no integer of at least 0.
    """
    check_at_least("size", size, 0)
    count, _, height, width = images.shape
    rows = _inside(rng.integers(0, height, count), size, height)
    columns = _inside(rng.integers(0, width, count), size, width)
    covered = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return np.where(covered, fill[:, None, None], images)


def _inside(centres, size, length):
    """Return which of `length` places lie in a window of `size` around each centre: (N, length)."""
    first = centres[:, None] - size // 2
    places = np.arange(length)
    return (places >= first) & (places < first + size)
