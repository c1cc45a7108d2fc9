from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.data import shrink
from repvgg_np.data.shrink import shares

from .refusal import refused
from .strategies import images, seeds


@given(st.integers(1, 40), st.integers(1, 40))
def test_every_old_pixel_is_given_away_whole_and_every_new_one_is_a_mean(before, after):
    before, after = max(before, after), min(before, after)
    weights = shares(before, after)
    assert (weights >= 0).all()
    # Edges are products rounded once, of at most 40; each sum has at most 40 terms.
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=40 * 40 * 2.0**-52)
    np.testing.assert_allclose(weights.sum(axis=0), after / before, rtol=0, atol=40 * 40 * 2.0**-52)


@given(images(max_count=2, max_side=8), st.integers(1, 8))
def test_each_new_pixel_is_the_mean_of_the_area_that_it_covers(pictures, size):
    side = min(pictures.shape[2:])
    square, size = pictures[:, :, :side, :side], min(size, side)
    found = shrink(square, size)
    assert found.dtype == np.uint8 and found.shape == (*square.shape[:2], size, size)
    for place in np.ndindex(found.shape):
        exact = area_mean(square[place[:2]], place[2], place[3], Fraction(side, size))
        assert abs(found[place] - exact) <= Fraction(1, 2) + Fraction(1, 100)  # 255 times some roundings of float32


def area_mean(plane, row, column, step):
    """The mean over a square of that side, in fractions; a pixel is as much of it as lies inside."""
    total = Fraction(0)
    for (i, j), value in np.ndenumerate(plane):
        height = min((row + 1) * step, i + 1) - max(row * step, i)
        width = min((column + 1) * step, j + 1) - max(column * step, j)
        total += max(height, 0) * max(width, 0) * int(value)
    return total / step**2


@given(images(), seeds)
def test_pictures_of_that_size_stay_as_they_are_and_flat_ones_keep_their_value(pictures, seed):
    side = min(pictures.shape[2:])
    square = pictures[:, :, :side, :side]
    assert np.array_equal(shrink(square, side), square)
    flat = np.full((1, 3, side, side), seed % 256, np.uint8)
    assert (shrink(flat, 1 + seed % side) == seed % 256).all()


@pytest.mark.parametrize(("size", "fragments"), [(0, ["at least 1"]), (9, ["at most", "8", "9"]), (1.5, ["integer"])])
def test_pictures_cannot_be_shrunk_to_nothing_or_to_more(size, fragments):
    with refused("size must be", *fragments):
        shrink(np.zeros((1, 3, 8, 8), np.uint8), size)
