"""The vector register does what its NumPy twin does, lane by lane, and touches no memory but its own."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from numba import config, njit

from repvgg_np.kernels import simd

DTYPES = [np.float32, np.float64]
OPERATIONS = 12


@njit
def every_operation(a, b, c, number, out):
    lanes = simd.VECTOR_BYTES // a.itemsize
    u, v, w = simd.load(a, 1), simd.load(b, 0), simd.load(c, 2)
    simd.store(out, 0, simd.fma(u, number, v))
    simd.store(out, lanes, simd.fma(u, v, w))
    simd.store(out, 2 * lanes, simd.fma(u, -5, v))
    simd.store(out, 3 * lanes, simd.fma(u, simd.broadcast(b, 1), v))
    simd.store(out, 4 * lanes, simd.times(number, v))
    simd.store(out, 5 * lanes, simd.times(u, v))
    simd.store(out, 6 * lanes, simd.times(0.5, v))
    simd.store(out, 7 * lanes, simd.add(u, w))
    simd.store(out, 8 * lanes, simd.subtract(u, w))
    simd.store(out, 9 * lanes, simd.maximum(u, w))
    simd.store(out, 10 * lanes, simd.zeros(a))
    simd.store(out, 11 * lanes, simd.broadcast(a, lanes + 1))


def by_the_twins(a, b, c, number):
    lanes = simd.VECTOR_BYTES // a.itemsize
    u, v, w = simd._load_lanes(a, 1), simd._load_lanes(b, 0), simd._load_lanes(c, 2)
    return [
        simd._fma_lanes(u, number, v),
        simd._fma_lanes(u, v, w),
        simd._fma_lanes(u, -5, v),
        simd._fma_lanes(u, simd._broadcast_lanes(b, 1), v),
        simd._times_lanes(number, v),
        simd._times_lanes(u, v),
        simd._times_lanes(0.5, v),
        np.add(u, w),
        np.subtract(u, w),
        simd._maximum_lanes(u, w),
        simd._zeros_lanes(a),
        simd._broadcast_lanes(a, lanes + 1),
    ]


def lanes_of(dtype):
    return simd.VECTOR_BYTES // np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operation_works_lane_by_lane_and_like_its_numpy_twin(dtype, rng):
    lanes = lanes_of(dtype)
    a, b, c = (rng.integers(-8, 9, lanes + 2).astype(dtype) for _ in range(3))
    out = np.full(OPERATIONS * lanes, np.nan, dtype)
    every_operation(a, b, c, dtype(3), out)
    u, v, w = a[1 : lanes + 1], b[:lanes], c[2 : lanes + 2]
    expected = [
        u + 3 * v,
        u + v * w,
        u - 5 * v,
        u + b[1] * v,
        3 * v,
        u * v,
        v / 2,
        u + w,
        u - w,
        np.maximum(u, w),
        np.zeros(lanes),
        np.full(lanes, a[-1]),
    ]
    np.testing.assert_array_equal(out.reshape(OPERATIONS, lanes), expected)
    twins = by_the_twins(a, b, c, dtype(3))
    assert {twin.dtype for twin in twins} == {np.dtype(dtype)}
    np.testing.assert_array_equal(twins, expected)


def test_a_nan_comes_through_the_maximum_that_relu_is_made_of():
    a = np.full(lanes_of(np.float32) + 2, np.nan, np.float32)
    out = np.zeros(OPERATIONS * lanes_of(np.float32), np.float32)
    every_operation(a, a, np.zeros_like(a), np.float32(1), out)
    assert np.isnan(out.reshape(OPERATIONS, -1)[9]).all()
    assert np.isnan(by_the_twins(a, a, np.zeros_like(a), np.float32(1))[9]).all()


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the twin rounds twice")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_compiled_fma_rounds_once(dtype):
    # (1 + e)(1 - e) - 1 = -e^2, of which nothing is left once the product is rounded.
    lanes, e = lanes_of(dtype), np.finfo(dtype).eps
    a, b, c = (np.full(lanes + 2, value, dtype) for value in (-1, 1 + e, 1 - e))
    out = np.zeros(OPERATIONS * lanes, dtype)
    every_operation(a, b, c, dtype(1 - e), out)
    assert (out.reshape(OPERATIONS, -1)[:2] == -(e * e)).all()
    assert (simd._fma_lanes(a[:lanes], b[:lanes], c[:lanes]) == 0).all()


@njit
def move_part(source, i, target, j, count):
    simd.store_part(target, j, simd.load_part(source, i, count), count)


@njit
def load_part_and_store_all(source, i, target, count):
    simd.store(target, 0, simd.load_part(source, i, count))


def move_part_by_twins(source, i, target, j, count):
    simd._store_part_lanes(target, j, simd._load_part_lanes(source, i, count), count)


def load_part_and_store_all_by_twins(source, i, target, count):
    simd._store_lanes(target, 0, simd._load_part_lanes(source, i, count))


PARTS = [(move_part, load_part_and_store_all), (move_part_by_twins, load_part_and_store_all_by_twins)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("functions", PARTS, ids=["registers", "twins"])
def test_a_part_of_a_register_is_its_first_lanes_and_zeros(functions, dtype):
    move, load_and_store_all = functions
    lanes = lanes_of(dtype)
    source = np.arange(1, lanes + 4, dtype=dtype)
    for count in (-(2**31), -1, *range(lanes + 2), 2**31 - 1):
        real = max(0, min(count, lanes))
        target = np.full(lanes, np.nan, dtype)
        load_and_store_all(source, 3, target, count)
        np.testing.assert_array_equal(target, np.append(source[3 : 3 + real], np.zeros(lanes - real)))
        target = np.full(lanes + 5, np.nan, dtype)
        move(source, 3, target, 2, count)
        np.testing.assert_array_equal(target[2 : 2 + real], source[3 : 3 + real])
        assert np.isnan(target[:2]).all() and np.isnan(target[2 + real :]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the C library to forbid a page of memory")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_part_that_ends_with_the_memory_touches_nothing_behind_it(dtype):
    page = mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, 3 * page), dtype)
    before, behind = (ctypes.c_void_p(memory.ctypes.data + place) for place in (0, 2 * page))
    libc = ctypes.CDLL(None, use_errno=True)
    for forbidden in (before, behind):  # whoever reads a byte there is ended by the operating system
        assert libc.mprotect(forbidden, page, mmap.PROT_READ & 0) == 0
    numbers = page // memory.itemsize
    allowed = memory[numbers : 2 * numbers]
    for count in range(lanes_of(dtype) + 1):
        move_part(allowed, 0, allowed, numbers - count, count)
        move_part(allowed, numbers - count, allowed, 0, count)
    for forbidden in (before, behind):
        assert libc.mprotect(forbidden, page, mmap.PROT_READ | mmap.PROT_WRITE) == 0


def test_the_numpy_twins_refuse_to_leave_their_array():
    lanes = lanes_of(np.float32)
    a = np.zeros(lanes, np.float32)
    for place in (-1, 1):
        with pytest.raises(AssertionError):
            simd._load_lanes(a, place)
        with pytest.raises(AssertionError):
            simd._store_lanes(a, place, a)
        with pytest.raises(AssertionError):
            simd._load_part_lanes(a, place, lanes)
        with pytest.raises(AssertionError):
            simd._store_part_lanes(a, place, a, lanes)
    for place in (-1, lanes):
        with pytest.raises(AssertionError):
            simd._broadcast_lanes(a, place)


@pytest.mark.parametrize("value", ["48", "wide", ""])
def test_a_register_width_that_no_processor_has_is_refused(value, monkeypatch):
    monkeypatch.setenv("REPVGG_NP_VECTOR_BYTES", value)
    with pytest.raises(ValueError, match="REPVGG_NP_VECTOR_BYTES must be 16, 32 or 64, got"):
        simd._vector_bytes()


def test_the_register_width_can_be_chosen(monkeypatch):
    monkeypatch.setenv("REPVGG_NP_VECTOR_BYTES", "16")
    assert simd._vector_bytes() == 16
