import dataclasses
import math

import numpy as np
import pytest

from repvgg_np.data import Dataset, normalise
from repvgg_np.training import SGD, calibration_error, cross_entropy, evaluate, softmax

from .small import CLASSES, small_model, small_set

MEAN, STD = np.full(3, 0.4, np.float32), np.full(3, 0.2, np.float32)


@pytest.fixture(scope="module")
def lively_model():
    """A network that predicts each class somewhere: 40 steps of plain descent away from its first weights."""
    model, dataset = small_model(seed=3), small_set(32, seed=5)
    optimizer = SGD(model.named_parameters(), 0.05)
    for _ in range(40):
        _, grad = cross_entropy(model(normalise(dataset.images, MEAN, STD)), dataset.labels)
        model.backward(grad)
        optimizer.step()
    return model.eval()


@pytest.mark.slow_without_jit
def test_predictions_are_the_largest_logits_of_each_picture_by_itself(lively_model):
    dataset = small_set(30, seed=4)
    found = evaluate(lively_model, dataset, MEAN, STD, batch_size=7, progress=False)
    logits = np.concatenate(
        [lively_model(normalise(dataset.images[i : i + 1], MEAN, STD)) for i in range(len(dataset))]
    )
    assert set(found.predictions.tolist()) == {0, 1, 2}
    assert np.array_equal(found.predictions, logits.argmax(axis=1))
    assert found.predictions.dtype == np.int64
    assert found.accuracy == (logits.argmax(axis=1) == dataset.labels).sum() / 30
    # The mean of 30 float32 terms against the same in float64: each is rounded a few times, to u of its size.
    loss = cross_entropy(logits.astype(np.float64), dataset.labels)[0]
    largest = np.abs(logits).max() * 2 + math.log(len(CLASSES))
    assert found.loss == pytest.approx(loss, abs=20 * float(np.finfo(np.float32).eps * largest))
    assert found.images_per_second > 0


@pytest.mark.slow_without_jit
def test_accuracy_is_counted_class_by_class(lively_model):
    dataset = small_set(40, seed=4)
    found = evaluate(lively_model, dataset, MEAN, STD, progress=False)
    for label in range(len(CLASSES)):
        hits = [int(p) == label for p, y in zip(found.predictions, dataset.labels, strict=True) if y == label]
        assert found.per_class_accuracy[label] == sum(hits) / len(hits)
    only_red = Dataset(dataset.images, np.zeros_like(dataset.labels), CLASSES, "red")
    found = evaluate(lively_model, only_red, MEAN, STD, progress=False)
    assert found.per_class_accuracy[0] == found.accuracy
    assert np.isnan(found.per_class_accuracy[1:]).all()


@pytest.mark.slow_without_jit
def test_confusions_are_counted_by_class_and_prediction(lively_model):
    dataset = small_set(40, seed=4)
    found = evaluate(lively_model, dataset, MEAN, STD, progress=False)
    for label in range(len(CLASSES)):
        for predicted in range(len(CLASSES)):
            both = (dataset.labels == label) & (found.predictions == predicted)
            assert found.confusion[label, predicted] == both.sum()
    x = normalise(dataset.images, MEAN, STD)
    confidences = softmax(lively_model(x)).max(axis=1)
    expected = calibration_error(confidences, found.predictions == dataset.labels)
    # A rounding that moves a picture into the next bin would show; elsewhere only the last digits of float32 differ.
    assert found.calibration_error == pytest.approx(expected, abs=40 * 2.0**-23)


@pytest.mark.slow_without_jit
def test_with_mirror_images_logits_are_the_mean_of_both_views(lively_model):
    dataset = small_set(30, seed=4)
    found = evaluate(lively_model, dataset, MEAN, STD, progress=False, mirrored=True)
    x = normalise(dataset.images, MEAN, STD)
    logits = (lively_model(x) + lively_model(np.ascontiguousarray(x[:, :, :, ::-1]))) / 2
    assert np.array_equal(found.predictions, logits.argmax(axis=1))
    turned = dataclasses.replace(dataset, images=np.ascontiguousarray(dataset.images[:, :, :, ::-1]))
    again = evaluate(lively_model, turned, MEAN, STD, progress=False, mirrored=True)
    assert again.loss == found.loss  # whichever of the two comes first: a sum of two numbers has no order


@pytest.mark.parametrize("training", [True, False])
def test_every_layer_is_afterwards_in_the_mode_that_it_was_in(training):
    model = small_model().train(training)
    model.linear.train(not training)
    modes = [layer.training for _, layer in model.named_layers()]
    before = model.state_dict()
    evaluate(model, small_set(5, seed=0), MEAN, STD, progress=False)
    assert [layer.training for _, layer in model.named_layers()] == modes
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


def test_the_mode_is_restored_when_the_network_fails():
    model = small_model()

    def fails(x):
        assert not model.training
        raise MemoryError

    model.forward = fails
    with pytest.raises(MemoryError):
        evaluate(model, small_set(5, seed=0), MEAN, STD, progress=False)
    assert all(layer.training for _, layer in model.named_layers())


def test_a_float64_network_is_evaluated_in_float64():
    found = evaluate(small_model(dtype=np.float64), small_set(5, seed=0), MEAN, STD, progress=False)
    assert math.isfinite(found.loss)


def test_a_data_set_with_other_classes_is_refused():
    other = small_set(5, seed=0, classes=(*CLASSES, "white"))
    with pytest.raises(ValueError, match="model must have the 4 classes of colours, got 3"):
        evaluate(small_model(), other, MEAN, STD)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(small_model(), small_set(5, seed=0), MEAN, STD, batch_size=0)
