"""What a training block does number by number is batch norm, addition and ReLU, within rounding bounds.

The bounds, for M pixels of which a chunk has R, with u the unit roundoff of the dtype and gamma_n as in `rounding.py`:

    mean      a chunk's is off by gamma_(R+2) of the mean of |y| over the chunk: R additions and a division. Over all
              chunks that is at most d = gamma_(R+2) sqrt(mean of y^2), by the inequality of Cauchy and Schwarz
    variance  squares are off by gamma_(R+4); and a chunk's squares are taken around a mean that is off by d, and the
              chunks' means differ by as much more: (var + 2 d^2) gamma_(R+4) + 2 d sqrt(var) + 2 d^2
    out       a dozen roundings of each term a y, a mean, beta; and what mean and variance make of the line
    backward  R + 4 roundings of each term of a sum (the mean was rounded: another |mean|); a dozen of each of g, b y, c

What is computed in float64 is counted with them: `gamma64` covers the sums over chunks and the places of a period.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels import branches
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.rounding import gamma
from tests import strategies
from tests.threads import each_thread_count

EPS = np.array([1e-5, 1e-3, 1e-2])
channel_counts = st.sampled_from([1, 2, 5, 12, 16, 17, 48])


def gamma64(chunks):
    """The roundings in float64: over the chunks, over the at most sixteen places of a channel, and two dozen more."""
    return gamma(17 * chunks + 24, np.float64)


def pixels_of(channels, dtype):
    """Return how many pixels a chunk has."""
    return branches.layout(channels, np.dtype(dtype).itemsize)[1] // channels


class Case:
    """Branches, as matrices of pixels and channels, with what normalises them; and the exact results in float64."""

    def __init__(self, rng, count, pixels, channels, dtype, mean=0.0, deviation=1.0):
        self.dtype, self.pixels, self.channels = np.dtype(dtype), pixels, channels
        shape = (count, pixels, channels)
        self.ys = (mean + deviation * rng.normal(size=shape)).astype(dtype)
        self.gammas, self.betas = rng.normal(size=(count, channels)), rng.normal(size=(count, channels))
        self.eps = EPS[:count]
        self.grad_out = rng.normal(size=(pixels, channels)).astype(dtype)
        self.chunk = pixels_of(channels, dtype)
        self.chunks = -(-pixels // self.chunk)
        wide = self.ys.astype(np.longdouble)
        self.means = wide.mean(axis=1)
        self.variances = ((wide - self.means[:, None]) ** 2).mean(axis=1)

    def flat(self):
        return [y.reshape(-1) for y in self.ys]

    def normalise(self):
        return branches.normalise(self.flat(), self.gammas, self.betas, self.eps)

    def statistics_bounds(self):
        longest = min(self.chunk, self.pixels)
        root = np.sqrt((self.ys.astype(np.longdouble) ** 2).mean(axis=1))
        mean = (gamma(longest + 2, self.dtype) + gamma64(self.chunks)) * root
        squares = gamma(longest + 4, self.dtype) + gamma64(self.chunks)
        variance = squares * (self.variances + 2 * mean**2) + 2 * mean * np.sqrt(self.variances) + 2 * mean**2
        return mean, variance

    def out_and_bound(self):
        mean_bound, variance_bound = self.statistics_bounds()
        ys, means = self.ys.astype(np.longdouble), self.means[:, None]
        v = (self.variances + self.eps[:, None])[:, None]
        scale = self.gammas[:, None] / np.sqrt(v)
        out = np.maximum((scale * (ys - means) + self.betas[:, None]).sum(axis=0), 0)
        left = v - variance_bound[:, None]
        assert (left > 0).all(), "the bound needs a variance, or an eps, that is larger than what is lost of it"
        wrong_scale = np.sqrt(v / left) - 1
        size = np.abs(scale) * (1 + wrong_scale)
        bound = np.abs(scale) * wrong_scale * np.abs(ys - means) + size * mean_bound[:, None]
        terms = size * (np.abs(ys) + np.abs(means) + mean_bound[:, None]) + np.abs(self.betas[:, None])
        return out, (bound + gamma(12, self.dtype) * terms).sum(axis=0)


@given(channel_counts, st.integers(2, 3), strategies.dtypes, st.integers(-1, 40), st.integers(0, 2), strategies.seeds)
def test_statistics_and_output_lie_within_their_bounds(channels, count, dtype, more, chunks, seed):
    rng = np.random.default_rng(seed)
    pixels = max(2, chunks * pixels_of(channels, dtype) + more)
    mean, deviation = rng.choice([0.0, 3.0, -100.0]), rng.choice([1.0, 0.1])
    case = Case(rng, count, pixels, channels, dtype, mean, deviation)
    out, means, variances = case.normalise()
    mean_bound, variance_bound = case.statistics_bounds()
    exact, bound = case.out_and_bound()
    assert out.dtype == dtype and means.dtype == variances.dtype == np.float64
    assert (np.abs(means - case.means) <= mean_bound).all()
    assert (np.abs(variances - case.variances) <= variance_bound).all()
    assert (np.abs(out.reshape(exact.shape) - exact) <= bound).all()


@pytest.mark.parametrize("channels", [1, 5, 16, 48])
def test_a_large_mean_does_not_eat_the_variance(channels, rng):
    # E[y^2] - E[y]^2 in float32 would be off by some thousands here.
    case = Case(rng, 3, 3 * pixels_of(channels, np.float32) + 1, channels, np.float32, 1e4, 1)
    _, _, variances = case.normalise()
    np.testing.assert_allclose(variances, case.variances.astype(float), rtol=1e-3)


@given(channel_counts, st.integers(2, 3), strategies.dtypes, st.integers(-1, 40), st.integers(0, 2), strategies.seeds)
def test_the_gradients_lie_within_their_bounds(channels, count, dtype, more, chunks, seed):
    rng = np.random.default_rng(seed)
    pixels = max(2, chunks * pixels_of(channels, dtype) + more)
    case = Case(rng, count, pixels, channels, dtype, rng.choice([0.0, 3.0, -100.0]))
    out = rng.normal(size=case.grad_out.shape).astype(dtype)
    out[rng.random(out.shape) < 0.1] = 0
    means, stds = case.means.astype(float), np.sqrt(case.variances + case.eps[:, None]).astype(float)
    grads, grad_gammas, grad_beta = branches.backward(
        case.grad_out.reshape(-1), out.reshape(-1), case.flat(), case.gammas, means, stds
    )
    g = np.where(out > 0, case.grad_out, 0).astype(np.longdouble)
    roundings = gamma(min(case.chunk, pixels) + 4, dtype) + gamma64(case.chunks)
    beta_bound = roundings * np.abs(g).sum(axis=0)
    assert grad_beta.dtype == grad_gammas.dtype == np.float64
    assert (np.abs(grad_beta - g.sum(axis=0)) <= beta_bound).all()
    for y, slope, mean, std, grad, grad_gamma in zip(
        case.ys.astype(np.longdouble), case.gammas, means, stds, grads, grad_gammas, strict=True
    ):
        slope = slope / std
        yhat = (y - mean) / std
        exact = (g * yhat).sum(axis=0)
        of_mean = 2 * gamma(1, dtype) * np.abs(mean) * np.abs(g).sum(axis=0) / std
        gamma_bound = roundings * (np.abs(g * yhat).sum(axis=0) + of_mean) + of_mean
        assert (np.abs(grad_gamma - exact) <= gamma_bound).all()
        curve, constant = slope * exact / pixels / std, slope * g.sum(axis=0) / pixels
        bound = np.abs(slope) * (beta_bound + np.abs(yhat) * gamma_bound) / pixels
        terms = np.abs(slope * g) + np.abs(curve) * (np.abs(y) + np.abs(mean)) + np.abs(constant)
        terms = terms + np.abs(slope) * (beta_bound + (np.abs(y) + np.abs(mean)) * gamma_bound / std) / pixels
        assert grad.dtype == dtype
        exact = slope * g - constant - curve * (y - mean)
        assert (np.abs(grad.reshape(y.shape) - exact) <= bound + gamma(12, dtype) * terms).all()


@given(st.integers(0, 3), st.integers(0, 70), st.booleans(), strategies.dtypes, strategies.seeds)
def test_one_or_two_arrays_are_added_in_place(stretches, more, two, dtype, seed):
    rng = np.random.default_rng(seed)
    total, *others = rng.normal(size=(2 + two, stretches * 64 * 1024 + more)).astype(dtype)
    expected = total + others[0] if not two else total + others[0] + others[1]
    branches.add_to(total, others)
    np.testing.assert_array_equal(total, expected)


def test_the_period_is_the_shortest_that_is_whole_registers_and_a_chunk_is_whole_periods():
    for channels in range(1, 100):
        for itemsize in (4, 8):
            lanes = VECTOR_BYTES // itemsize
            period, chunk = branches.layout(channels, itemsize)
            assert period == next(n for n in range(channels, 10**6, channels) if n % lanes == 0)
            assert chunk % period == 0 and 0 <= chunk - branches.CHUNK_ROWS * channels < period


@pytest.mark.parametrize("channels", [1, 5, 16])
@pytest.mark.parametrize("branch", [0, 1, 2])
def test_a_nan_reaches_its_channel_and_no_other(channels, branch, rng):
    case = Case(rng, 3, 2 * pixels_of(channels, np.float32) + 1, channels, np.float32)
    case.ys[branch, -1, channels // 2] = np.nan
    out, means, variances = case.normalise()
    stds = np.sqrt(variances + case.eps[:, None])
    grads, grad_gammas, _ = branches.backward(case.grad_out.reshape(-1), out, case.flat(), case.gammas, means, stds)
    others = np.arange(channels) != channels // 2
    out = out.reshape(case.pixels, channels)
    assert np.isnan(out[:, ~others]).all() and np.isfinite(out[:, others]).all()
    for array in (means, grad_gammas, grads[branch].reshape(-1, channels)):
        assert np.isfinite(array[:, others]).all()
    assert np.isnan(means[branch, ~others]).all() and np.isnan(grads[branch].reshape(-1, channels)[:, ~others]).all()


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("channels", [5, 16])
def test_the_number_of_threads_does_not_change_a_bit(channels, rng):
    case = Case(rng, 3, 5 * pixels_of(channels, np.float32) + 3, channels, np.float32)
    results = []
    for _ in each_thread_count():
        out, means, variances = case.normalise()
        stds = np.sqrt(variances + case.eps[:, None])
        backward = branches.backward(case.grad_out.reshape(-1), out, case.flat(), case.gammas, means, stds)
        results.append([a.tobytes() for a in (out, means, variances, *backward[0], *backward[1:])])
    assert results[0] == results[1]
