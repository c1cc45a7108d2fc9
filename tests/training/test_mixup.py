import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels.layout import channels_last
from repvgg_np.training import mixup


def batch(n, seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    pixels = rng.standard_normal((n, 4, 5, 3)).astype(dtype)
    return pixels.transpose(0, 3, 1, 2), rng.integers(0, 4, n)


class Fixed:
    """Draws what it is told."""

    def __init__(self, share, order):
        self.share, self.order = share, order

    def beta(self, a, b):
        assert a == b
        return self.share

    def permutation(self, n):
        assert n == len(self.order)
        return np.array(self.order)


def test_three_quarters_of_one_picture_and_a_quarter_of_another():
    x, y = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4), np.array([0, 2])
    blended, targets = mixup(x, y, 3, 0.5, Fixed(0.75, [1, 0]))
    assert np.array_equal(blended[0], 0.75 * x[0] + 0.25 * x[1])
    assert np.array_equal(blended[1], 0.75 * x[1] + 0.25 * x[0])
    assert targets.tolist() == [[0.75, 0, 0.25], [0.25, 0, 0.75]]


@given(st.integers(1, 6), st.integers(0, 2**32), st.floats(0.01, 10))
def test_labels_are_blended_in_the_same_proportion_as_pictures(n, seed, alpha):
    """Pictures that are their own one-hot labels stay so."""
    y = np.random.default_rng(seed).integers(0, 3, n)
    x = np.eye(3, dtype=np.float32)[y][:, :, None, None]
    blended, targets = mixup(x, y, 3, alpha, np.random.default_rng(seed))
    assert np.array_equal(blended[:, :, 0, 0], targets)
    assert (targets >= 0).all()
    # Two rounded shares of one whole, added: each within half an eps.
    assert np.abs(targets.sum(axis=1) - 1).max() <= np.finfo(np.float32).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_memory_order_stay_and_the_batch_is_left_alone(dtype):
    x, y = batch(5, 0, dtype)
    before = x.copy()
    blended, targets = mixup(x, y, 4, 1.0, np.random.default_rng(0))
    assert blended.dtype == targets.dtype == dtype
    assert blended.shape == x.shape
    assert channels_last(blended).base is blended.base or channels_last(blended) is blended.base  # no copy was needed
    assert np.array_equal(x, before)


def test_the_same_generator_gives_the_same_bits_and_another_gives_others():
    x, y = batch(6, 1)
    first, again, other = (mixup(x, y, 4, 1.0, np.random.default_rng(seed))[0] for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_shares_are_drawn_from_the_beta_distribution():
    """Of Beta(a, a), the mean is 1/2 and the variance 1 / (4 (2a + 1)); five standard errors of 4,000 draws."""
    rng = np.random.default_rng(0)
    x, y = np.array([1.0, 0.0]).reshape(2, 1, 1, 1), np.array([0, 1])
    draws = 4000
    shares = []
    while len(shares) < draws:
        blended = mixup(x, y, 2, 1.0, rng)[0].ravel()
        if blended[1] != 0:  # the pictures were blended with one another, not each with itself
            shares.append(blended[0])
    variance = 1 / 12
    assert abs(np.mean(shares) - 0.5) <= 5 * np.sqrt(variance / draws)
    # The variance of a sample variance of the uniform distribution: (1/80 - 1/144) / n.
    assert abs(np.var(shares) - variance) <= 5 * np.sqrt((1 / 80 - 1 / 144) / draws)


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf")])
def test_an_alpha_that_is_no_positive_number_is_refused(alpha):
    x, y = batch(2, 0)
    with pytest.raises(ValueError, match=f"alpha must be a positive number, got {alpha}"):
        mixup(x, y, 4, alpha, np.random.default_rng(0))
