"""RandAugment: each picture goes through a few operations drawn by lot (Cubuk et al., arXiv 1909.13719)."""

import numpy as np

from repvgg_np.data import operations as op
from repvgg_np.data.checks import check_at_least

STRONGEST = 30  # the scale of magnitudes


def _either_way(rng, values):
    """Give each value a random sign."""
    return np.where(rng.random(len(values)) < 0.5, values, -np.asarray(values))


# An operation by its name in the paper: from pictures, how strong each is changed (0 to 1), the generator and the fill
# colour to new pictures. The ranges are AutoAugment's; shifts are in proportion to its pictures of 331 pixels.
OPERATIONS = {
    "Identity": lambda x, part, rng, fill: x,
    "AutoContrast": lambda x, part, rng, fill: op.stretch_contrast(x),
    "Equalize": lambda x, part, rng, fill: op.equalise(x),
    "Rotate": lambda x, part, rng, fill: op.rotate(x, _either_way(rng, 30 * part), fill),
    "Solarize": lambda x, part, rng, fill: op.invert_above(x, np.rint(256 * (1 - part))),
    "Posterize": lambda x, part, rng, fill: op.keep_bits(x, 8 - np.rint(4 * part)),
    "Color": lambda x, part, rng, fill: op.colour(x, 1 + _either_way(rng, 0.9 * part)),
    "Contrast": lambda x, part, rng, fill: op.contrast(x, 1 + _either_way(rng, 0.9 * part)),
    "Brightness": lambda x, part, rng, fill: op.brightness(x, 1 + _either_way(rng, 0.9 * part)),
    "Sharpness": lambda x, part, rng, fill: op.sharpness(x, 1 + _either_way(rng, 0.9 * part)),
    "ShearX": lambda x, part, rng, fill: op.shear_x(x, _either_way(rng, 0.3 * part), fill),
    "ShearY": lambda x, part, rng, fill: op.shear_y(x, _either_way(rng, 0.3 * part), fill),
    "TranslateX": lambda x, part, rng, fill: op.translate_x(x, _either_way(rng, _shift(part, x.shape[3])), fill),
    "TranslateY": lambda x, part, rng, fill: op.translate_y(x, _either_way(rng, _shift(part, x.shape[2])), fill),
}


def rand_augment(images, rng, count, magnitude, fill):
    """Put each picture through `count` operations of `OPERATIONS`, each drawn with equal chances.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, 3, H, W).
    rng : numpy.random.Generator
        Draws the operations, and whether one turns, shears, shifts or blends one way or the other.
    count : int
        How many; at least 0. In the paper N.
    magnitude : int
        How strong: from 0 (most change nothing) to 30. In the paper M.
    fill : numpy.ndarray
        uint8 (3,): the colour of what comes in from outside a picture.

    Returns
    -------
    numpy.ndarray
        uint8 (N, 3, H, W), a new array.

    Raises
    ------
    ValueError
        If `count` or `magnitude` is out of range.
    """
    check_at_least("count", count, 0)
    check_at_least("magnitude", magnitude, 0)
    if magnitude > STRONGEST:
        raise ValueError(f"magnitude must be at most {STRONGEST}, got {magnitude}")
    images = images.copy()
    for drawn in rng.integers(0, len(OPERATIONS), (count, len(images))):
        for number, operation in enumerate(OPERATIONS.values()):  # all pictures of one operation at once
            rows = np.flatnonzero(drawn == number)
            if len(rows):
                images[rows] = operation(images[rows], np.full(len(rows), magnitude / STRONGEST), rng, fill)
    return images


def _shift(part, side):
    """Return how far a picture of this side is shifted, in whole pixels."""
    return np.rint(150 / 331 * side * part)
