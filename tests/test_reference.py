"""The definitions, checked by hand: what everything else is held against must itself be right."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.reference_winograd import FIVE, FOUR, STRIDED, TRANSFORMS, winograd_conv2d
from tests import strategies


def fractions(array):
    """Turn small integers into exact fractions with some denominators."""
    flat = [Fraction(int(v), 1 + i % 7) for i, v in enumerate(array.ravel())]
    out = np.empty(array.shape, object)
    out.ravel()[:] = flat
    return out


def test_a_convolution_done_with_a_pencil():
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], float)[None, None]
    weight = np.array([[0, 1, 0], [2, 3, 4], [0, 5, 0]], float)[None, None]
    # The centre: 2 * 1 (above) + 4 * 2 (left) + 5 * 3 + 6 * 4 (right) + 8 * 5 (below) = 89
    out = reference.conv2d(x, weight, np.array([10.0]))
    assert out[0, 0, 1, 1] == 89 + 10
    # The upper left corner, with zeros beyond the border: 1 * 3 + 2 * 4 + 4 * 5 = 31
    assert out[0, 0, 0, 0] == 31 + 10
    # At stride 2 only the corners are left; the lower right one: 6 * 1 + 8 * 2 + 9 * 3 = 49
    strided = reference.conv2d(x, weight, None, (2, 2))
    assert strided.shape == (1, 1, 2, 2) and strided[0, 0, 1, 1] == 49


def test_groups_see_only_their_own_channels():
    x = np.arange(1.0, 5.0).reshape(1, 4, 1, 1)
    weight = np.ones((2, 2, 1, 1))
    np.testing.assert_array_equal(reference.conv2d(x, weight, None, padding=(0, 0), groups=2).ravel(), [1 + 2, 3 + 4])


def test_gradients_of_a_convolution_done_with_a_pencil():
    x, weight = np.array([[[[2.0, 3.0]]]]), np.array([[[[5.0]]]])
    grad_x, grad_weight, grad_bias = reference.conv2d_backward(np.array([[[[1.0, 10.0]]]]), x, weight, padding=(0, 0))
    np.testing.assert_array_equal(grad_x.ravel(), [5, 50])
    assert grad_weight.item() == 2 * 1 + 3 * 10 and grad_bias.item() == 11


@given(strategies.convolutions(integers=True))
def test_the_gradient_of_a_convolution_is_its_adjoint(case):
    # <conv(x, w), g> is linear in x and in w, so it equals <x, grad_x> and <w, grad_w>: exact on small integers.
    product = (strategies.exact_convolution(case, bias=False) * case.grad_out).sum()
    grad_x, grad_weight, grad_bias = reference.conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry)
    assert product == (case.x * grad_x).sum() == (case.weight * grad_weight).sum()
    np.testing.assert_array_equal(grad_bias, case.grad_out.sum(axis=(0, 2, 3)))


sizes = st.integers(1, 11)


@given(
    st.sampled_from([FOUR, STRIDED, FIVE]),
    st.integers(1, 2),
    st.integers(1, 2),
    sizes,
    sizes,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    strategies.seeds,
)
def test_winograd_is_exactly_the_convolution_on_fractions(form, depth, groups, height, width, pads, seed):
    stride = TRANSFORMS[form].stride
    height, width = max(height, 3 - 2 * pads[0]), max(width, 3 - 2 * pads[1])
    rng = np.random.default_rng(seed)
    x = fractions(rng.integers(-9, 10, (1, depth * groups, height, width)))
    weight = fractions(rng.integers(-9, 10, (2 * groups, depth, 3, 3)))
    bias = fractions(rng.integers(-9, 10, 2 * groups))
    geometry = ((stride, stride), pads, groups)
    direct = reference.conv2d(x, weight, bias, *geometry)
    ours = winograd_conv2d(x, weight, bias, *geometry, form)
    assert ours.shape == direct.shape and (ours == direct).all()
    if form != FIVE:
        assert (winograd_conv2d(x, weight, bias, *geometry) == ours).all()


def test_winograd_multiplies_36_49_or_81_numbers_for_16_or_25_outputs():
    sizes = {form: (t.b_transposed.size, len(t.a_transposed) ** 2) for form, t in TRANSFORMS.items()}
    assert sizes == {FOUR: (36, 16), STRIDED: (81, 16), FIVE: (49, 25)}


def test_batch_norm_done_with_a_pencil():
    x = np.array([[[[1.0, 3.0]]]])
    mean, var = reference.batch_statistics(x)
    assert mean == [2] and var == [1]
    # (1 - 2) / sqrt(1 + 3) * 4 + 10 = 8, (3 - 2) / 2 * 4 + 10 = 12
    out = reference.batch_norm(x, np.array([4.0]), np.array([10.0]), mean, var, 3)
    np.testing.assert_array_equal(out.ravel(), [8, 12])


def test_two_pixels_leave_batch_norm_no_gradient_but_that_of_eps():
    # With two numbers in a channel, xhat is -1 and 1 whatever x is, if eps is 0: the input's gradient vanishes.
    grad_x, grad_gamma, grad_beta = reference.batch_norm_backward(
        np.array([[[[1.0, 5.0]]]]), np.array([[[[1.0, 3.0]]]]), np.array([7.0]), 0
    )
    np.testing.assert_array_equal(grad_x.ravel(), [0, 0])
    assert grad_gamma == [4] and grad_beta == [6]


def test_relu_keeps_a_nan_and_blocks_the_gradient_at_zero():
    np.testing.assert_array_equal(reference.relu(np.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(reference.relu_backward(np.array([5.0, 6, 7]), np.array([0.0, 2, 0])), [0, 6, 0])


def test_pooling_and_the_linear_layer_done_with_a_pencil():
    pooled = reference.global_average_pool(np.array([[[[1.0, 3.0]], [[5.0, 9.0]]]]))
    np.testing.assert_array_equal(pooled, [[2, 7]])
    np.testing.assert_array_equal(reference.linear(pooled, np.array([[1.0, 10.0]]), np.array([5.0])), [[2 + 70 + 5]])


def test_the_square_root_of_a_fraction_is_exact_or_refused():
    np.testing.assert_array_equal(reference.square_root(np.array([Fraction(9, 4)], object)), [Fraction(3, 2)])
    with pytest.raises(ValueError, match="value must be the square of a fraction, got 2"):
        reference.square_root(np.array([Fraction(2)], object))
