import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.data import mean_and_std, normalise
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.reference import conv2d
from repvgg_np.training import whiten_first_layer
from repvgg_np.training.whitening import patch_covariance, whitening_kernels

from .small import small_set

seeds = st.integers(0, 2**32 - 1)


@given(st.integers(1, 3), st.integers(1, 2), st.integers(3, 6), st.integers(3, 6), seeds)
def test_the_covariance_of_patches_is_numpys(n, channels, height, width, seed):
    x = np.random.default_rng(seed).standard_normal((n, channels, height, width))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))  # (N, C, H - 2, W - 2, 3, 3)
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 9 * channels)
    expected = np.cov(patches, rowvar=False, bias=True)
    # Two ways to add up at most 100 products, of numbers below 8 with their means taken off.
    np.testing.assert_allclose(patch_covariance(x), expected, rtol=0, atol=100 * 100 * 16 * 2.0**-53)


@pytest.fixture(scope="module")
def correlated():
    """Pictures in which neighbours and colours are alike, as in photographs: noise, smoothed and mixed."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3, 18, 18))
    x = x[:, :, :-2, :-2] + x[:, :, 1:-1, 1:-1] + x[:, :, 2:, 2:]
    return np.einsum("ij,njhw->nihw", rng.uniform(0.2, 1, (3, 3)), x)


def test_responses_of_whitening_kernels_are_uncorrelated(correlated):
    covariance = patch_covariance(correlated)
    kernels = whitening_kernels(covariance, 54)[::2]  # 27 without their negatives
    responses = conv2d(correlated, kernels, padding=(0, 0)).transpose(1, 0, 2, 3).reshape(27, -1)
    found = np.cov(responses, bias=True)
    scale = np.abs(covariance).sum()  # of what is added up; 27^2 terms, and as many in the eigenvectors
    off_diagonal = found - np.diag(found.diagonal())
    assert np.abs(off_diagonal).max() <= 27 * 27 * 4 * 2.0**-53 * scale
    assert (np.diff(found.diagonal()) <= 27 * 27 * 4 * 2.0**-53 * scale).all()  # those that tell most come first


def test_every_kernel_is_followed_by_its_negative_and_has_length_1(correlated):
    kernels = whitening_kernels(patch_covariance(correlated), 54)
    assert kernels.shape == (54, 3, 3, 3)
    assert np.array_equal(kernels[::2], -kernels[1::2])
    np.testing.assert_allclose((kernels**2).sum(axis=(1, 2, 3)), 1, rtol=27 * 2.0**-50)
    assert whitening_kernels(patch_covariance(correlated), 5).shape == (5, 3, 3, 3)


def model_of_width(width, seed=0):
    return RepVGG(RepVGGConfig((1, 1), (width, 4), (4, 4), {}, 32, 3), rng=np.random.default_rng(seed))


@pytest.mark.parametrize("width", [8, 60])
def test_the_first_layer_gets_as_many_as_it_has_channels_and_keeps_its_lengths(width):
    dataset, model = small_set(12, 0), model_of_width(width)
    mean, std = mean_and_std(dataset)
    before = model.state_dict()
    whiten_first_layer(model, dataset, mean, std)
    name = "stage0.rbr_dense.conv.weight"
    expected = whitening_kernels(patch_covariance(normalise(dataset.images, mean, std)), width)
    found, drawn = model.state_dict()[name], before[name]
    lengths = [np.sqrt((kernels.astype(np.float64) ** 2).sum(axis=(1, 2, 3))) for kernels in (found, drawn)]
    np.testing.assert_allclose(*lengths, rtol=27 * 2.0**-23)
    directions = found[:54] / lengths[0][:54, None, None, None]
    np.testing.assert_allclose(directions, expected, rtol=0, atol=4 * 2.0**-23)
    assert np.array_equal(found[54:], drawn[54:])
    others = {n: a.tobytes() for n, a in model.state_dict().items() if n != name}
    assert others == {n: a.tobytes() for n, a in before.items() if n != name}


def test_a_network_that_begins_with_something_else_is_refused():
    from repvgg_np.models import create_model

    dataset = small_set(4, 0)
    for model in (create_model("ShuffleNetV1-g3", 3), create_model("RepVGG-tiny", 3, variant="dbb")):
        with pytest.raises(ValueError, match="whiten is for networks that begin with a RepVGG block"):
            whiten_first_layer(model, dataset, *mean_and_std(dataset))
