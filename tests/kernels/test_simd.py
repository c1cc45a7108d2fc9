"""The vector register and its NumPy twin do the same."""

import numpy as np
import pytest
from numba import njit

from repvgg_np.kernels import simd

DTYPES = [np.float32, np.float64]


@njit
def compiled(a, b, c, scalar, out):
    lanes = simd.VECTOR_BYTES // a.itemsize
    u, v, w = simd.load(a, 1), simd.load(b, 0), simd.load(c, 2)
    simd.store(out, 0, simd.fma(u, scalar, v))
    simd.store(out, lanes, simd.add(u, w))
    simd.store(out, 2 * lanes, simd.subtract(u, w))
    simd.store(out, 3 * lanes, simd.maximum(u, w))
    simd.store(out, 4 * lanes, simd.zeros(a))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operation_works_lane_by_lane(dtype, rng):
    lanes = simd.VECTOR_BYTES // np.dtype(dtype).itemsize
    a, b, c = (rng.integers(-8, 9, lanes + 2).astype(dtype) for _ in range(3))
    out = np.full(5 * lanes, np.nan, dtype)
    compiled(a, b, c, dtype(3), out)
    u, v, w = a[1 : lanes + 1], b[:lanes], c[2 : lanes + 2]
    np.testing.assert_array_equal(out.reshape(5, lanes), [u + 3 * v, u + w, u - w, np.maximum(u, w), 0 * u])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numpy_twins_do_the_same(dtype, rng):
    lanes = simd.VECTOR_BYTES // np.dtype(dtype).itemsize
    a = rng.integers(-8, 9, lanes + 2).astype(dtype)
    v = simd._load_lanes(a, 1)
    np.testing.assert_array_equal(v, a[1 : lanes + 1])
    np.testing.assert_array_equal(simd._fma_lanes(v, dtype(2), v), 3 * v)
    np.testing.assert_array_equal(simd._zeros_lanes(a), np.zeros(lanes, dtype))
    simd._store_lanes(a, 0, v)
    np.testing.assert_array_equal(a[:lanes], v)


def test_the_numpy_twins_refuse_to_leave_their_array():
    lanes = simd.VECTOR_BYTES // 4
    a = np.zeros(lanes, np.float32)
    for place in (-1, 1):
        with pytest.raises(AssertionError):
            simd._load_lanes(a, place)
        with pytest.raises(AssertionError):
            simd._store_lanes(a, place, a)


def test_a_nan_comes_through_the_maximum_that_relu_is_made_of():
    a = np.full(simd.VECTOR_BYTES // 4 + 2, np.nan, np.float32)
    out = np.zeros(5 * simd.VECTOR_BYTES // 4, np.float32)
    compiled(a, a, np.zeros_like(a), np.float32(1), out)
    assert np.isnan(out.reshape(5, -1)[3]).all()


@pytest.mark.parametrize("value", ["48", "wide", ""])
def test_a_register_width_that_no_processor_has_is_refused(value, monkeypatch):
    monkeypatch.setenv("REPVGG_NP_VECTOR_BYTES", value)
    with pytest.raises(ValueError, match="REPVGG_NP_VECTOR_BYTES must be 16, 32 or 64, got"):
        simd._vector_bytes()


def test_the_register_width_can_be_chosen(monkeypatch):
    monkeypatch.setenv("REPVGG_NP_VECTOR_BYTES", "16")
    assert simd._vector_bytes() == 16
