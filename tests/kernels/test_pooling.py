"""Pooling is its definition: the largest number exactly, the average within its rounding bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference_networks
from repvgg_np.kernels import pooling
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.rounding import gamma
from tests import strategies


def out_size(case, ceil_mode):
    axes = zip(case.x.shape[2:], *case.geometry, strict=True)
    return tuple(pooling.max_pool_size(*axis, ceil_mode) for axis in axes)


def pooled(case, x, size):
    out = np.empty((len(x), *size, x.shape[1]), x.dtype)
    pooling.max_pool(channels_last(x), *case.geometry, out)
    return out


@given(strategies.poolings(), st.booleans(), strategies.dtypes)
def test_max_pooling_is_the_definition(case, ceil_mode, dtype):
    x, size = case.x.astype(dtype), out_size(case, ceil_mode)
    np.testing.assert_array_equal(
        channels_first(pooled(case, x, size)), reference_networks.max_pool(x, *case.geometry, size)
    )


@given(strategies.poolings(), st.booleans(), strategies.seeds)
def test_the_first_of_several_largest_numbers_gets_the_gradient(case, ceil_mode, seed):
    out = pooled(case, case.x, out_size(case, ceil_mode))
    grad_out = np.random.default_rng(seed).integers(-4, 5, out.shape).astype(np.float64)
    grad_x = np.empty(channels_last(case.x).shape)
    pooling.max_pool_backward(grad_out, channels_last(case.x), out, *case.geometry, grad_x)
    expected = reference_networks.max_pool_backward(channels_first(grad_out), case.x, *case.geometry)
    np.testing.assert_array_equal(channels_first(grad_x), expected)


def test_a_window_with_a_nan_is_a_nan_and_passes_no_gradient():
    x = np.array([[[[1.0, np.nan, 3.0, 4.0]]]])
    out = np.empty((1, 1, 2, 1))
    pooling.max_pool(channels_last(x), (1, 2), (1, 2), (0, 0), out)
    np.testing.assert_array_equal(out.ravel(), [np.nan, 4])
    grad_x = np.empty((1, 1, 4, 1))
    pooling.max_pool_backward(np.ones((1, 1, 2, 1)), channels_last(x), out, (1, 2), (1, 2), (0, 0), grad_x)
    np.testing.assert_array_equal(grad_x.ravel(), [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("axis", "floor", "ceiling"),
    [
        ((5, 2, 2, 0), 2, 3),  # the third window holds the last pixel alone
        ((4, 2, 2, 0), 2, 2),
        ((112, 3, 2, 0), 55, 56),
        ((1, 2, 2, 1), 1, 1),  # a second window would begin in the padding on the right: it is left out
    ],
)
def test_in_ceil_mode_a_last_window_may_hang_over_but_must_begin_inside(axis, floor, ceiling):
    assert (pooling.max_pool_size(*axis, False), pooling.max_pool_size(*axis, True)) == (floor, ceiling)


def windows_of(case):
    return [pooling.fixed_windows(*axis) for axis in zip(case.x.shape[2:], *case.geometry, strict=True)]


def assert_averages(x, rows, columns, dtype, seed):
    """Compare with the definition: sums of as many terms as a window has pixels, and a division."""
    x = x.astype(dtype)
    out = np.empty((len(x), len(rows), len(columns), x.shape[1]), dtype)
    pooling.average_windows(channels_last(x), rows, columns, out)
    exact, scale = (reference_networks.average_windows(a.astype(np.float64), rows, columns) for a in (x, np.abs(x)))
    area = int(rows[:, 2].max() * columns[:, 2].max())
    assert (np.abs(channels_first(out) - exact) <= 2 * gamma(area + 1, dtype) * scale).all()
    grad_out = np.random.default_rng(seed).normal(size=out.shape).astype(dtype)
    grad_x = np.empty(channels_last(x).shape, dtype)
    pooling.average_windows_backward(grad_out, rows, columns, grad_x)
    exact, scale = (
        reference_networks.average_windows_backward(channels_first(a.astype(np.float64)), rows, columns, x.shape)
        for a in (grad_out, np.abs(grad_out))
    )
    assert (np.abs(channels_first(grad_x) - exact) <= 2 * gamma(out[0, :, :, 0].size + 1, dtype) * scale).all()


@given(strategies.poolings(), strategies.dtypes, strategies.seeds)
def test_average_pooling_is_the_definition_within_its_rounding_bound(case, dtype, seed):
    assert_averages(case.x, *windows_of(case), dtype, seed)


@given(strategies.poolings(), st.integers(1, 5), st.integers(1, 5), strategies.dtypes, strategies.seeds)
def test_adaptive_pooling_is_the_definition_within_its_rounding_bound(case, height, width, dtype, seed):
    sizes = zip(case.x.shape[2:], (height, width), strict=True)
    assert_averages(case.x, *(pooling.adaptive_windows(*axis) for axis in sizes), dtype, seed)


def test_the_windows_of_an_average_done_with_a_pencil():
    np.testing.assert_array_equal(pooling.fixed_windows(4, 3, 2, 1), [[0, 2, 3], [1, 4, 3]])
    np.testing.assert_array_equal(pooling.adaptive_windows(4, 3), [[0, 2, 2], [1, 3, 2], [2, 4, 2]])
    np.testing.assert_array_equal(pooling.adaptive_windows(2, 4), [[0, 1, 1], [0, 1, 1], [1, 2, 1], [1, 2, 1]])
    np.testing.assert_array_equal(pooling.adaptive_windows(7, 7)[:, :2], [[i, i + 1] for i in range(7)])
