"""The product of two matrices in memory is the matrix product, in any order of memory and for any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels.matrix_product import BLOCK, matrix_product
from tests import strategies
from tests.threads import each_thread_count

sizes = st.integers(1, 30)
orders = st.sampled_from([np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]])


@given(st.integers(1, 3 * BLOCK), sizes, sizes, orders, orders, strategies.dtypes, strategies.seeds)
def test_it_is_the_matrix_product_exactly_on_small_integers(rows, depth, columns, first, second, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((rows, depth), (depth, columns)))
    product = matrix_product(first(a), second(b))
    assert product.dtype == dtype and product.flags.c_contiguous
    np.testing.assert_array_equal(product, reference.matmul(a, b))


@pytest.mark.slow_without_jit
def test_any_number_of_threads_gives_the_same_bits(rng):
    a, b = rng.standard_normal((5 * BLOCK + 7, 50)), rng.standard_normal((50, 70))
    assert len({matrix_product(a, b).tobytes() for _ in each_thread_count()}) == 1
