"""What each change of a picture does, in cases that can be checked by eye or by another formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.data import operations as op
from repvgg_np.data.rand_augment import OPERATIONS, STRONGEST, rand_augment

from .refusal import refused
from .strategies import images, seeds

GREY = np.array([1, 2, 3], np.uint8)


def ones(pictures):
    return np.ones(len(pictures))


@given(images())
def test_at_no_strength_nothing_changes(pictures):
    none = np.zeros(len(pictures))
    same = [
        op.invert_above(pictures, none + 256),
        op.keep_bits(pictures, none + 8),
        *(blend(pictures, ones(pictures)) for blend in (op.brightness, op.colour, op.contrast, op.sharpness)),
        *(move(pictures, none, GREY) for move in (op.rotate, op.shear_x, op.shear_y, op.translate_x, op.translate_y)),
    ]
    for found in same:
        assert found.dtype == np.uint8
        assert np.array_equal(found, pictures)


@given(images(), st.integers(0, 256))
def test_solarising_twice_above_nothing_is_the_picture_and_once_its_negative(pictures, threshold):
    negative = op.invert_above(pictures, np.zeros(len(pictures)))
    assert np.array_equal(negative, 255 - pictures)
    assert np.array_equal(op.invert_above(negative, np.zeros(len(pictures))), pictures)
    found = op.invert_above(pictures, np.full(len(pictures), threshold))
    assert np.array_equal(found, np.array([v if v < threshold else 255 - v for v in range(256)])[pictures])


@given(images(), st.integers(1, 8))
def test_posterising_keeps_the_highest_bits(pictures, bits):
    step = 2 ** (8 - bits)
    assert np.array_equal(op.keep_bits(pictures, np.full(len(pictures), bits)), pictures // step * step)


@given(images())
def test_stretched_contrast_uses_the_whole_range_of_every_channel_that_is_not_flat(pictures):
    stretched = op.stretch_contrast(pictures)
    low, high = stretched.min(axis=(2, 3)), stretched.max(axis=(2, 3))
    flat = pictures.min(axis=(2, 3)) == pictures.max(axis=(2, 3))
    assert (low[~flat] == 0).all() and (high[~flat] == 255).all()
    assert np.array_equal(stretched[flat], pictures[flat])


@given(images())
def test_equalising_keeps_the_order_of_values_and_reaches_both_ends(pictures):
    found = op.equalise(pictures)
    for before, after in zip(
        pictures.reshape(-1, pictures[0, 0].size), found.reshape(-1, found[0, 0].size), strict=True
    ):
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order].astype(int)) >= 0).all()
        if before.min() != before.max():
            assert after.min() == 0 and after.max() == 255
        else:
            assert np.array_equal(after, before)


def test_equalised_values_that_occur_equally_often_are_equally_far_apart():
    plane = np.repeat(np.array([3, 4, 200, 255], np.uint8), 4).reshape(1, 1, 4, 4).repeat(3, axis=1)
    assert np.unique(op.equalise(plane)).tolist() == [0, 85, 170, 255]


@given(images())
def test_without_colour_all_channels_are_alike_and_without_contrast_all_pixels(pictures):
    grey = op.colour(pictures, 0 * ones(pictures))
    assert np.array_equal(grey[:, 0], grey[:, 1]) and np.array_equal(grey[:, 0], grey[:, 2])
    flat = op.contrast(pictures, 0 * ones(pictures))
    assert (flat == flat[:, :1, :1, :1]).all()
    assert not op.brightness(pictures, 0 * ones(pictures)).any()


def test_a_picture_blended_by_halves_is_the_mean_of_both():
    pictures = np.full((1, 3, 4, 4), 200, np.uint8)
    assert (op.brightness(pictures, np.array([0.5])) == 100).all()
    assert (op.brightness(pictures, np.array([2.0])) == 255).all()  # clipped


def test_smoothing_replaces_a_spot_by_five_thirteenths_of_it_and_spares_the_border():
    picture = np.zeros((1, 3, 5, 5), np.uint8)
    picture[:, :, 2, 2] = 130
    smooth = op.sharpness(picture, np.zeros(1))[0, 0]
    expected = np.zeros((5, 5), np.uint8)
    expected[1:4, 1:4] = 10
    expected[2, 2] = 50
    assert np.array_equal(smooth, expected)
    picture[:, :, 0, 0] = 77
    assert op.sharpness(picture, np.zeros(1))[0, 0, 0, 0] == 77


@given(images(max_side=9), st.integers(-3, 3))
def test_shifting_shows_the_pixels_beside_and_the_fill_where_there_are_none(pictures, by):
    found = op.translate_x(pictures, np.full(len(pictures), by), GREY)
    width = pictures.shape[3]
    for x in range(width):
        inside = 0 <= x + by < width
        expected = pictures[:, :, :, x + by] if inside else GREY[None, :, None]
        assert (found[:, :, :, x] == expected).all()
    turned = op.translate_y(pictures.swapaxes(2, 3), np.full(len(pictures), by), GREY)
    assert np.array_equal(turned, found.swapaxes(2, 3))


@given(images(max_side=9))
def test_four_quarter_turns_are_none_and_one_is_numpys(pictures):
    side = min(pictures.shape[2:])
    square = pictures[:, :, :side, :side]
    quarter = op.rotate(square, 90 * ones(square), GREY)
    assert np.array_equal(quarter, np.rot90(square, axes=(2, 3)))
    assert np.array_equal(op.rotate(square, 360 * ones(square), GREY), square)


@given(images(max_side=9), st.floats(-1, 1))
def test_shearing_leaves_the_middle_row_where_it_is(pictures, slope):
    height = pictures.shape[2] - (pictures.shape[2] + 1) % 2  # odd, so that there is one
    odd = pictures[:, :, :height]
    found = op.shear_x(odd, slope * ones(odd), GREY)
    assert np.array_equal(found[:, :, height // 2], odd[:, :, height // 2])
    turned = op.shear_y(odd.swapaxes(2, 3), slope * ones(odd), GREY)
    assert np.array_equal(turned, found.swapaxes(2, 3))


@given(images(), st.integers(0, 3), st.integers(0, STRONGEST), seeds)
def test_rand_augment_gives_pictures_of_the_same_kind_and_the_same_seed_the_same(pictures, count, magnitude, seed):
    before = pictures.copy()
    found, again = (rand_augment(pictures, np.random.default_rng(seed), count, magnitude, GREY) for _ in range(2))
    assert found.dtype == np.uint8 and found.shape == pictures.shape
    assert np.array_equal(found, again)
    assert np.array_equal(pictures, before)
    assert count or np.array_equal(found, pictures)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_picture_goes_through_the_operation_that_is_drawn_for_it(name):
    """Whatever else is in the batch, only those pictures change; and at full strength all but the identity do."""
    pictures = np.random.default_rng(0).integers(40, 200, (3, 3, 16, 16), dtype=np.uint8)
    number = list(OPERATIONS).index(name)

    class Fixed:
        def integers(self, low, high, shape):
            assert (low, high, shape) == (0, 14, (1, 3))
            return np.array([[0, number, 0]])

        def random(self, n):
            return np.zeros(n)

    found = rand_augment(pictures, Fixed(), 1, STRONGEST, GREY)
    assert np.array_equal(found[[0, 2]], pictures[[0, 2]])
    assert np.array_equal(found[1], pictures[1]) == (name == "Identity")


def test_what_rand_augment_cannot_do_is_refused():
    pictures, rng = np.zeros((1, 3, 4, 4), np.uint8), np.random.default_rng(0)
    with refused("count must be at least 0", "-1"):
        rand_augment(pictures, rng, -1, 9, GREY)
    with refused("magnitude must be at most 30", "31"):
        rand_augment(pictures, rng, 1, 31, GREY)
