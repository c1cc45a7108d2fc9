"""The packed matrix product is the matrix product."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels.gemm import multiply, pack_panels, round_up, row_with_room
from repvgg_np.kernels.simd import VECTOR_BYTES
from tests import strategies

sizes = st.integers(1, 70)


@given(sizes, sizes, sizes, st.booleans(), strategies.dtypes, strategies.seeds)
def test_multiply_is_the_matrix_product_exactly_on_small_integers(rows, depth, columns, relu, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((rows, depth), (depth, columns)))
    bias = rng.integers(-4, 5, columns).astype(dtype)
    lanes = VECTOR_BYTES // a.itemsize
    padded_bias = np.zeros(round_up(columns, 2 * lanes), dtype)
    padded_bias[:columns] = bias
    length = row_with_room(columns, columns, lanes)
    out = np.full((rows, length), np.nan, dtype)
    multiply(
        a.ravel(), 0, depth, rows, depth, pack_panels(b), 0, columns, padded_bias, 0, relu, out.reshape(-1), 0, length
    )  # fmt: skip
    expected = reference.matmul(a, b) + bias
    np.testing.assert_array_equal(out[:, :columns], np.maximum(expected, 0) if relu else expected)


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
