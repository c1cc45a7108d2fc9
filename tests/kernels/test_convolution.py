"""Every convolution algorithm is the convolution, and every gradient is its gradient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels import choose_algorithm, conv2d, conv2d_backward
from repvgg_np.rounding import convolution_bound
from tests import strategies
from tests.threads import each_thread_count


def assert_within_bound(case, dtype, algorithm):
    case = case.astype(dtype)
    out = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm)
    exact = strategies.exact_convolution(case)
    bias = np.abs(case.bias.astype(np.float64))[:, None, None]
    bound = convolution_bound(case.x, case.weight, **case.geometry, algorithm=algorithm, bias=bias)
    # The definition is computed in float64, and rounds too: its own bound is added.
    wide = case.astype(np.float64)
    bound += convolution_bound(wide.x, wide.weight, **case.geometry, algorithm="im2col", bias=bias)
    assert out.shape == exact.shape == bound.shape and out.dtype == dtype
    assert (np.abs(out - exact) <= bound).all()


@given(strategies.convolutions(), strategies.dtypes)
def test_im2col_is_the_convolution_within_its_rounding_bound(case, dtype):
    assert_within_bound(case, dtype, "im2col")


@given(strategies.winograd_convolutions, strategies.dtypes)
def test_winograd_is_the_convolution_within_its_rounding_bound(case, dtype):
    assert_within_bound(case, dtype, "winograd")


@given(strategies.convolutions(depthwise=True), strategies.dtypes)
def test_depthwise_is_the_convolution_within_its_rounding_bound(case, dtype):
    assert_within_bound(case, dtype, "depthwise")


@given(strategies.convolutions(integers=True), strategies.dtypes)
def test_on_small_integers_convolution_and_gradients_are_exact(case, dtype):
    # Every product and every partial sum is an integer far below 2^24: nothing is rounded, in any order of summation.
    exact = strategies.exact_convolution(case)
    gradients = reference.conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry)
    case = case.astype(dtype)
    algorithm = "depthwise" if case.groups == case.x.shape[1] == case.weight.shape[0] and case.groups > 1 else "im2col"
    np.testing.assert_array_equal(conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm), exact)
    ours = conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry, algorithm="im2col")
    for gradient, expected in zip(ours, gradients, strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient, expected)


@given(strategies.three_by_three, strategies.dtypes)
def test_the_input_gradient_by_any_algorithm_lies_within_its_rounding_bound(case, dtype):
    case = case.astype(dtype)
    grad_x, *_ = conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry)
    wide = case.astype(np.float64)
    exact, *_ = reference.conv2d_backward(wide.grad_out, wide.x, wide.weight, **case.geometry)
    c_out, depth_in = case.weight.shape[:2]
    split = wide.weight.reshape(case.groups, -1, depth_in, 3, 3)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
    turned = split.reshape(case.x.shape[1], c_out // case.groups, 3, 3)
    border = (2 - case.padding[0], 2 - case.padding[1])
    if min(border) < 0:
        return  # padding of three: not a transposed convolution, and not computed by Winograd
    algorithm = choose_algorithm(case.grad_out.shape, turned.shape, (1, 1), border, case.groups)
    bound = convolution_bound(case.grad_out, turned.astype(dtype), (1, 1), border, case.groups, algorithm)
    bound += convolution_bound(wide.grad_out, turned, (1, 1), border, case.groups, "im2col")
    assert (np.abs(grad_x - exact) <= bound).all()


@given(strategies.convolutions(integers=True), st.permutations(range(4)))
def test_the_memory_order_of_the_input_does_not_matter(case, order):
    case = case.astype(np.float32)
    inverse = np.argsort(order)
    shuffled = np.ascontiguousarray(case.x.transpose(order)).transpose(inverse)
    expected = conv2d(case.x, case.weight, case.bias, **case.geometry)
    np.testing.assert_array_equal(conv2d(shuffled, case.weight, case.bias, **case.geometry), expected)
    read_only = case.x.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(conv2d(read_only, case.weight, case.bias, **case.geometry), expected)


@given(strategies.convolutions(), st.sampled_from(["auto", "im2col"]))
def test_relu_in_the_output_pass_is_relu_afterwards(case, algorithm):
    case = case.astype(np.float32)
    plain = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm)
    rectified = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm, relu=True)
    np.testing.assert_array_equal(rectified, np.maximum(plain, 0))


@pytest.mark.slow_without_jit
@given(strategies.convolutions(), st.sampled_from(["auto", "im2col"]))
def test_the_number_of_threads_does_not_change_a_bit(case, algorithm):
    case = case.astype(np.float32)
    results = []
    for _ in each_thread_count():
        out = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm)
        results.append([out, *conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry)])
    for first, second in zip(results[0], results[-1], strict=True):
        assert first.tobytes() == second.tobytes()


@given(strategies.convolutions(integers=True), strategies.seeds)
def test_a_nan_reaches_exactly_the_outputs_that_see_it(case, seed):
    case = case.astype(np.float32)
    pixel = tuple(np.random.default_rng(seed).integers(case.x.shape))
    touched = np.zeros_like(case.x)
    touched[pixel] = 1
    sees_it = reference.conv2d(touched, np.ones_like(case.weight), None, case.stride, case.padding, case.groups) > 0
    x = case.x.copy()
    x[pixel] = np.nan
    out = conv2d(x, case.weight, case.bias, **case.geometry, algorithm="im2col", relu=True)
    np.testing.assert_array_equal(np.isnan(out), sees_it)


def test_an_empty_batch_gives_an_empty_batch():
    x, weight = np.zeros((0, 4, 6, 6), np.float32), np.ones((8, 4, 3, 3), np.float32)
    for algorithm in ("winograd", "im2col"):
        assert conv2d(x, weight, algorithm=algorithm).shape == (0, 8, 6, 6)
    grad_x, grad_weight, _ = conv2d_backward(np.zeros((0, 8, 6, 6), np.float32), x, weight)
    assert grad_x.shape == x.shape and not grad_weight.any()


def test_gradients_that_nobody_needs_are_not_computed():
    x, weight, grad = (np.ones(s, np.float32) for s in ((1, 2, 4, 4), (3, 2, 3, 3), (1, 3, 4, 4)))
    grad_x, grad_weight, grad_bias = conv2d_backward(grad, x, weight, input_gradient=False, bias_gradient=False)
    assert grad_x is None and grad_bias is None
    np.testing.assert_array_equal(grad_weight, conv2d_backward(grad, x, weight)[1])


X, WEIGHT = np.zeros((1, 4, 6, 6), np.float32), np.zeros((8, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [[1.0]]}, r"x must be a NumPy array of shape \(N, C_in, H, W\), got list"),
        ({"x": X[0]}, r"x must have the shape \(N, C_in, H, W\), got \(4, 6, 6\)"),
        ({"x": X.astype(np.float16)}, "x must be float32 or float64, got float16"),
        ({"x": X.astype(np.int64)}, "x must be float32 or float64, got int64"),
        ({"x": X.astype(">f4")}, "x must be float32 or float64, got >f4"),
        ({"x": X.astype(np.float64)}, "weight must be float64 like the other arrays, got float32"),
        ({"x": X[:, :3]}, "x must have 4 channels for this weight and groups=1, got 3"),
        ({"x": X[:, :, :1], "padding": 0}, "x must be at least as large as the 3x3 kernel, got 1x6"),
        (
            {"groups": 3, "weight": WEIGHT[:, :1], "x": X[:, :3]},
            "groups must divide the weight's 8 output channels, got 3",
        ),
        ({"groups": 0}, "groups must be an integer of at least 1, got 0"),
        ({"stride": 0}, "stride must be an integer, or a pair of them, of at least 1, got 0"),
        ({"stride": 1.5}, "stride must be an integer"),
        ({"padding": (1, 2, 3)}, "padding must be an integer, or a pair of them"),
        ({"padding": -1}, "padding must be an integer, or a pair of them, of at least 0, got -1"),
        ({"bias": np.zeros(7, np.float32)}, r"bias must have the shape \(8,\), got \(7,\)"),
        ({"bias": np.zeros(8)}, "bias must be float32 like the other arrays, got float64"),
        ({"weight": WEIGHT[:0]}, r"weight must not be empty, got the shape \(0, 4, 3, 3\)"),
        ({"algorithm": "fft"}, "algorithm must be auto, im2col, winograd or depthwise, got 'fft'"),
        (
            {"algorithm": "winograd", "stride": 3},
            r"'winograd' needs a 3x3 kernel at stride 1 or 2, got 3x3 at \(3, 3\)",
        ),
        ({"algorithm": "winograd", "stride": (1, 2)}, r"'winograd' needs a 3x3 .* got 3x3 at \(1, 2\)"),
        ({"algorithm": "winograd", "weight": WEIGHT[:, :, 1:]}, r"'winograd' needs a 3x3 .* got 2x3 at \(1, 1\)"),
        ({"algorithm": "depthwise"}, "algorithm 'depthwise' needs as many groups as channels"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        conv2d(**{"x": X, "weight": WEIGHT, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grad_out": np.zeros((1, 8, 6, 5), np.float32)}, r"grad_out must have the output's shape \(1, 8, 6, 6\)"),
        ({"grad_out": np.zeros((1, 8, 6, 6))}, "grad_out must be float32 like the other arrays, got float64"),
        ({"algorithm": "winograd"}, "algorithm must be auto or im2col in the backward pass, got 'winograd'"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        conv2d_backward(**{"grad_out": np.zeros((1, 8, 6, 6), np.float32), "x": X, "weight": WEIGHT, **change})
