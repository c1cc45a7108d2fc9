"""Copies are exact: what was asked for, and not a number more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels.copy import clear_run, copy_padded_rows, copy_run
from repvgg_np.kernels.simd import VECTOR_BYTES
from tests import strategies


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_run_of_any_length_is_copied_or_cleared_and_nothing_beside_it(dtype):
    source = np.arange(1, 100, dtype=dtype)
    for count in range(3 * VECTOR_BYTES // source.itemsize + 2):
        for at_the_end in (False, True):
            size = 7 + count if at_the_end else 99
            start, place = (size - count, 7) if at_the_end else (5, 7)
            expected = np.full(max(size, place + count), np.nan, dtype)
            copied, cleared = expected.copy(), expected.copy()
            copy_run(source[:size], start, copied, place, count)
            clear_run(cleared, place, count)
            expected[place : place + count] = source[start : start + count]
            np.testing.assert_array_equal(copied, expected)
            expected[place : place + count] = 0
            np.testing.assert_array_equal(cleared, expected)


small = st.integers(1, 7)


@given(small, small, st.integers(1, 20), st.integers(0, 3), st.data(), strategies.dtypes)
def test_a_band_of_rows_is_that_of_the_padded_picture(height, width, channels, padding, data, dtype):
    x = np.arange(1, 2 * height * width * channels + 1, dtype=dtype).reshape(2, height, width, channels)
    top = data.draw(st.integers(-4, height + 2))
    rows = data.draw(st.integers(1, height + 6))
    length = (width + 2 * padding) * channels
    picture = np.full(rows * length + 3, np.nan, dtype)
    copy_padded_rows(x.ravel(), 1, (height, width, channels), top, rows, padding, picture)
    bordered = reference.pad(x[1:].transpose(0, 3, 1, 2), (20, padding))[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(picture[:-3], bordered[20 + top : 20 + top + rows].ravel())
    assert np.isnan(picture[-3:]).all()
