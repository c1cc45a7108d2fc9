"""What a few seeds can tell: how far equal runs lie apart, and which differences between rows are more than that.

The difference of two means of n and m runs has the standard error s sqrt(1/n + 1/m), where s is the standard deviation
of a run. Of three runs alone s is hardly known, so it is taken from all rows together, as if all spread alike. A
difference of twice its standard error comes by chance, between rows that are equally good, about once in twenty pairs;
where many pairs are compared, a few such are to be expected.
"""

import itertools
import math

CLEAR = 2  # standard errors


def pooled_deviation(groups):
    """Return the standard deviation of a run around the mean of its row, from all rows together.

    Parameters
    ----------
    groups : iterable of sequence of float
        The runs of each row.

    Returns
    -------
    float or None
        The root of the squared distances to the rows' means, divided by the number of runs less that of rows; None
        where no row has two runs.
    """
    squares = freedom = 0
    for group in groups:
        mean = math.fsum(group) / len(group)
        squares += math.fsum((value - mean) ** 2 for value in group)
        freedom += len(group) - 1
    return math.sqrt(squares / freedom) if freedom else None


def reversed_pairs(groups, published, deviation):
    """List the pairs of rows whose means have another order than the published numbers.

    Parameters
    ----------
    groups : dict of str to sequence of float
        The runs of each row.
    published : dict of str to float
        A number for each row.
    deviation : float or None
        Of a run: `pooled_deviation`.

    Returns
    -------
    list of dict
        "better" and "worse" (so it is in the runs), "difference" (of their means), "error" (its standard error),
        "clear" (whether the difference is more than two errors), the clearest first. Where the deviation is not known,
        "error" is None and nothing is clear.
    """
    means = {name: math.fsum(group) / len(group) for name, group in groups.items()}
    found = []
    for one, other in itertools.combinations(groups, 2):
        better, worse = (one, other) if means[one] > means[other] else (other, one)
        if means[better] > means[worse] and published[better] < published[worse]:
            pair = {"better": better, "worse": worse, "difference": means[better] - means[worse], "error": None}
            if deviation is not None:
                pair["error"] = deviation * math.sqrt(1 / len(groups[better]) + 1 / len(groups[worse]))
            pair["clear"] = pair["error"] is not None and pair["difference"] > CLEAR * pair["error"]
            found.append(pair)
    return sorted(found, key=lambda pair: pair["difference"] / (pair["error"] or 1), reverse=True)
