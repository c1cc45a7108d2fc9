import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.training import cross_entropy, softmax

from .strategies import logits, logits_and_labels, smoothings, whole_logits

U = np.finfo(np.float64).eps / 2


def loss_rounding(z):
    """How far a computed mean loss can be from the true one, in float64.

    Each of the N K terms is made of: z - max, and the logarithm of a sum of K exponentials (relative error K + 4 u at
    most), both no larger than the spread of the logits plus log K; N K of them are added, multiplied by shares.
    """
    n, k = z.shape
    largest = 2 * float(np.abs(z).max()) + math.log(k) + 1
    return 2 * (n * k + k + 10) * U * largest


def with_class(n, k):
    return np.eye(k)[np.arange(n) % k]


@given(whole_logits(np.float64), st.lists(st.integers(-(2**20), 2**20), min_size=5, max_size=5))
def test_softmax_does_not_change_when_rows_are_shifted_each_by_its_own_number(z, shifts):
    shift = np.array(shifts[: len(z)])[:, None]
    assert np.array_equal(softmax(z), softmax(z + shift))


@given(logits(np.float64))
def test_softmax_rows_add_up_to_one(z):
    p = softmax(z)
    # The exponent is rounded to within (K + 4) u times its size, and log K + spread bounds that.
    tolerance = (z.shape[1] + 4) * U * (2 * np.abs(z).max() + math.log(z.shape[1]) + 2) * 2
    assert (p >= 0).all()
    assert np.abs(p.sum(axis=1) - 1).max() <= tolerance


def test_softmax_of_equal_logits_is_uniform_and_of_two_it_is_the_logistic_function():
    assert softmax(np.zeros((1, 4))) == pytest.approx(np.full((1, 4), 0.25), rel=8 * U)
    assert softmax(np.array([[2.0, 0.0]]))[0, 0] == pytest.approx(1 / (1 + math.exp(-2)), rel=16 * U)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_finite_logits_overflow_nothing(dtype):
    z = np.array([[np.finfo(dtype).max / 4, 0, -np.finfo(dtype).max / 4]], dtype)
    assert softmax(z).tolist() == [[1, 0, 0]]
    loss, grad = cross_entropy(z, np.array([0]))
    assert loss == 0
    assert grad.tolist() == [[0, 0, 0]]
    assert math.isfinite(cross_entropy(z, np.array([2]))[0])


@given(logits_and_labels())
def test_the_loss_is_the_mean_negative_logarithm_of_the_right_class_probability(case):
    z, labels = case
    by_hand = [
        math.log(math.fsum(math.exp(v - row[y]) for v in row.tolist())) for row, y in zip(z, labels, strict=True)
    ]
    assert cross_entropy(z, labels)[0] == pytest.approx(math.fsum(by_hand) / len(z), abs=loss_rounding(z), rel=4 * U)


@given(logits_and_labels(), smoothings, st.booleans())
def test_the_gradient_agrees_with_central_differences_in_every_element(case, smoothing, soft):
    z, targets = case
    if soft:
        targets = 0.75 * np.eye(z.shape[1])[targets] + 0.25 * with_class(*z.shape)
    h = 2.0**-14
    _, grad = cross_entropy(z, targets, smoothing)
    # The third derivative of a row's log-sum-exp is p (1 - p) (1 - 2p), at most 1 / (6 sqrt 3); the rest is linear.
    truncation = h**2 / 6 / (6 * math.sqrt(3)) / len(z)
    tolerance = truncation + loss_rounding(z) / h + loss_rounding(z)
    for index in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[index] += h
        down[index] -= h
        slope = (cross_entropy(up, targets, smoothing)[0] - cross_entropy(down, targets, smoothing)[0]) / (
            up[index] - down[index]
        )
        assert abs(grad[index] - slope) <= tolerance


@given(logits_and_labels(), smoothings)
def test_label_smoothing_is_mixing_with_the_uniform_distribution(case, smoothing):
    z, labels = case
    n, k = z.shape
    uniform = np.full((n, k), 1 / k)
    sharp, grad_sharp = cross_entropy(z, labels)
    flat, grad_flat = cross_entropy(z, uniform)
    loss, grad = cross_entropy(z, labels, smoothing)
    assert abs(loss - ((1 - smoothing) * sharp + smoothing * flat)) <= 4 * loss_rounding(z)
    assert np.abs(grad - ((1 - smoothing) * grad_sharp + smoothing * grad_flat)).max() <= 4 * loss_rounding(z)


@given(logits_and_labels(np.float32))
def test_a_number_of_a_class_is_the_distribution_that_is_all_on_it(case):
    z, labels = case
    loss, grad = cross_entropy(z, labels)
    soft_loss, soft_grad = cross_entropy(z, np.eye(z.shape[1], dtype=np.float32)[labels])
    assert loss == soft_loss
    assert np.array_equal(grad, soft_grad)


@given(logits_and_labels(np.float32), st.sampled_from([0.0, 0.1, np.float64(0.1)]))
def test_float32_stays_float32_and_the_loss_is_a_python_float(case, smoothing):
    z, labels = case
    before = z.copy()
    loss, grad = cross_entropy(z, labels, smoothing)
    assert type(loss) is float
    assert grad.dtype == softmax(z).dtype == np.float32
    assert np.array_equal(z, before)


@pytest.mark.parametrize(
    ("z", "targets", "smoothing", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), 0, r"targets must be from 0 to 2, got 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), 0, r"targets must be from 0 to 2, got -1"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), 0, r"targets of shape \(N,\) must be integers, got float64"),
        (np.zeros((2, 3)), np.array([0]), 0, r"targets must be an array of shape \(2,\) or \(2, 3\), got \(1,\)"),
        (np.zeros((2, 3)), [0, 1], 0, r"targets must be an array of shape .* got list"),
        (np.zeros((2, 3)), np.ones((2, 3)), 0, "add up to 1"),
        (np.zeros((1, 2)), np.array([[1.5, -0.5]]), 0, "at least 0"),
        (np.zeros((1, 2)), np.array([[np.nan, 1]]), 0, "at least 0"),
        (np.zeros((1, 2)), np.array([[1, 0]]), 0, "must be floats, got int64"),
        (np.zeros((2, 3)), np.array([0, 1]), 1, "label_smoothing must be at least 0 and less than 1, got 1"),
        (np.zeros((2, 3)), np.array([0, 1]), -0.1, "label_smoothing .* got -0.1"),
        (np.zeros((2, 3)), np.array([0, 1]), math.nan, "label_smoothing .* got nan"),
        (np.zeros((0, 3)), np.zeros(0, np.int64), 0, r"at least one row and one class, got the shape \(0, 3\)"),
        (np.zeros((2, 0)), np.zeros(2, np.int64), 0, r"at least one row and one class, got the shape \(2, 0\)"),
        (np.zeros(3), np.array([0]), 0, r"logits must have the shape \(N, K\), got \(3,\)"),
        (np.zeros((2, 3), np.int64), np.array([0, 1]), 0, "logits must be float32 or float64, got int64"),
    ],
)
def test_what_is_no_loss_is_refused(z, targets, smoothing, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(z, targets, smoothing)
