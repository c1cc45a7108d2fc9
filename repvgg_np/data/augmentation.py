"""What is done to training pictures before they are normalised: one choice, made once for a run."""

import dataclasses

import numpy as np

from repvgg_np.data.augment import random_crop_and_flip
from repvgg_np.data.checks import check_at_least, check_choice
from repvgg_np.data.cutout import cutout
from repvgg_np.data.flips import FLIPS_BY_NAME, alternating_flips
from repvgg_np.data.rand_augment import STRONGEST, rand_augment


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures, in the order of these choices.

    Parameters
    ----------
    padding : int
        By how many pixels a picture may be shifted either way: at least 0.
    flip : {"random", "alternating", "none"}
        Which pictures are mirrored: see `flips.py`.
    operations : int
        How many operations of RandAugment each picture goes through; 0 is off.
    magnitude : int
        How strong they are, from 0 to 30.
    cutout : int
        The side of the square that is covered; 0 is off.

    Raises
    ------
    ValueError
        If a choice is out of range.
    """

    padding: int = 4
    flip: str = "random"
    operations: int = 0
    magnitude: int = 9
    cutout: int = 0

    def __post_init__(self):
        """Refuse what is out of range."""
        for name in ("padding", "operations", "magnitude", "cutout"):
            check_at_least(name, getattr(self, name), 0)
        check_choice("flip", self.flip, FLIPS_BY_NAME)
        if self.magnitude > STRONGEST:
            raise ValueError(f"magnitude must be at most {STRONGEST}, got {self.magnitude}")

    def flips(self, chosen, count, seed, epoch):
        """Say which pictures are mirrored, as far as that is no affair of chance in each batch.

        Parameters
        ----------
        chosen : numpy.ndarray
            Integers (n,): the numbers of the batch's pictures in the data set.
        count : int
            How many pictures the data set has.
        seed, epoch : int

        Returns
        -------
        numpy.ndarray or None
            bool (n,); None for "random".
        """
        if self.flip == "alternating":
            return alternating_flips(chosen, count, seed, epoch)
        return None if self.flip == "random" else np.zeros(len(chosen), bool)

    def apply(self, images, rng, mean, flipped=None):
        """Change a batch.

        Parameters
        ----------
        images : numpy.ndarray
            uint8 (N, 3, H, W).
        rng : numpy.random.Generator
            Where everything random comes from.
        mean : numpy.ndarray
            (3,): the colour, from 0 to 1, of what is covered or comes in from outside a picture.
        flipped : numpy.ndarray or None
            From `flips`.

        Returns
        -------
        numpy.ndarray
            uint8 (N, 3, H, W), a new array.
        """
        images = random_crop_and_flip(images, rng, self.padding, flipped)
        fill = np.rint(255 * np.asarray(mean)).astype(np.uint8)
        if self.operations:
            images = rand_augment(images, rng, self.operations, self.magnitude, fill)
        return cutout(images, rng, self.cutout, fill) if self.cutout else images
