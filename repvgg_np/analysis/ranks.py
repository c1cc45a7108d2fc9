"""Do two columns of numbers have the same order? Spearman's rank correlation."""

import numpy as np


def ranks(values):
    """Return the rank of each number, from 1 for the smallest; equal ones share the mean of their ranks.

    Parameters
    ----------
    values : sequence of float

    Returns
    -------
    ndarray (N,) float64
    """
    values = np.asarray(values, np.float64)
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def spearman(one, other):
    """Return the correlation of the ranks: 1 for the same order, -1 for the opposite one.

    Parameters
    ----------
    one, other : sequence of float
        As many numbers each, at least two.

    Returns
    -------
    float
        NaN where all numbers of a column are equal: it has no order.

    Raises
    ------
    ValueError
        If they are not as many, or fewer than two.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"one and other must be as many numbers, at least two, got {len(one)} and {len(other)}")
    a, b = (r - r.mean() for r in (ranks(one), ranks(other)))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else float("nan")


def disagreements(names, one, other):
    """Name the pairs that two columns put in opposite orders.

    Parameters
    ----------
    names : sequence of str
    one, other : sequence of float
        A number for each name, larger is better.

    Returns
    -------
    dict of str to list of str
        For a name those that are better than it in `one` and worse in `other`: whom it overtakes. Names that overtake
        nobody are left out; who comes from furthest behind is first.
    """
    overtaken = {
        name: [b for b, x, y in zip(names, one, other, strict=True) if x > one[i] and y < other[i]]
        for i, name in enumerate(names)
    }
    return {name: those for name, those in sorted(overtaken.items(), key=lambda pair: -len(pair[1])) if those}
