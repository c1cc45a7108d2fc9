"""Batches for training and for evaluation, in an order that can be taken up again anywhere."""

import numpy as np

from repvgg_np.data.augment import normalise
from repvgg_np.data.augmentation import Augmentation
from repvgg_np.data.checks import check_at_least
from repvgg_np.data.shrink import shrink

ORDER, AUGMENTATION = 1, 2  # what a random stream is for


def batches(dataset, batch_size, *, mean, std, seed=None, epoch=0, augment=False, start=0, drop_last=False, size=None):
    """Iterate over one epoch of a data set, batch by batch.

    The order of the pictures is a function of `(seed, epoch)`, and the augmentation of a batch one of `(seed,
    epoch, index of the batch)`, and of nothing else. So a training that was stopped after k batches and goes
    on with `start=k` sees the very same batches as one that was never stopped.

    Parameters
    ----------
    dataset : Dataset
        Where the pictures come from.
    batch_size : int
        Pictures per batch; the last batch holds what is left.
    mean, std : numpy.ndarray
        (3,) each, as `normalise` wants them.
    seed : int or None, optional
        With None the pictures come in the order of the data set, otherwise shuffled.
    epoch : int, optional
        Which pass over the data this is, from 0: each has an order of its own.
    augment : bool or Augmentation, optional
        How the pictures are changed at random; needs a seed. True is `Augmentation()`: shifts and flips.
    start : int, optional
        Index of the first batch to return: the ones before are skipped, and cost nothing.
    drop_last : bool, optional
        Whether to leave out a last batch of fewer than `batch_size` pictures.
    size : int, optional
        Shrink the pictures to this height and width (`shrink`).

    Yields
    ------
    x : numpy.ndarray
        float32 (n, 3, 32, 32), or of another `size`; in memory with the channels last.
    y : numpy.ndarray
        int64 (n,).

    Raises
    ------
    ValueError
        If a number is out of range, `augment` has no seed, or `drop_last` would leave no batch. Raised by the
        call itself, not by the first step of the iteration.
    """
    check_at_least("batch_size", batch_size, 1)
    check_at_least("epoch", epoch, 0)
    check_at_least("start", start, 0)
    if seed is not None:
        check_at_least("seed", seed, 0)
    elif augment:
        raise ValueError("augment needs a seed, got seed None")
    count = len(dataset) // batch_size if drop_last else -(-len(dataset) // batch_size)
    if count == 0:
        raise ValueError(
            f"batch_size must be at most {len(dataset)} so that drop_last leaves a batch, got {batch_size}"
        )
    if start > count:
        raise ValueError(f"start must be at most {count}, the number of batches, got {start}")
    size = 32 if size is None else size
    normalise(shrink(dataset.images[:1], size), mean, std)  # raises now what it would raise at the first step
    if augment is True:
        augment = Augmentation()
    return _generate(dataset, batch_size, mean, std, seed, epoch, augment, range(start, count), size)


def _generate(dataset, batch_size, mean, std, seed, epoch, augment, indices, size):
    """Yield the batches of these indices; the arguments are checked."""
    order = np.arange(len(dataset))
    if seed is not None:
        order = np.random.default_rng([seed, epoch, ORDER]).permutation(len(dataset))
    for index in indices:
        chosen = order[index * batch_size : (index + 1) * batch_size]
        images = dataset.images[chosen]
        if augment:
            flipped = augment.flips(chosen, len(dataset), seed, epoch)
            images = augment.apply(images, np.random.default_rng([seed, epoch, AUGMENTATION, index]), mean, flipped)
        yield normalise(shrink(images, size), mean, std), dataset.labels[chosen]
