import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repvgg_np.data import synthetic_dataset
from repvgg_np.data.synthetic import draw

from .refusal import refused
from .strategies import splits


@pytest.fixture(scope="module")
def train():
    return synthetic_dataset("train")


@pytest.fixture(scope="module")
def test():
    return synthetic_dataset("test")


def features(dataset):
    """Pixels as rows of numbers from -1/2 to 1/2."""
    return dataset.images.reshape(len(dataset), -1).astype(np.float32) / 255 - np.float32(0.5)


def softmax_regression(x, y, classes=10, epochs=10, rate=0.03):
    """Train the linear classifier that has the largest likelihood; return its weights and biases."""
    rng = np.random.default_rng(0)
    weight, bias = np.zeros((x.shape[1], classes), np.float32), np.zeros(classes, np.float32)
    for _ in range(epochs):
        for chosen in np.array_split(rng.permutation(len(x)), len(x) // 500):
            scores = x[chosen] @ weight + bias
            error = np.exp(scores - scores.max(axis=1, keepdims=True))
            error /= error.sum(axis=1, keepdims=True)
            error[np.arange(len(chosen)), y[chosen]] -= 1
            weight -= rate / len(chosen) * (x[chosen].T @ error)
            bias -= rate * error.mean(axis=0)
    return weight, bias


@pytest.fixture(scope="module")
def classifier(train):
    return softmax_regression(features(train), train.labels)


def accuracy(weight, bias, x, y):
    return ((x @ weight + bias).argmax(axis=1) == y).mean()


def test_there_are_ten_thousand_pictures_to_train_on_and_two_thousand_to_test(train, test):
    assert (len(train), len(test)) == (10_000, 2_000)
    assert train.name == test.name == "synthetic"


def test_the_classes_have_the_names_of_figures_and_are_equally_frequent(train, test):
    names = (
        "disk",
        "ring",
        "square",
        "triangle",
        "star",
        "cross",
        "heart",
        "crescent",
        "stripes",
        "checkers",
    )
    assert train.classes == test.classes == names
    assert np.bincount(train.labels).tolist() == [1000] * 10
    assert np.bincount(test.labels).tolist() == [200] * 10


@settings(deadline=None, max_examples=15)
@given(splits, st.integers(0, 2**40), st.integers(1, 450), st.integers(1, 450))
def test_a_smaller_set_is_the_beginning_of_a_larger_one(split, seed, small, large):
    small, large = sorted([small, large])
    first, whole = synthetic_dataset(split, seed, small), synthetic_dataset(split, seed, large)
    assert len(first) == small
    assert np.array_equal(first.images, whole.images[:small])
    assert np.array_equal(first.labels, whole.labels[:small])


def test_seed_0_draws_the_pictures_that_it_always_drew():
    # Published accuracies are of these very pixels: if this fails, they have to be measured again.
    dataset = synthetic_dataset("train", size=400)
    digest = hashlib.sha256(dataset.images.tobytes() + dataset.labels.tobytes()).hexdigest()
    assert digest == "bab03206289dd0cd58b32bce67c38025b2df28fe826857e60a5183c038a0e178"


def test_no_picture_occurs_twice_in_training_and_test_sets_of_several_seeds(train, test):
    sets = [
        train,
        test,
        *(synthetic_dataset(split, seed, 200) for split in ("train", "test") for seed in (1, 2)),
    ]
    pictures = [image.tobytes() for dataset in sets for image in dataset.images]
    assert len(set(pictures)) == len(pictures) == 12_800


def test_the_mean_picture_of_every_class_is_the_same_plain_grey(train):
    x = features(train)
    for label in range(10):
        own = x[train.labels == label]
        deviations = own.mean(axis=0) / (own.std(axis=0) / np.sqrt(len(own)))
        # 30,720 numbers in all, each about normally distributed with the deviation 1 if the mean is the
        # middle grey: beyond 5.5 lies one of 26 million.
        assert np.abs(deviations).max() < 5.5


def test_the_nearest_class_mean_is_no_better_than_guessing(train, test):
    x, rows = features(train), features(test)
    means = np.stack([x[train.labels == label].mean(axis=0) for label in range(10)])
    squares = (means**2).sum(axis=1) - 2 * rows @ means.T  # of the distances, but for the length of the row itself
    right = (squares.argmin(axis=1) == test.labels).mean()
    # Guessing is right in 0.1 of the cases, with a standard deviation of sqrt(0.1 * 0.9 / 2000) = 0.0067:
    # five of them, and as much again for what may be learnt from lengths.
    assert right < 0.1 + 10 * 0.0067


def test_a_linear_classifier_fails(classifier, test):
    # By the symmetry of the colours no linear classifier is right more often than 0.55 (see `synthetic.py`);
    # random places and angles leave it little of that. Twice the accuracy of guessing is 15 standard
    # deviations above guessing.
    assert accuracy(*classifier, features(test), test.labels) < 0.2


def test_a_linear_classifier_succeeds_where_brightness_tells_the_class(train, test):
    # The same judge on the same pictures, each with a bright bar whose place depends on the class: it is no
    # weak judge.
    rows = {}
    for name, dataset in (("train", train.subset(3000)), ("test", test)):
        images = dataset.images.copy()
        for image, label in zip(images, dataset.labels, strict=True):
            image[:, :3, 3 * label : 3 * label + 3] = 255
        rows[name] = (
            images.reshape(len(images), -1).astype(np.float32) / 255 - np.float32(0.5),
            dataset.labels,
        )
    weight, bias = softmax_regression(*rows["train"])
    assert accuracy(weight, bias, *rows["test"]) > 0.9


def test_a_linear_classifier_is_not_right_about_both_a_picture_and_its_negative(classifier, test):
    # The argument of `synthetic.py`, on real pictures and a trained classifier.
    weight, bias = classifier
    scores = features(test) @ weight
    right = (scores + bias).argmax(axis=1) == test.labels
    right_about_the_negative = (bias - scores).argmax(axis=1) == test.labels
    both = right & right_about_the_negative
    assert set(test.labels[both]) <= {bias.argmax()}


@pytest.mark.parametrize("step", range(1, 10))
def test_the_label_alone_decides_which_figure_is_drawn(step):
    labels = np.arange(200) % 10
    first, same, other = (
        draw(some, np.random.default_rng(0)).astype(np.int64) for some in (labels, labels, (labels + step) % 10)
    )
    assert np.array_equal(first, same)
    # Another figure in the same place and the same colours: pixels that change by a fifth of the scale can be
    # seen.
    changed = (np.abs(first - other) > 51).any(axis=1).sum(axis=(1, 2))
    assert changed.min() > 0
    assert np.median(changed) > 30


def test_no_channel_is_darker_or_brighter_than_the_others(train):
    means = train.images.mean(axis=(2, 3)) / 255
    error = means.std(axis=0) / np.sqrt(len(train))
    assert (np.abs(means.mean(axis=0) - 0.5) < 5 * error).all()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("validation",), ["unknown split 'validation'", "train, test"]),
        (("train", -1), ["seed must be at least 0, got -1"]),
        (("train", 0.5), ["seed must be an integer, got 0.5"]),
        (("train", 0, 0), ["size must be at least 1, got 0"]),
        (("train", 0, 10.0), ["size must be an integer, got 10.0"]),
    ],
)
def test_bad_arguments_are_refused(arguments, fragments):
    with refused(*fragments):
        synthetic_dataset(*arguments)
