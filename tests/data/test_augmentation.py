import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.data import Augmentation, Dataset, alternating_flips, batches, cutout, random_crop_and_flip

from .refusal import refused
from .strategies import images, seeds

MEAN, STD = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.2, 0.2])


@given(st.integers(1, 40), seeds, st.integers(0, 9))
def test_in_two_epochs_in_a_row_every_picture_is_seen_both_ways(count, seed, epoch):
    chosen = np.random.default_rng(seed).permutation(count)
    first, second = (alternating_flips(chosen, count, seed, e) for e in (epoch, epoch + 1))
    assert np.array_equal(first, ~second)
    assert np.array_equal(first, alternating_flips(np.arange(count), count, seed, epoch)[chosen])


def test_alternating_flips_begin_with_a_coin_for_each_picture():
    """Half of 10,000, within five standard deviations, and other halves for other seeds."""
    first, other = (alternating_flips(np.arange(10_000), 10_000, seed, 0) for seed in (0, 1))
    for flips in (first, other, first ^ other):
        assert abs(flips.sum() - 5000) <= 5 * 50


@given(images(), seeds)
def test_pictures_are_mirrored_where_it_is_said_and_nowhere_else(pixels, seed):
    flipped = np.random.default_rng(seed).random(len(pixels)) < 0.5
    found = random_crop_and_flip(pixels, np.random.default_rng(seed), 0, flipped)
    for before, after, mirrored in zip(pixels, found, flipped, strict=True):
        assert np.array_equal(after, before[:, :, ::-1] if mirrored else before)


@given(images(), st.integers(0, 20), seeds)
def test_cutout_covers_what_a_square_around_some_pixel_covers(pixels, size, seed):
    fill = np.array([1, 2, 3], np.uint8)
    before = pixels.copy()
    found = cutout(pixels, np.random.default_rng(seed), size, fill)
    assert found.dtype == np.uint8 and np.array_equal(pixels, before)
    _, _, height, width = pixels.shape
    for picture, result in zip(pixels, found, strict=True):
        possible = []
        for y in range(height):
            for x in range(width):
                covered = picture.copy()
                top, left = max(y - size // 2, 0), max(x - size // 2, 0)
                bottom, right = y - size // 2 + size, x - size // 2 + size
                covered[:, top : max(bottom, 0), left : max(right, 0)] = fill[:, None, None]
                possible.append(covered.tobytes())
        assert result.tobytes() in possible


def test_every_pixel_is_the_middle_of_the_square_equally_often():
    """4,000 draws of 16 places: each 250 times, within five standard deviations of a binomial distribution."""
    pixels = np.zeros((4000, 3, 4, 4), np.uint8)
    covered = cutout(pixels, np.random.default_rng(0), 1, np.ones(3, np.uint8))
    assert (covered.sum(axis=(2, 3)) == 1).all()
    assert np.abs(covered[:, 0].sum(axis=0) - 250.0).max() <= 5 * np.sqrt(4000 * (1 / 16) * (15 / 16))


@given(images(), seeds)
def test_the_usual_augmentation_is_shifts_and_flips_from_the_same_draws(pixels, seed):
    padding = min(4, min(pixels.shape[2:]) - 1)
    found = Augmentation(padding).apply(pixels, np.random.default_rng(seed), MEAN)
    assert np.array_equal(found, random_crop_and_flip(pixels, np.random.default_rng(seed), padding))


def test_what_is_covered_is_nearly_zero_after_normalisation():
    """The mean colour, rounded to a byte, is off by half of 1/255 at most; float32 rounds four numbers below 1."""
    dataset = Dataset(np.full((2, 3, 32, 32), 255, np.uint8), np.array([0, 1]), ("a", "b"), "white")
    augment = Augmentation(padding=0, flip="none", cutout=99)
    (x, _), *_ = batches(dataset, 2, mean=MEAN, std=STD, seed=0, augment=augment)
    assert np.abs(x).max() <= (0.5 / 255 + 4 * 2.0**-24) / 0.2


def test_batches_are_mirrored_every_second_epoch():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    dataset = Dataset(pixels, np.arange(6), tuple("abcdef"), "numbered")
    augment = Augmentation(padding=0, flip="alternating")
    seen = []
    for epoch in range(3):
        options = {"mean": MEAN, "std": STD, "seed": 1, "epoch": epoch, "augment": augment}
        x, y = (np.concatenate(parts) for parts in zip(*batches(dataset, 4, **options), strict=True))
        seen.append(x[np.argsort(y)])
    assert np.array_equal(seen[0], seen[1][:, :, :, ::-1])
    assert np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("choices", "fragments"),
    [
        ({"padding": -1}, ["padding must be at least 0", "-1"]),
        ({"flip": "sometimes"}, ["unknown flip 'sometimes'", "random, alternating, none"]),
        ({"operations": 1.5}, ["operations must be an integer", "1.5"]),
        ({"magnitude": 31}, ["magnitude must be at most 30", "31"]),
        ({"cutout": True}, ["cutout must be an integer", "True"]),
    ],
)
def test_what_is_no_augmentation_is_refused(choices, fragments):
    with refused(*fragments):
        Augmentation(**choices)
