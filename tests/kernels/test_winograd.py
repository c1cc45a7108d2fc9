"""The pieces of Winograd's convolution are the matrix products that the formula says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels.gemm import pack_panels
from repvgg_np.kernels.winograd import transform_kernel
from repvgg_np.rounding import gamma
from tests import strategies


@given(st.sampled_from([1, 2, 3]), st.integers(1, 9), st.integers(1, 40), strategies.dtypes, strategies.seeds)
def test_the_transformed_kernel_is_g_times_the_kernel_times_g_transposed_in_packed_order(
    groups, depth, columns, dtype, seed
):
    weight = np.random.default_rng(seed).normal(size=(groups * columns, depth, 3, 3)).astype(dtype)
    g = reference.WINOGRAD_G_TIMES_24 / 24
    u = np.einsum("ik,ockl,jl->ijco", g, weight.astype(np.float64), g)
    magnitude = np.einsum("ik,ockl,jl->ijco", np.abs(g), np.abs(weight.astype(np.float64)), np.abs(g))

    def packed(array):
        split = array.reshape(36, depth, groups, columns).transpose(0, 2, 1, 3)
        return pack_panels(split.astype(dtype))

    ours = transform_kernel(weight, groups)
    assert ours.dtype == dtype and ours.shape == packed(u).shape
    bound = gamma(2, dtype) * np.abs(packed(u)) + 2 * gamma(13, np.float64) * packed(magnitude)
    assert (np.abs(ours.astype(np.float64) - packed(u)) <= bound).all()
