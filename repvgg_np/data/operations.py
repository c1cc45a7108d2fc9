"""Fourteen changes of a picture: those of AutoAugment (arXiv 1805.09501) and RandAugment (arXiv 1909.13719), in NumPy.

Each takes pictures uint8 (N, 3, H, W) and what it needs for each of them (N,), and returns new pictures. `fill`, uint8
(3,), is the colour of what comes in from outside the picture.
"""

import numpy as np

LUMA = np.array([299, 587, 114])  # how bright red, green and blue look to us, in thousandths (ITU-R BT.601)


def invert_above(images, thresholds):
    """Invert every value of at least the threshold ("solarize")."""
    return np.where(images >= thresholds[:, None, None, None], 255 - images, images).astype(np.uint8)


def keep_bits(images, bits):
    """Keep the highest bits of every value, and set the others to 0 ("posterize")."""
    masks = (256 - 2 ** (8 - bits)).astype(np.uint8)
    return images & masks[:, None, None, None]


def stretch_contrast(images):
    """Stretch each channel, so that its darkest value becomes 0 and its brightest 255 ("autocontrast")."""
    low = images.min(axis=(2, 3), keepdims=True).astype(np.float64)
    high = images.max(axis=(2, 3), keepdims=True).astype(np.float64)
    flat = high == low
    scale = 255 / np.where(flat, 1, high - low)
    return np.where(flat, images, to_bytes((images - low) * scale)).astype(np.uint8)


def equalise(images):
    """Map the values of each channel so that all occur about equally often ("equalize")."""
    out = np.empty_like(images)
    for place in np.ndindex(images.shape[:2]):
        plane = images[place]
        counts = np.bincount(plane.ravel(), minlength=256)
        below = np.cumsum(counts) - counts
        others = plane.size - counts[plane.max()]  # all pixels but those of the brightest value
        out[place] = plane if others == 0 else to_bytes(255 * np.minimum(below, others) / others)[plane]
    return out


def blend(images, other, shares):
    """Return `other + share (images - other)`: 1 changes nothing, 0 gives the other, above 1 goes away from it."""
    other = np.asarray(other, np.float64)
    return to_bytes(other + shares[:, None, None, None] * (images - other))


def brightness(images, shares):
    """Blend with black."""
    return blend(images, 0, shares)


def colour(images, shares):
    """Blend with the picture in grey."""
    return blend(images, _grey(images), shares)


def contrast(images, shares):
    """Blend with one grey, the mean of the picture."""
    return blend(images, np.rint(_grey(images).mean(axis=(1, 2, 3), keepdims=True)), shares)


def sharpness(images, shares):
    """Blend with the picture smoothed by a 3x3 kernel; the outermost pixels stay."""
    smooth = images.astype(np.float64)
    height, width = images.shape[2:]
    if min(height, width) > 2:
        weights = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
        inner = np.zeros_like(smooth[:, :, 1:-1, 1:-1])
        for (i, j), weight in np.ndenumerate(weights):
            inner += weight * images[:, :, i : height - 2 + i, j : width - 2 + j]
        smooth[:, :, 1:-1, 1:-1] = inner
    return blend(images, smooth, shares)


def move(images, matrices, fill):
    """Return pictures whose pixel at (x, y) is the old one at `matrix @ (x, y, 1)`, coordinates from the centre.

    The nearest pixel is taken, and `fill` where there is none.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, 3, H, W).
    matrices : numpy.ndarray
        (N, 2, 3).
    fill : numpy.ndarray
        uint8 (3,).

    Returns
    -------
    numpy.ndarray
        uint8 (N, 3, H, W).
    """
    count, _, height, width = images.shape
    centre = (width - 1) / 2, (height - 1) / 2
    y, x = np.mgrid[:height, :width]
    a = matrices[:, :, :, None, None]
    old_x, old_y = (
        a[:, i, 0] * (x - centre[0]) + a[:, i, 1] * (y - centre[1]) + a[:, i, 2] + centre[i] for i in (0, 1)
    )
    # Half a pixel is rounded up, after a grain of rounding error is taken off.
    column, row = (np.floor(np.round(old, 9) + 0.5).astype(np.int64) for old in (old_x, old_y))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    moved = images[np.arange(count)[:, None, None], :, row, column]  # (N, H, W, 3)
    return np.where(inside[..., None], moved, fill).transpose(0, 3, 1, 2)


def rotate(images, degrees, fill):
    """Turn about the centre."""
    radians = np.deg2rad(degrees)
    cos, sin, zero = np.cos(radians), np.sin(radians), np.zeros(len(images))
    return move(images, _matrices((cos, -sin, zero), (sin, cos, zero)), fill)


def shear_x(images, slopes, fill):
    """Shift each row sideways, in proportion to its distance from the centre."""
    one, zero = np.ones(len(images)), np.zeros(len(images))
    return move(images, _matrices((one, slopes, zero), (zero, one, zero)), fill)


def shear_y(images, slopes, fill):
    """Shift each column up or down, in proportion to its distance from the centre."""
    one, zero = np.ones(len(images)), np.zeros(len(images))
    return move(images, _matrices((one, zero, zero), (slopes, one, zero)), fill)


def translate_x(images, pixels, fill):
    """Shift sideways."""
    one, zero = np.ones(len(images)), np.zeros(len(images))
    return move(images, _matrices((one, zero, pixels), (zero, one, zero)), fill)


def translate_y(images, pixels, fill):
    """Shift up or down."""
    one, zero = np.ones(len(images)), np.zeros(len(images))
    return move(images, _matrices((one, zero, zero), (zero, one, pixels)), fill)


def to_bytes(values):
    """Round, and clip to what a byte can hold."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _grey(images):
    """Return how bright each pixel looks: (N, 3, H, W) -> (N, 1, H, W), whole numbers."""
    weighted = (images.transpose(0, 2, 3, 1).astype(np.int64) * LUMA).sum(axis=-1)
    return ((weighted + 500) // 1000)[:, None]


def _matrices(*rows):
    """Put rows of three arrays (N,) each together: (N, 2, 3)."""
    return np.stack([np.stack([np.asarray(entry, np.float64) for entry in row], axis=-1) for row in rows], axis=1)
