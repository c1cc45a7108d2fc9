"""Softmax, and the cross-entropy loss with its gradient."""

import numpy as np

from repvgg_np.kernels.layout import check_float


def softmax(logits):
    """Turn logits into probabilities: `exp(z_k) / sum_j exp(z_j)`, row by row.

    Adding a number to a whole row changes nothing. So the largest logit is subtracted first: every exponent is then at
    most 0, and nothing overflows.

    Parameters
    ----------
    logits : ndarray (N, K)
        float32 or float64.

    Returns
    -------
    ndarray (N, K)
        Of the dtype of `logits`; each row adds up to 1.

    Raises
    ------
    ValueError
        If `logits` is of another kind, or empty.
    """
    return np.exp(_log_softmax(logits))


def cross_entropy(logits, targets, label_smoothing=0.0):
    """Compute the mean cross-entropy `-sum_k q_k log p_k` of a batch, with `p = softmax(logits)`, and its gradient.

    `q` is the target distribution: all on the right class, or as given. Label smoothing mixes it with the uniform
    distribution, `(1 - label_smoothing) q + label_smoothing / K`, so that no logit is driven towards infinity.

    Parameters
    ----------
    logits : ndarray (N, K)
        float32 or float64.
    targets : ndarray (N,) or (N, K)
        int64 numbers of the classes, or distributions: floats of at least 0, each row adding up to 1.
    label_smoothing : float
        At least 0, less than 1.

    Returns
    -------
    loss : float
        The mean over the batch.
    grad_logits : ndarray (N, K)
        `(p - q) / N`, of the dtype of `logits`.

    Raises
    ------
    ValueError
        If an argument is of another kind or out of range.
    """
    log_probabilities = _log_softmax(logits)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and less than 1, got {label_smoothing}")
    n, num_classes = logits.shape
    target = _as_distributions(targets, logits)
    if label_smoothing:
        # As Python's floats, which leave the dtype of an array alone.
        target = target * (1 - float(label_smoothing)) + float(label_smoothing) / num_classes
    loss = -float(np.sum(target * log_probabilities, dtype=np.float64)) / n
    grad_logits = np.exp(log_probabilities)
    grad_logits -= target
    grad_logits /= n
    return loss, grad_logits


def _log_softmax(logits):
    """Return `z_k - log(sum_j exp(z_j))`, which stays finite where the probability itself is rounded to 0."""
    check_float("logits", logits, "(N, K)")
    if logits.size == 0:
        raise ValueError(f"logits must hold at least one row and one class, got the shape {logits.shape}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _as_distributions(targets, logits):
    """Return the targets as distributions (N, K) of the dtype of the logits."""
    n, num_classes = logits.shape
    if not isinstance(targets, np.ndarray) or targets.shape not in ((n,), (n, num_classes)):
        got = getattr(targets, "shape", type(targets).__name__)
        raise ValueError(f"targets must be an array of shape ({n},) or ({n}, {num_classes}), got {got}")
    if targets.ndim == 1:
        return one_hot(targets, num_classes, logits.dtype)
    if targets.dtype.kind != "f":
        raise ValueError(f"targets of shape (N, K) must be floats, got {targets.dtype}")
    # K numbers that add up to 1, each rounded, add up to 1 within K eps; four times that for what went before.
    tolerance = 4 * num_classes * max(np.finfo(targets.dtype).eps, np.finfo(logits.dtype).eps)
    if not ((targets >= 0).all() and (np.abs(targets.sum(axis=1) - 1) <= tolerance).all()):
        raise ValueError("targets of shape (N, K) must be at least 0 and add up to 1 in each row")
    return targets.astype(logits.dtype, copy=False)


def one_hot(labels, num_classes, dtype):
    """Turn numbers of classes into distributions that are all on that class.

    Parameters
    ----------
    labels : ndarray (N,)
        Integers from 0 to `num_classes` - 1.
    num_classes : int
    dtype : dtype

    Returns
    -------
    ndarray (N, num_classes)

    Raises
    ------
    ValueError
        If the labels are not integers, or one is out of range.
    """
    if labels.dtype.kind not in "iu":
        raise ValueError(f"targets of shape (N,) must be integers, got {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"targets must be from 0 to {num_classes - 1}, got {wrong}")
    rows = np.zeros((len(labels), num_classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows
