"""The packed matrix product is the matrix product, and writes nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels.gemm import multiply, pack_panels, round_up, rows_of_next_tile
from repvgg_np.kernels.simd import VECTOR_BYTES
from tests import strategies

DTYPES = [np.float32, np.float64]
sizes = st.integers(1, 70)


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def padded(bias):
    """Put zeros behind a bias, up to a whole panel."""
    out = np.zeros(round_up(bias.size, 2 * VECTOR_BYTES // bias.itemsize), bias.dtype)
    out[: bias.size] = bias
    return out


def assert_product(rng, rows, depth, columns, relu, dtype):
    """Multiply matrices that lie somewhere in larger arrays; compare, and see that nothing else was written."""
    a, b, bias = (integers(rng, dtype, *shape) for shape in ((rows, depth), (depth, columns), (columns,)))
    flat, panels = np.append(np.full(3, np.nan, dtype), a), np.append(np.full(5, np.nan, dtype), pack_panels(b))
    biases = np.append(np.full(2, np.nan, dtype), padded(bias))
    out = np.full((rows + 2, columns + 3), np.nan, dtype)
    multiply(
        flat, 3, depth * np.arange(rows), rows, (1, 0, 1, 0, depth), panels, 5, columns, biases, 2, False, relu,
        out.reshape(-1), columns + 3 + 1, columns + 3,
    )  # fmt: skip
    expected = np.full_like(out, np.nan)
    product = reference.matmul(a, b) + bias
    expected[1 : rows + 1, 1 : columns + 1] = np.maximum(product, 0) if relu else product
    np.testing.assert_array_equal(out, expected)


@given(sizes, sizes, sizes, st.booleans(), strategies.dtypes, strategies.seeds)
def test_multiply_is_the_matrix_product_exactly_on_small_integers(rows, depth, columns, relu, dtype, seed):
    assert_product(np.random.default_rng(seed), rows, depth, columns, relu, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("rows", range(1, 15))
def test_any_number_of_rows_by_columns_around_the_end_of_a_register(rows, relu, dtype, rng):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    for whole in range(5):
        for columns in (whole * lanes + more for more in (-1, 0, 1)):
            if columns >= 1:
                assert_product(rng, rows, 3, columns, relu, dtype)


def test_tiles_of_six_and_four_rows_cover_any_number_with_at_most_one_row_too_many_above_four():
    for rows in range(1, 100):
        left = rows
        while left > 0:
            height = rows_of_next_tile(left)
            assert height in (4, 6)
            left -= height
        assert left >= (-1 if rows > 4 else rows - 4)


@given(sizes, st.integers(2, 20), sizes, st.integers(1, 19), st.booleans(), strategies.dtypes, strategies.seeds)
def test_a_product_taken_in_two_pieces_of_its_depth_has_the_same_bits(rows, depth, columns, cut, relu, dtype, seed):
    rng, cut = np.random.default_rng(seed), min(cut, depth - 1)
    a, b, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (depth, columns), columns))
    whole, pieces = np.full((2, rows + 1, columns + 3), np.nan, dtype)
    starts = depth * np.arange(rows)
    for first, end, accumulate, out in ((0, depth, False, whole), (0, cut, False, pieces), (cut, depth, True, pieces)):
        multiply(
            a.reshape(-1), first, starts, rows, (1, 0, 1, 0, end - first), pack_panels(b[first:end]), 0, columns,
            padded(bias), 0, accumulate, relu and end == depth, out.reshape(-1), 0, columns + 3,
        )  # fmt: skip
    np.testing.assert_array_equal(pieces, whole)


run_counts = st.integers(1, 4)


@given(run_counts, run_counts, st.integers(1, 5), st.integers(1, 14), strategies.dtypes, strategies.seeds)
def test_rows_may_lie_in_runs_and_overlap(outer, inner, length, rows, dtype, seed):
    rng = np.random.default_rng(seed)
    columns = int(rng.integers(1, 50))
    outer_step, inner_step, offset = (int(step) for step in rng.integers(0, 30, 3))
    starts = rng.integers(0, 40, rows)
    flat = integers(rng, dtype, offset + 40 + 30 * (outer + inner) + length)
    places = outer_step * np.arange(outer)[:, None, None] + inner_step * np.arange(inner)[:, None] + np.arange(length)
    a = flat[offset + starts[:, None] + places.reshape(1, -1)]
    b, bias = integers(rng, dtype, a.shape[1], columns), integers(rng, dtype, columns)
    out = np.full((rows, columns), np.nan, dtype)
    runs = (outer, outer_step, inner, inner_step, length)
    multiply(
        flat, offset, starts, rows, runs, pack_panels(b), 0, columns, padded(bias), 0, False, False, out.reshape(-1), 0,
        columns,
    )  # fmt: skip
    np.testing.assert_array_equal(out, reference.matmul(a, b) + bias)


def test_a_nan_comes_through_the_relu(rng):
    for rows in (1, 6):
        for columns in (1, 40):
            a, b = np.full((rows, 2), np.nan, np.float32), integers(rng, np.float32, 2, columns)
            out = np.zeros((rows, columns), np.float32)
            starts = 2 * np.arange(rows)
            multiply(
                a.reshape(-1), 0, starts, rows, (1, 0, 1, 0, 2), pack_panels(b), 0, columns, padded(b[0]), 0, False,
                True, out.reshape(-1), 0, columns,
            )  # fmt: skip
            assert np.isnan(out).all()


@given(sizes, sizes, strategies.dtypes)
def test_packing_keeps_every_number_once_and_adds_only_zeros(depth, columns, dtype):
    matrix = np.arange(1, depth * columns + 1, dtype=dtype).reshape(depth, columns)
    packed = pack_panels(matrix)
    assert packed.dtype == dtype and packed.size == depth * round_up(columns, VECTOR_BYTES // matrix.itemsize)
    np.testing.assert_array_equal(np.sort(packed[packed != 0]), matrix.ravel())


@given(sizes, sizes, st.integers(1, 4))
def test_a_stack_is_packed_matrix_by_matrix(depth, columns, count):
    stack = np.arange(count * depth * columns, dtype=np.float32).reshape(count, depth, columns)
    np.testing.assert_array_equal(pack_panels(stack), [pack_panels(matrix) for matrix in stack])
