"""How good a network is on a data set."""

import dataclasses
import time

import numpy as np
from tqdm import tqdm

from repvgg_np.data import batches
from repvgg_np.training.calibration import calibration_error
from repvgg_np.training.loss import cross_entropy, softmax


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    loss : float
        The mean cross-entropy.
    accuracy : float
        The part of the pictures whose predicted class is the right one, from 0 to 1.
    predictions : ndarray (N,) int64
        The predicted class of each picture, in the order of the data set.
    per_class_accuracy : ndarray (K,) float64
        The accuracy among the pictures of each class; NaN for a class without pictures.
    confusion : ndarray (K, K) int64
        Row t, column p: how many pictures of class t were predicted to be of class p.
    calibration_error : float
        How far confidence and accuracy are apart: see `calibration.py`.
    images_per_second : float
        The preparation of the batches included, the first batch excluded where there is another.
    """

    loss: float
    accuracy: float
    predictions: np.ndarray
    per_class_accuracy: np.ndarray
    confusion: np.ndarray
    calibration_error: float
    images_per_second: float


def evaluate(model, dataset, mean, std, batch_size=256, progress=True, mirrored=False):
    """Predict the class of every picture of a data set, in inference mode.

    Parameters
    ----------
    model : Layer
        In training or inference form. Afterwards it is in the mode that it was in.
    dataset : Dataset
    mean, std : ndarray (3,)
        With which the pictures were normalised in training.
    batch_size : int
        At least 1. The predictions do not depend on it, but for rounding.
    progress : bool
        Whether to show a bar on stderr, if that is a terminal and it takes longer than a second.
    mirrored : bool
        Whether to take the mean of the logits of each picture and of its mirror image ("test-time augmentation"). It
        takes twice the time.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the network has another number of classes than the data set, or an argument is out of range.
    """
    check_classes(model, dataset)
    pieces = batches(dataset, batch_size, mean=mean, std=std)
    count = -(-len(dataset) // batch_size)
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    model.eval()
    try:
        predictions, confidences, loss_sum = [], [], 0.0
        started = ended_first = time.perf_counter()
        bar = tqdm(pieces, "evaluating", count, leave=False, unit="batch", delay=1, disable=None if progress else True)
        for x, y in bar:
            x = x.astype(model.dtype, copy=False)
            logits = (model(x) + model(x[:, :, :, ::-1])) / 2 if mirrored else model(x)
            loss, _ = cross_entropy(logits, y)
            loss_sum += loss * len(y)
            predictions.append(logits.argmax(axis=1))
            confidences.append(softmax(logits).max(axis=1))
            if len(predictions) == 1:
                ended_first = time.perf_counter()
        ended = time.perf_counter()
    finally:
        for layer, mode in modes:
            layer.training = mode
    predictions = np.concatenate(predictions).astype(np.int64, copy=False)
    correct = predictions == dataset.labels
    confusion = _confusion(dataset.labels, predictions, len(dataset.classes))
    if count > 1:
        images_per_second = (len(dataset) - batch_size) / (ended - ended_first)
    else:
        images_per_second = len(dataset) / (ended - started)
    return Evaluation(
        loss_sum / len(dataset),
        float(correct.mean()),
        predictions,
        _per_class(confusion),
        confusion,
        calibration_error(np.concatenate(confidences), correct),
        images_per_second,
    )


def check_classes(model, dataset):
    """Refuse a data set that has another number of classes than the network.

    Parameters
    ----------
    model : Layer
    dataset : Dataset

    Raises
    ------
    ValueError
    """
    if model.num_classes != len(dataset.classes):
        raise ValueError(
            f"model must have the {len(dataset.classes)} classes of {dataset.name}, got {model.num_classes}"
        )


def _confusion(labels, predictions, num_classes):
    """Count the pictures of each class (row) by what they were predicted to be (column)."""
    return np.bincount(labels * num_classes + predictions, minlength=num_classes**2).reshape(num_classes, num_classes)


def _per_class(confusion):
    """Return which part of each class's pictures was predicted right."""
    pictures = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), pictures, out=np.full(len(pictures), np.nan), where=pictures > 0)
