"""Whether a network's probabilities are honest: how far confidence and accuracy are apart."""

import numpy as np

BINS = 15  # as in Guo et al., arXiv 1706.04599


def calibration_error(confidences, correct, bins=BINS):
    """Compute the expected calibration error (Guo et al., arXiv 1706.04599, equation 3).

    The predictions are sorted into bins of equal width by their confidence, the probability of the predicted class. In
    an honest network, of those with confidence 0.8 about 80 % are right. The error is the difference of accuracy and
    mean confidence, averaged over the bins, each weighted by its number of pictures.

    Parameters
    ----------
    confidences : ndarray (N,)
        From 0 to 1; at least one.
    correct : ndarray (N,) bool
        Which predictions are right.
    bins : int
        At least 1.

    Returns
    -------
    float
        From 0, honest, to 1.
    """
    # Bin b holds what is above b / bins and at most (b + 1) / bins.
    place = np.clip(np.ceil(confidences.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    surplus = np.bincount(place, weights=correct - confidences.astype(np.float64), minlength=bins)
    return float(np.abs(surplus).sum() / len(confidences))
