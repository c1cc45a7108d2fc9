import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repvgg_np.data import Dataset, batches, normalise

from .refusal import refused
from .strategies import channel_statistics, numbered_datasets, seeds

STATISTICS = {"mean": np.full(3, 0.5, np.float32), "std": np.full(3, 0.25, np.float32)}
TEN = Dataset(
    np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8),
    np.arange(10),
    tuple("abcdefghij"),
    "ten",
)


def order(dataset, **options):
    """The indices of the pictures (their labels, in a numbered data set) in the order of the batches."""
    return np.concatenate([y for _, y in batches(dataset, 3, **STATISTICS, **options)]).tolist()


@settings(deadline=None)
@given(numbered_datasets(), st.integers(1, 7), seeds, st.integers(0, 9), st.booleans(), st.booleans(), st.data())
def test_a_resumed_epoch_gives_the_batches_that_an_uninterrupted_one_would(
    dataset, batch_size, seed, epoch, augment, drop_last, data
):
    batch_size = min(batch_size, len(dataset))
    options = dict(seed=seed, epoch=epoch, augment=augment, drop_last=drop_last, **STATISTICS)
    whole = list(batches(dataset, batch_size, **options))
    start = data.draw(st.integers(0, len(whole)))
    rest = list(batches(dataset, batch_size, start=start, **options))
    assert len(rest) == len(whole) - start
    for (x, y), (expected_x, expected_y) in zip(rest, whole[start:], strict=True):
        assert x.tobytes() == expected_x.tobytes()
        assert y.tobytes() == expected_y.tobytes()


@given(numbered_datasets(), st.integers(1, 25), seeds, st.integers(0, 9))
def test_an_epoch_holds_every_picture_once_with_its_label(dataset, batch_size, seed, epoch):
    seen = []
    for x, y in batches(dataset, batch_size, seed=seed, epoch=epoch, **STATISTICS):
        assert np.array_equal(x, normalise(dataset.images[y], **STATISTICS))
        seen += y.tolist()
    assert sorted(seen) == list(range(len(dataset)))


@given(numbered_datasets(), st.integers(1, 25), channel_statistics())
def test_without_a_seed_the_pictures_come_in_their_own_order(dataset, batch_size, statistics):
    mean, std = statistics
    parts = list(batches(dataset, batch_size, mean=mean, std=std))
    assert np.array_equal(np.concatenate([y for _, y in parts]), dataset.labels)
    assert np.array_equal(np.concatenate([x for x, _ in parts]), normalise(dataset.images, mean, std))


@given(numbered_datasets(), st.integers(1, 25))
def test_all_batches_are_full_but_the_last_which_drop_last_leaves_out(dataset, batch_size):
    sizes = [len(y) for _, y in batches(dataset, batch_size, **STATISTICS)]
    assert sum(sizes) == len(dataset)
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size
    if batch_size <= len(dataset):
        full = [len(y) for _, y in batches(dataset, batch_size, drop_last=True, **STATISTICS)]
        assert full == [size for size in sizes if size == batch_size]


@pytest.mark.parametrize("augment", [False, True])
def test_a_batch_is_float32_with_the_channels_last_in_memory_and_int64(augment):
    for x, y in batches(TEN, 4, seed=0, augment=augment, **STATISTICS):
        assert x.dtype == np.float32
        assert x.shape == (len(y), 3, 32, 32)
        assert x.transpose(0, 2, 3, 1).flags.c_contiguous
        assert y.dtype == np.int64


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = [tuple(order(TEN, seed=seed, epoch=epoch)) for seed in range(8) for epoch in range(8)]
    assert len(set(orders)) == 64  # of 10! = 3.6 million; two alike would be a matter of 1 in 1800


def test_every_batch_of_every_epoch_is_augmented_in_its_own_way():
    # The same picture everywhere, so that batches differ by their augmentation only.
    same = Dataset(TEN.images[:1].repeat(8, axis=0), np.zeros(8, np.int64), ("same",), "same")
    pictures = [
        x.tobytes()
        for seed in range(3)
        for epoch in range(3)
        for x, _ in batches(same, 4, seed=seed, epoch=epoch, augment=True, **STATISTICS)
    ]
    assert len(pictures) == len(set(pictures)) == 18


def test_augmentation_does_not_change_the_order():
    assert order(TEN, seed=3, augment=True) == order(TEN, seed=3)


def test_the_data_set_is_left_alone():
    before = TEN.images.copy()
    for x, _ in batches(TEN, 3, seed=0, augment=True, **STATISTICS):
        x[...] = 0
    assert np.array_equal(TEN.images, before)


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"batch_size": 0}, ["batch_size must be at least 1, got 0"]),
        ({"batch_size": 2.0}, ["batch_size must be an integer, got 2.0"]),
        ({"batch_size": 11, "drop_last": True}, ["batch_size must be at most 10", "got 11"]),
        ({"seed": -1}, ["seed must be at least 0, got -1"]),
        ({"seed": "a"}, ["seed must be an integer, got 'a'"]),
        ({"epoch": -1}, ["epoch must be at least 0, got -1"]),
        ({"start": -1}, ["start must be at least 0, got -1"]),
        ({"start": 5}, ["start must be at most 4, the number of batches, got 5"]),
        ({"start": 4, "drop_last": True}, ["start must be at most 3"]),
        ({"augment": True}, ["augment needs a seed"]),
        ({"std": np.zeros(3)}, ["std must be positive"]),
        ({"mean": np.zeros(2)}, ["mean must be three numbers"]),
    ],
)
def test_bad_options_are_refused_by_the_call_itself(options, fragments):
    with refused(*fragments):
        batches(TEN, **({"batch_size": 3} | STATISTICS | options))
