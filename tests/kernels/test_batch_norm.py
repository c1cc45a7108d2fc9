"""The batch norm kernels are batch norm, and float32 statistics keep their digits."""

import numpy as np
import pytest
from hypothesis import given

from repvgg_np import reference
from repvgg_np.kernels import batch_norm, get_num_threads, set_num_threads
from repvgg_np.rounding import gamma
from tests import strategies


def as_rows(x):
    """(N, C, H, W) -> (N*H*W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, x.shape[1])


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
    threads = get_num_threads()
    results = []
    try:
        for count in (1, threads):
            set_num_threads(count)
            mean, var = batch_norm.batch_statistics(rows)
            gradients = batch_norm.parameter_gradients(rows, rows, mean, np.sqrt(var))
            results.append([array.tobytes() for array in (mean, var, *gradients)])
    finally:
        set_num_threads(threads)
    assert results[0] == results[1]
