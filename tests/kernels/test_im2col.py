"""However a convolution by patches is cut into bands, parts and shares, every output has the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels import conv2d, im2col
from repvgg_np.kernels.gemm import pack_panels, round_up
from repvgg_np.kernels.simd import VECTOR_BYTES
from tests import strategies


def convolve(case, workers, band_bytes):
    """Convolve by patches as on a machine with that many threads, whose bands are that small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(im2col, "get_num_threads", lambda: workers)
        patch.setattr(im2col, "BAND_BYTES", band_bytes)
        return conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm="im2col")


@given(strategies.convolutions(), strategies.dtypes, st.integers(2, 5), st.sampled_from([1, 300, 3000]))
def test_bands_and_threads_change_no_bit(case, dtype, workers, band_bytes):
    case = case.astype(dtype)
    whole = convolve(case, 1, 2**30)
    assert convolve(case, workers, 2**30).tobytes() == whole.tobytes()
    assert convolve(case, 1, band_bytes).tobytes() == whole.tobytes()
    assert convolve(case, workers, band_bytes).tobytes() == whole.tobytes()


@pytest.mark.parametrize("columns", [64, 65, 96, 97, 128, 160])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (1, 3), (2, 2)])
def test_threads_that_share_the_output_channels_change_no_bit(columns, groups, shape, rng):
    x = rng.normal(size=(1, 3 * groups, 3, 4)).astype(np.float32)
    weight = rng.normal(size=(groups * columns, 3, *shape)).astype(np.float32)
    bias = rng.normal(size=groups * columns).astype(np.float32)
    case = strategies.Convolution(x, weight, bias, bias, (1, 1), (0, 1), groups)
    whole = convolve(case, 1, 2**30)
    for workers in (2, 3, 4, 5):
        assert convolve(case, workers, 2**30).tobytes() == whole.tobytes()


def test_parts_of_the_channels_are_whole_panels_and_cover_all():
    for lanes in (2, 4, 8, 16):
        for columns in range(1, 200):
            assert im2col.part_width(columns, 1, lanes) == columns
            for parts in range(2, 6):
                width = im2col.part_width(columns, parts, lanes)
                assert width % (2 * lanes) == 0 and width * parts >= columns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bias_is_laid_out_group_by_group_with_zeros_behind(dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    bias = np.arange(1, 7, dtype=dtype)
    padded = im2col.pad_bias(bias, 6, 2, dtype)
    assert padded.dtype == dtype and padded.shape == (2, round_up(3, 2 * lanes))
    np.testing.assert_array_equal(padded[:, :3], bias.reshape(2, 3))
    assert not padded[:, 3:].any() and not im2col.pad_bias(None, 6, 2, dtype).any()


@given(strategies.convolutions(depthwise=False), strategies.dtypes)
def test_a_packed_kernel_is_its_matrices_in_panels(case, dtype):
    weight, groups = case.weight.astype(dtype), case.groups
    c_out, depth_in, k_h, k_w = weight.shape
    split = weight.reshape(groups, c_out // groups, depth_in, k_h, k_w)
    matrices = split.transpose(0, 3, 4, 2, 1).reshape(groups, -1, c_out // groups)
    np.testing.assert_array_equal(im2col.pack_kernel(weight, groups), pack_panels(matrices))


@given(strategies.convolutions(depthwise=False), strategies.dtypes)
def test_a_turned_kernel_has_its_taps_backwards_and_its_channels_exchanged(case, dtype):
    weight, groups = case.weight.astype(dtype), case.groups
    c_out, depth_in, k_h, k_w = weight.shape
    split = weight[..., ::-1, ::-1].reshape(groups, c_out // groups, depth_in, k_h, k_w)
    turned = split.swapaxes(1, 2).reshape(groups * depth_in, c_out // groups, k_h, k_w)
    packed = im2col.pack_kernel(weight, groups, turned=True)
    np.testing.assert_array_equal(packed, im2col.pack_kernel(turned, groups))
