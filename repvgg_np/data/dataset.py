"""What a data set is: pictures, labels, and the names of the classes."""

import dataclasses
import math

import numpy as np

from repvgg_np.data.checks import check_at_least


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled 32x32 colour pictures.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, 3, 32, 32): red, green and blue planes. At least one picture.
    labels : numpy.ndarray
        int64 (N,), each an index into `classes`.
    classes : tuple of str
        The names of the classes.
    name : str
        The name of the data set.

    Raises
    ------
    ValueError
        If a shape or a dtype is another one, or a label has no class.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    name: str

    def __post_init__(self):
        """Check the arrays."""
        _check_array("images", self.images, np.uint8, "(N, 3, 32, 32)")
        if self.images.ndim != 4 or self.images.shape[1:] != (3, 32, 32):
            raise ValueError(f"images must have the shape (N, 3, 32, 32), got {self.images.shape}")
        if len(self.images) == 0:
            raise ValueError("images must hold at least one picture, got none")
        _check_array("labels", self.labels, np.int64, "(N,)")
        if self.labels.shape != (len(self.images),):
            raise ValueError(
                f"labels must have the shape ({len(self.images)},), one per picture, got {self.labels.shape}"
            )
        if not isinstance(self.classes, tuple) or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"classes must be a tuple of str, got {self.classes!r}")
        lowest, highest = self.labels.min(), self.labels.max()
        if lowest < 0 or highest >= len(self.classes):
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"labels must be 0 to {len(self.classes) - 1}, one for each class, got {wrong}")

    def __len__(self):
        """Return the number of pictures."""
        return len(self.images)

    def subset(self, count):
        """Return the first `count` pictures as a data set of their own: all of them if there are fewer.

        The arrays are views: no picture is copied.

        Parameters
        ----------
        count : int
            How many pictures at most; at least 1.

        Returns
        -------
        Dataset

        Raises
        ------
        ValueError
            If `count` is below 1.
        """
        check_at_least("count", count, 1)
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])


def mean_and_std(dataset):
    """Return the mean and the standard deviation of the pixels of each colour, on the scale from 0 to 1.

    They are computed from the 256 counts of how often each value occurs, in whole numbers: the result is
    rounded once, and does not depend on the order of the pictures.

    Parameters
    ----------
    dataset : Dataset
        Usually the training set; the test set is then normalised by the training set's numbers.

    Returns
    -------
    mean, std : numpy.ndarray
        float32 (3,) each. The deviation is that of the population (divided by the number of pixels).
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(dataset), 1000):  # `bincount` makes 8 bytes of each pixel: not of all at once
        part = dataset.images[start : start + 1000]
        for channel in range(3):
            counts[channel] += np.bincount(part[:, channel].ravel(), minlength=256)

    mean, std = np.empty((2, 3), dtype=np.float32)
    pixels = len(dataset) * 32 * 32
    for channel in range(3):
        total = sum(value * int(count) for value, count in enumerate(counts[channel]))
        squares = sum(value * value * int(count) for value, count in enumerate(counts[channel]))
        mean[channel] = total / (255 * pixels)
        std[channel] = math.sqrt(pixels * squares - total * total) / (255 * pixels)
    return mean, std


def _check_array(name, array, dtype, shape):
    """Raise a ValueError unless `array` is a NumPy array of this dtype."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array of the shape {shape}, got {type(array).__name__}")
    if array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
