"""The yardsticks do the work that they are timed for."""

import numpy as np
import pytest

from repvgg_np.kernels.gemm import pack_panels
from repvgg_np.kernels.peak import CHAINS, copy, multiply_add, multiply_again_and_again
from repvgg_np.kernels.simd import VECTOR_BYTES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_chain_of_every_thread_adds_up_all_its_products(dtype, threads):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    source, steps = np.arange(1, lanes + 1, dtype=dtype), 5
    out = np.full((threads, lanes), np.nan, dtype)
    operations = multiply_add(source, dtype(3), steps, out)
    np.testing.assert_array_equal(out, np.broadcast_to(CHAINS * (1 + 3 * steps) * source, out.shape))
    assert operations == 2 * CHAINS * steps * lanes * threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_copy_copies_every_number(threads):
    source, out = np.arange(1, 12, dtype=np.float32), np.zeros(11, np.float32)
    assert copy(source, out, threads) == 88
    np.testing.assert_array_equal(out, source)


@pytest.mark.parametrize("times", [1, 3])
def test_multiplying_again_and_again_is_the_product(times, rng):
    lanes, rows, depth = VECTOR_BYTES // 4, 7, 5
    columns = 2 * lanes
    a, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((rows, depth), (depth, columns)))
    out = np.full((rows, columns), np.nan, np.float32)
    bias = np.zeros(2 * columns, np.float32)
    multiply_again_and_again(a.ravel(), rows, depth, pack_panels(b), columns, bias, out.reshape(-1), times)
    np.testing.assert_array_equal(out, a @ b)
