"""Which pictures are mirrored in which epoch."""

import numpy as np

FLIPS = 5  # the number of its random stream: see batches.py for the others

# "random": each picture by a coin of its own in each epoch. "alternating": see below. "none": never.
FLIPS_BY_NAME = ("random", "alternating", "none")


def alternating_flips(chosen, count, seed, epoch):
    """Say which pictures are mirrored, so that every picture is seen in both ways in any two epochs in a row.

    In the first epoch a coin decides for each picture, afterwards it is mirrored in every second epoch. With a coin in
    each epoch, half of the pictures would be seen twice alike in two epochs (Jordan, arXiv 2404.00498, section 3.6).

    Parameters
    ----------
    chosen : numpy.ndarray
        Integers (n,): the numbers of the pictures in the data set.
    count : int
        How many pictures the data set has.
    seed, epoch : int
        At least 0.

    Returns
    -------
    numpy.ndarray
        bool (n,).
    """
    coins = np.random.default_rng([seed, 0, FLIPS]).random(count) < 0.5
    return coins[chosen] ^ bool(epoch % 2)
