"""The batch norm kernels, and the layer made of them, are batch norm; float32 statistics keep their digits."""

import numpy as np
import pytest
from hypothesis import given

from repvgg_np import reference
from repvgg_np.kernels import batch_norm
from repvgg_np.layers import BatchNorm2d
from repvgg_np.rounding import gamma
from tests import strategies
from tests.threads import each_thread_count


def as_rows(x):
    """(N, C, H, W) -> (N*H*W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, x.shape[1])


# A chunk is 256 rows: one row, a chunk less or more one row, two chunks, two and a part.
ROWS = [1, 2, 255, 256, 257, 511, 512, 513, 700]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", ROWS)
def test_chunks_of_any_number_of_rows_make_up_the_whole(rows, dtype, rng):
    # Small integers: sums are exact, all but that of the squares around a mean. The means of the chunks differ a lot.
    x = (rng.integers(-4, 5, (rows, 3)) + np.arange(rows)[:, None] // 100 * np.array([8, -16, 0])).astype(dtype)
    grad_out = (rng.integers(-4, 5, (rows, 3)) - np.arange(rows)[:, None] // 50).astype(dtype)
    exact, exact_grad = x.astype(np.float64), grad_out.astype(np.float64)
    roundings = (min(rows, batch_norm.CHUNK_ROWS) + 20) * float(np.finfo(dtype).eps)
    tolerance = {"rtol": roundings, "atol": roundings}
    mean, var = batch_norm.batch_statistics(x)
    assert mean.dtype == var.dtype == dtype
    np.testing.assert_allclose(mean, exact.sum(axis=0) / rows, **tolerance)
    np.testing.assert_allclose(var, exact.var(axis=0), **tolerance)

    scale, shift = np.array([2, -1, 3], dtype), np.array([5, 0, -7], dtype)
    out = np.full_like(x, np.nan)
    batch_norm.scale_and_shift(x, scale, shift, out)
    np.testing.assert_array_equal(out, x * scale + shift)

    centre, std, gamma_ = np.array([1, -3, 2], dtype), np.array([4, 0.5, 2], dtype), np.array([3, -1, 0.25], dtype)
    grad_gamma, grad_beta = batch_norm.parameter_gradients(grad_out, x, centre, std)
    assert grad_gamma.dtype == grad_beta.dtype == np.float64
    xhat = (exact - centre) / std
    np.testing.assert_array_equal(grad_beta, exact_grad.sum(axis=0))
    np.testing.assert_array_equal(grad_gamma, (exact_grad * xhat).sum(axis=0))
    grad_x = batch_norm.input_gradient(grad_out, x, gamma_, centre, std, grad_gamma, grad_beta)
    assert grad_x.dtype == dtype
    terms = (exact_grad, -grad_beta / rows + 0 * xhat, -xhat * grad_gamma / rows)
    magnitude = np.abs(gamma_ / std) * (sum(map(np.abs, terms)) + np.abs(centre / std * grad_gamma / rows))
    assert (np.abs(grad_x - gamma_ / std * sum(terms)) <= 8 * np.finfo(dtype).eps * magnitude).all()


class CountsWrites:
    """An array that only counts how often each of its numbers is written."""

    def __init__(self, shape):
        self.writes = np.zeros(shape, int)

    def __setitem__(self, index, value):
        self.writes[index] += 1


@pytest.mark.parametrize("rows", ROWS)
def test_no_two_threads_write_the_same_row(rows):
    x, one = np.ones((rows, 1)), np.ones(1)
    for kernel, arguments in (
        (batch_norm.scale_and_shift, (x, one, one)),
        (batch_norm._grad_input, (x, x, *[one] * 3)),
    ):
        out = CountsWrites(x.shape)
        getattr(kernel, "py_func", kernel)(*arguments, out)
        assert (out.writes == 1).all()


@given(strategies.activations(), strategies.dtypes)
def test_statistics_are_those_of_the_definition_within_their_rounding_bound(x, dtype):
    x = x.astype(dtype)
    mean, var = batch_norm.batch_statistics(as_rows(x))
    exact_mean, exact_var = reference.batch_statistics(x.astype(np.float64))
    assert mean.dtype == var.dtype == dtype
    # A chunk's mean: at most CHUNK_ROWS additions and a division; then one rounding to the dtype.
    n = min(batch_norm.CHUNK_ROWS, as_rows(x).shape[0]) + 3
    magnitude = np.abs(x.astype(np.float64)).mean(axis=(0, 2, 3))
    assert (np.abs(mean - exact_mean) <= (gamma(n, dtype) + 1e-12) * magnitude).all()
    # Deviations are off by the chunk mean's error e and a rounding; squares and their sum add n more roundings.
    off = gamma(n, dtype) * (magnitude + np.sqrt(exact_var))
    bound = gamma(n + 4, dtype) * exact_var + 2 * off * np.sqrt(exact_var) + 2 * off**2
    assert (np.abs(var - exact_var) <= bound + 1e-12 * (magnitude**2 + exact_var)).all()


def test_a_large_mean_does_not_eat_the_variance():
    # E[x^2] - E[x]^2 in float32 would be off by some thousands here.
    rows = np.random.default_rng(0).normal(1e4, 1, (50_000, 3)).astype(np.float32)
    _, var = batch_norm.batch_statistics(rows)
    np.testing.assert_allclose(var, rows.astype(np.float64).var(axis=0), rtol=1e-3)


@given(strategies.activations(least_pixels=2), strategies.seeds)
def test_forward_and_backward_are_those_of_the_definition(x, seed):
    rng = np.random.default_rng(seed)
    channels = x.shape[1]
    gamma_, beta, grad_out = rng.normal(size=channels), rng.normal(size=channels), rng.normal(size=x.shape)
    rows, grad_rows = as_rows(x), as_rows(grad_out)
    mean, var = batch_norm.batch_statistics(rows)
    std = np.sqrt(var + 1e-5)
    out = np.empty_like(rows)
    batch_norm.scale_and_shift(rows, gamma_ / std, beta - mean * gamma_ / std, out)
    expected = as_rows(reference.batch_norm(x, gamma_, beta, *reference.batch_statistics(x), 1e-5))
    # Cancellation in x - mean: relative to |x| / std, of which there are a few thousand roundings' worth at most.
    noise = 1e-12 * (1 + (np.abs(rows).max() + 1) / std.min())
    np.testing.assert_allclose(out, expected, rtol=0, atol=noise * (1 + np.abs(gamma_).max()))
    grad_gamma, grad_beta = batch_norm.parameter_gradients(grad_rows, rows, mean, std)
    grad_x = batch_norm.input_gradient(grad_rows, rows, gamma_, mean, std, grad_gamma, grad_beta)
    exact_x, exact_gamma, exact_beta = reference.batch_norm_backward(grad_out, x, gamma_, 1e-5)
    np.testing.assert_allclose(grad_beta, exact_beta, rtol=0, atol=1e-12 * np.abs(grad_rows).sum())
    np.testing.assert_allclose(grad_gamma, exact_gamma, rtol=0, atol=noise * np.abs(grad_rows).sum())
    scale = np.abs(gamma_ / std).max() * (1 + np.abs(grad_rows).max())
    np.testing.assert_allclose(grad_x, as_rows(exact_x), rtol=0, atol=noise * scale * (1 + np.abs(grad_gamma).max()))


@pytest.mark.slow_without_jit
def test_the_number_of_threads_does_not_change_a_bit(rng):
    rows = rng.normal(size=(10_000, 24)).astype(np.float32)
    results = []
    for _ in each_thread_count():
        mean, var = batch_norm.batch_statistics(rows)
        gradients = batch_norm.parameter_gradients(rows, rows, mean, np.sqrt(var))
        results.append([array.tobytes() for array in (mean, var, *gradients)])
    assert results[0] == results[1]


def test_running_statistics_are_the_blend_of_all_batches_so_far(rng):
    layer = BatchNorm2d(2, momentum=0.25, dtype=np.float64)
    mean, var = np.zeros(2), np.ones(2)
    for count in (1, 2, 3):
        x = rng.normal([[[3]], [[-5]]], [[[2]], [[4]]], (3, 2, 1, 2))
        layer(x)
        mean = 0.75 * mean + 0.25 * x.mean(axis=(0, 2, 3))
        var = 0.75 * var + 0.25 * x.var(axis=(0, 2, 3), ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-14)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-14)
        assert layer.num_batches_tracked == count


def test_a_frozen_layer_normalises_with_its_running_statistics_and_leaves_them():
    layer = BatchNorm2d(1, dtype=np.float64)
    layer.running_mean[...], layer.running_var[...], layer.frozen = 2, 4, True
    np.testing.assert_allclose(layer(np.array([[[[2.0, 6.0]]]])), [[[[0, 2]]]], rtol=1e-5)
    assert (layer.running_mean, layer.running_var, layer.num_batches_tracked) == (2, 4, 0)
    layer(np.ones((1, 1, 1, 1)))  # one pixel is enough: no statistics are taken


def test_a_fresh_layer_is_that_of_the_paper_with_eps_1e_5_and_a_momentum_of_a_tenth():
    layer = BatchNorm2d(3)
    assert (layer.eps, layer.momentum, layer.frozen) == (1e-5, 0.1, False)
    assert [array.tolist() for array in layer.state_dict().values()] == [[1] * 3, [0] * 3, [0] * 3, [1] * 3, 0]
    layer.running_var[...] = 0
    x = np.full((1, 3, 1, 1), 2, np.float32)
    np.testing.assert_allclose(layer.eval()(x), x / np.sqrt(1e-5), rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_layer_refuses_fewer_channels_and_more(channels):
    with pytest.raises(ValueError, match=f"x must have 2 channels, got {channels}"):
        BatchNorm2d(2)(np.zeros((2, channels, 2, 2), np.float32))


def test_a_layer_may_have_more_channels_than_there_are_small_integers():
    out = BatchNorm2d(300).eval()(np.zeros((1, 300, 1, 1), np.float32))
    assert out.shape == (1, 300, 1, 1) and not out.any()
