import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from repvgg_np.data import DATASETS, Dataset, load_dataset, mean_and_std, synthetic_dataset

from .refusal import refused
from .strategies import numbered_datasets

IMAGES = np.zeros((2, 3, 32, 32), dtype=np.uint8)
LABELS = np.array([0, 1])
CLASSES = ("cat", "dog")


def test_a_data_set_is_as_long_as_it_has_pictures():
    assert len(Dataset(IMAGES, LABELS, CLASSES, "pets")) == 2


def test_a_data_set_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dataset(IMAGES, LABELS, CLASSES, "pets").labels = LABELS


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"images": IMAGES.tolist()}, ["images must be a NumPy array", "got list"]),
        ({"images": IMAGES.astype(np.float32)}, ["images must be uint8", "got float32"]),
        ({"images": IMAGES[0]}, ["(N, 3, 32, 32)", "got (3, 32, 32)"]),
        ({"images": IMAGES.transpose(0, 2, 3, 1)}, ["(N, 3, 32, 32)", "got (2, 32, 32, 3)"]),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, ["at least one picture", "got none"]),
        ({"labels": [0, 1]}, ["labels must be a NumPy array", "got list"]),
        ({"labels": LABELS.astype(np.uint8)}, ["labels must be int64", "got uint8"]),
        ({"labels": LABELS[:1]}, ["labels must have the shape (2,)", "got (1,)"]),
        ({"labels": LABELS[:, None]}, ["labels must have the shape (2,)", "got (2, 1)"]),
        ({"labels": np.array([0, 2])}, ["labels must be 0 to 1", "got 2"]),
        ({"labels": np.array([-1, 0])}, ["labels must be 0 to 1", "got -1"]),
        ({"classes": ["cat", "dog"]}, ["classes must be a tuple of str"]),
        ({"classes": ("cat", 2)}, ["classes must be a tuple of str"]),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(change, fragments):
    good = {"images": IMAGES, "labels": LABELS, "classes": CLASSES, "name": "pets"}
    with refused(*fragments):
        Dataset(**(good | change))


@given(numbered_datasets())
def test_a_subset_is_the_first_pictures(dataset):
    for count in range(1, len(dataset) + 3):
        subset = dataset.subset(count)
        assert np.array_equal(subset.images, dataset.images[:count])
        assert np.array_equal(subset.labels, dataset.labels[:count])
        assert (subset.classes, subset.name) == (dataset.classes, dataset.name)


@pytest.mark.parametrize("count", [0, -1, 1.0, True, None])
def test_a_subset_of_no_picture_is_refused(count):
    with refused("count", repr(count)):
        Dataset(IMAGES, LABELS, CLASSES, "pets").subset(count)


@settings(max_examples=10, deadline=None)
@given(numbered_datasets(max_count=3))
def test_mean_and_deviation_are_those_of_exact_arithmetic(dataset):
    mean, std = mean_and_std(dataset)
    assert mean.shape == std.shape == (3,)
    assert mean.dtype == std.dtype == np.float32
    for channel in range(3):
        values = [Fraction(value, 255) for value in dataset.images[:, channel].ravel().tolist()]
        exact_mean = sum(values) / len(values)
        variance = sum((value - exact_mean) ** 2 for value in values) / len(values)
        # The only float operations are a division or a root in float64 and the rounding to float32, whose
        # half a unit in the last place is 2**-24 of the value; the float64 ones are billions of times
        # smaller, so 2**-23 is ample.
        assert abs(Fraction(float(mean[channel])) - exact_mean) <= exact_mean * Fraction(1, 2**23)
        # For the deviation the squares are compared, whose relative error is twice as large.
        assert abs(Fraction(float(std[channel])) ** 2 - variance) <= variance * Fraction(1, 2**22)


def test_mean_and_deviation_of_more_pictures_than_are_counted_at_once():
    images = np.zeros((2500, 3, 32, 32), dtype=np.uint8)
    images[1000:2250] = 255  # half of the pixels are 0, half are 1: both numbers are 1/2
    mean, std = mean_and_std(Dataset(images, np.zeros(2500, dtype=np.int64), ("two-tone",), "two-tone"))
    assert mean.tolist() == std.tolist() == [0.5] * 3


def test_the_deviation_of_a_constant_channel_is_zero():
    mean, std = mean_and_std(Dataset(IMAGES + np.uint8(255), LABELS, CLASSES, "white"))
    assert mean.tolist() == [1] * 3
    assert std.tolist() == [0] * 3


def test_the_synthetic_set_is_loaded_by_its_name():
    loaded, drawn = load_dataset("synthetic", "test"), synthetic_dataset("test")
    assert np.array_equal(loaded.images, drawn.images)
    assert np.array_equal(loaded.labels, drawn.labels)


def test_an_unknown_data_set_is_refused_with_the_valid_names_and_the_nearest():
    with refused("unknown data set 'CIFAR-10'", *DATASETS, "did you mean 'cifar10'?"):
        load_dataset("CIFAR-10", "train")


@pytest.mark.parametrize("name", ["", None, 10])
def test_an_unknown_data_set_that_resembles_none_is_refused_with_the_valid_names(name):
    with refused(f"unknown data set {name!r}", *DATASETS):
        load_dataset(name, "train")


@pytest.mark.parametrize("name", DATASETS)
def test_an_unknown_split_is_refused_with_the_valid_ones(name):
    with refused("unknown split 'training'", "train, test", "did you mean 'train'?"):
        load_dataset(name, "training")


@pytest.mark.parametrize("place", [{"data_dir": "somewhere"}, {"download": True}])
def test_a_place_of_files_is_refused_for_the_synthetic_set(place):
    with refused("synthetic", "data_dir", "download"):
        load_dataset("synthetic", "train", **place)
