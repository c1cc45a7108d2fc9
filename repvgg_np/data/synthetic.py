"""The built-in data set: ten kinds of figures, drawn by code from a seed. Nothing to download.

Each 32x32 picture shows one figure (`shapes.py`) at a random place, of a random size, turned by a random
angle, in random colours over a random ground; strokes of other colours lie below and above it, and noise over
everything.

Colours are drawn symmetrically about the middle grey, so that a picture and its negative are equally likely.
This is what makes the set need more than a linear model. The mean picture of every class is the same plain
grey, so the nearest class mean can only guess. And negating a picture negates all differences between the
scores of a linear classifier, but for the biases: it can be right about both a picture and its negative only
in the one class that has the largest bias, hence for at most 55 % of all pictures, however it was trained;
random places, sizes and angles leave it near the 10 % of guessing. One has to look for edges, and for how
they are arranged, which is what convolutions are for.
"""

import numpy as np

from repvgg_np.data.checks import check_at_least, check_split
from repvgg_np.data.dataset import Dataset
from repvgg_np.data.shapes import FIGURES

DEFAULT_SIZE = {"train": 10_000, "test": 2_000}
SIDE = 32
CHUNK = 200  # pictures drawn at once: a multiple of ten, few enough for their arrays to stay in the cache


def synthetic_dataset(split, seed=0, size=None):
    """Draw the synthetic data set.

    Chunks of 200 pictures, 20 of each class in random order, are drawn each from a random stream of its own.
    So the first pictures are the same whatever the size, and the training and the test set share no stream,
    hence no picture.

    Parameters
    ----------
    split : {"train", "test"}
        Which of the two sets.
    seed : int, optional
        Another seed gives another data set of the same kind; at least 0.
    size : int, optional
        Number of pictures, by default 10,000 for training and 2,000 for the test. A multiple of 200 is
        balanced exactly.

    Returns
    -------
    Dataset
        Named "synthetic", with the ten classes disk, ring, square, triangle, star, cross, heart, crescent,
        stripes and checkers.

    Raises
    ------
    ValueError
        For an unknown split, a negative seed, or a size below 1.
    """
    check_split(split)
    check_at_least("seed", seed, 0)
    size = DEFAULT_SIZE[split] if size is None else size
    check_at_least("size", size, 1)

    images = np.empty((size, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.empty(size, dtype=np.int64)
    stream = list(DEFAULT_SIZE).index(split) + 1
    for start in range(0, size, CHUNK):
        rng = np.random.default_rng([seed, stream, start // CHUNK + 1])
        chunk_labels = rng.permutation(np.arange(CHUNK) % len(FIGURES))
        part = slice(start, min(start + CHUNK, size))
        labels[part] = chunk_labels[: size - start]
        images[part] = draw(chunk_labels, rng)[: size - start]
    return Dataset(images, labels, tuple(figure.__name__ for figure in FIGURES), "synthetic")


def draw(labels, rng):
    """Draw one picture for each label.

    Parameters
    ----------
    labels : numpy.ndarray
        Integers (N,), indices into `FIGURES`.
    rng : numpy.random.Generator
        Where place, size, angle, colours, strokes and noise come from.

    Returns
    -------
    numpy.ndarray
        uint8 (N, 3, 32, 32).
    """
    count = len(labels)
    # Two colours on either side of a middle one, so that figure and ground differ by a visible amount: the
    # figure is lighter or darker, each as often as the other, in all three channels, by more in one than in
    # another.
    middle = 0.5 + _uniform(rng, -0.22, 0.22, (count, 3, 1, 1))
    direction = _uniform(rng, 0.2, 1, (count, 3, 1, 1))
    direction /= np.sqrt((direction * direction).sum(axis=1, keepdims=True))
    sign = np.where(rng.random((count, 1, 1, 1)) < 0.5, np.float32(-1), np.float32(1))
    contrast = sign * direction * _uniform(rng, 0.3, 0.5, (count, 1, 1, 1))

    canvas = _gradient(middle - contrast, rng)
    _paint(canvas, *_stroke(count, rng))
    _paint(canvas, _figure_coverage(labels, rng), _gradient(middle + contrast, rng))
    _paint(canvas, *_stroke(count, rng))
    # The difference of two uniform numbers is distributed like a triangle. It takes basic arithmetic only, as
    # everything here that is done to pixels: no exponential or logarithm whose last bit depends on the
    # processor.
    noise = rng.random(canvas.shape, dtype=np.float32) - rng.random(canvas.shape, dtype=np.float32)
    canvas += noise * _uniform(rng, 0.02, 0.1, (count, 1, 1, 1))
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _figure_coverage(labels, rng):
    """Place and turn one figure per label; return how much of each pixel it covers, (N, 32, 32) in [0, 1]."""
    count = len(labels)
    radius = _uniform(rng, 8, 12.5, (count, 1, 1))
    room = SIDE / 2 - 0.85 * radius  # how far the centre may be off the middle: most of the figure stays visible
    x = (_pixels()[None, None, :] - room * _uniform(rng, -1, 1, (count, 1, 1))) / radius
    y = (_pixels()[None, :, None] - room * _uniform(rng, -1, 1, (count, 1, 1))) / radius
    cosine, sine = _turn(count, rng)
    u = cosine * x - sine * y  # (N, 32, 32)
    v = -sine * x - cosine * y  # rows run downwards, v upwards

    distance = np.empty((count, SIDE, SIDE), dtype=np.float32)
    for label, figure in enumerate(FIGURES):
        chosen = np.flatnonzero(labels == label)
        distance[chosen] = figure(u[chosen], v[chosen])
    return _coverage(distance * radius)


def _stroke(count, rng):
    """Return the coverage, (N, 32, 32), and the colour, (N, 3, 1, 1), of a short stroke for each picture."""
    colour = 0.5 + _uniform(rng, -0.4, 0.4, (count, 3, 1, 1))
    half_length = _uniform(rng, 0, 7, (count, 1, 1))
    thickness = _uniform(rng, 0.4, 1.3, (count, 1, 1))
    x = _pixels()[None, None, :] - _uniform(rng, -16, 16, (count, 1, 1))
    y = _pixels()[None, :, None] - _uniform(rng, -16, 16, (count, 1, 1))
    cosine, sine = _turn(count, rng)
    beyond_the_end = np.maximum(np.abs(cosine * x + sine * y) - half_length, 0)
    aside = cosine * y - sine * x
    return _coverage(np.sqrt(beyond_the_end**2 + aside**2) - thickness), colour


def _gradient(colour, rng):
    """Return pictures, (N, 3, 32, 32), of colours, (N, 3, 1, 1), that fade slowly in a random direction."""
    rightwards, downwards = _uniform(rng, -0.006, 0.006, (2, *colour.shape))
    return colour + rightwards * _pixels()[None, :] + downwards * _pixels()[:, None]


def _paint(canvas, coverage, colour):
    """Lay `colour` over the `canvas`, (N, 3, 32, 32), in place, as far as `coverage`, (N, 32, 32), says."""
    canvas += coverage[:, None] * (colour - canvas)


def _coverage(distance):
    """Return how much of a pixel lies inside an outline that is `distance` pixels away: see `shapes.py`."""
    return np.clip(0.5 - distance, 0, 1)


def _pixels():
    """Return the coordinates of the pixels' centres along a side, counted from the middle of the picture."""
    return np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2


def _turn(count, rng):
    """Return cosine and sine, each (N, 1, 1), of random angles."""
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _uniform(rng, low, high, shape):
    """Return float32 numbers between `low` and `high`."""
    return rng.uniform(low, high, shape).astype(np.float32)
