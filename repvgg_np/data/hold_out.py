"""Training pictures that are not trained on, to choose between recipes by.

Who chooses by the accuracy on the test set has, in a small way, trained on it: of many recipes, the one that suits
these very pictures by chance looks best. So the choice is made on pictures held out of the training set, and the test
set is asked once, at the end.
"""

import dataclasses

from repvgg_np.data.checks import check_at_least


def hold_out(dataset, count):
    """Split off the last pictures of a training set.

    The arrays are views: no picture is copied.

    Parameters
    ----------
    dataset : Dataset
    count : int
        How many pictures are held out: at least 1, less than there are.

    Returns
    -------
    rest, held_out : Dataset
        The first pictures, under the same name, and the last `count`.

    Raises
    ------
    ValueError
        If `count` is out of range.
    """
    check_at_least("holdout", count, 1)
    left = len(dataset) - count
    if left < 1:
        raise ValueError(f"holdout must be less than the {len(dataset)} training pictures, got {count}")
    name = f"{dataset.name} (held out of the training set)"
    held_out = dataclasses.replace(dataset, images=dataset.images[left:], labels=dataset.labels[left:], name=name)
    return dataset.subset(left), held_out
