"""From stored pixels to what a network is fed: normalisation, random crops and flips."""

import numpy as np

from repvgg_np.data.checks import check_at_least


def normalise(images, mean, std, dtype=np.float32):
    """Return `(images / 255 - mean) / std`, channel by channel.

    A pixel has 256 possible values, so the formula is evaluated once for each of them, and the pictures are
    looked up in that table.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, 3, H, W).
    mean, std : numpy.ndarray
        (3,) each, on the scale from 0 to 1: see `mean_and_std`.
    dtype : numpy dtype, optional
        float32 or float64: that of the result, and of the computation.

    Returns
    -------
    numpy.ndarray
        `dtype` (N, 3, H, W). In memory the channels come last: it is an (N, H, W, 3) buffer seen through a
        transposition.

    Raises
    ------
    ValueError
        If the shapes or dtypes are others, or a deviation is not a positive number.
    """
    _check_images(images)
    if images.shape[1] != 3:
        raise ValueError(f"images must have the shape (N, 3, H, W), got {images.shape}")
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    mean, std = _three_numbers("mean", mean, dtype), _three_numbers("std", std, dtype)
    if not (std > 0).all():
        raise ValueError(
            f"std must be positive, got {std.tolist()}: a channel of one single value cannot be normalised"
        )

    values = np.arange(256, dtype=dtype) / dtype.type(255)
    table = (values - mean[:, None]) / std[:, None]  # (3, 256)
    planes = [np.take(table[channel], images[:, channel]) for channel in range(3)]
    return np.stack(planes, axis=-1).transpose(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W)


def random_crop_and_flip(images, rng, padding=4, flipped=None):
    """Shift each picture by a few random pixels and mirror half of them: the usual augmentation for CIFAR.

    Each picture is continued on all sides by its own mirror image (its outermost row or column is not
    repeated), and a window of the original size is cut out of that at a random place; with probability 1/2
    its columns are reversed.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, C, H, W).
    rng : numpy.random.Generator
        Where the places and the flips come from.
    padding : int, optional
        By how many pixels a picture may be shifted either way: at least 0, and less than its height and
        width.
    flipped : numpy.ndarray, optional
        bool (N,): which pictures are mirrored. Without it, a coin decides for each.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, H, W), a new array.

    Raises
    ------
    ValueError
        If the pictures are of another kind, or `padding` is out of range.
    """
    _check_images(images)
    check_at_least("padding", padding, 0)
    count, _, height, width = images.shape
    if padding >= min(height, width):
        raise ValueError(f"padding must be less than the pictures' {height}x{width} pixels, got {padding}")

    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="reflect")
    # All windows of all pictures, (N, C, 2 padding + 1, 2 padding + 1, H, W): a view, of which one each is
    # copied.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = rng.integers(0, 2 * padding + 1, (2, count))
    crops = windows[np.arange(count), :, top, left]
    if flipped is None:
        flipped = rng.random(count) < 0.5
    crops[flipped] = crops[flipped, :, :, ::-1]
    return crops


def _check_images(images):
    """Raise a ValueError unless `images` is a uint8 array of four dimensions."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"images must be a uint8 array (N, C, H, W), got {got}")


def _three_numbers(name, values, dtype):
    """Return one finite number for each channel, as an array of this dtype."""
    values = np.asarray(values)
    if values.shape != (3,) or values.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be three numbers, got {values.dtype} of the shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values.tolist()}")
    return values.astype(dtype)
