"""Sigmoid, SiLU and ReLU6 are their definitions, number by number."""

import numpy as np
from hypothesis import given

from repvgg_np import reference_networks
from repvgg_np.kernels import relu6, sigmoid
from repvgg_np.rounding import gamma
from tests import strategies

# An exponential is good to 2 units in the last place, which are 4 roundings; then come an addition and a division.
SIGMOID_ROUNDINGS = 6


def drawn(x, dtype, seed):
    x = x.astype(dtype).ravel()
    return x, np.empty_like(x), np.random.default_rng(seed).normal(size=x.size).astype(dtype)


def assert_within(out, exact, roundings, scale, dtype):
    """Both sides round; what is below the smallest normal number has no digits to compare."""
    slack = 256 * np.finfo(dtype).tiny
    assert out.dtype == dtype and (np.abs(out - exact) <= 2 * gamma(roundings, dtype) * scale + slack).all()


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_the_sigmoid_and_its_gradient_are_those_of_the_definition(x, dtype, seed):
    x, out, grad_out = drawn(x, dtype, seed)
    sigmoid.sigmoid(x, out)
    exact = reference_networks.sigmoid(x.astype(np.float64))
    assert_within(out, exact, SIGMOID_ROUNDINGS, exact, dtype)
    grad_x = np.empty_like(x)
    sigmoid.sigmoid_backward(grad_out, out, grad_x)
    exact = reference_networks.sigmoid_backward(grad_out.astype(np.float64), out.astype(np.float64))
    assert_within(grad_x, exact, 3, np.abs(exact), dtype)


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_silu_and_its_gradient_are_those_of_the_definition(x, dtype, seed):
    x, out, grad_out = drawn(x, dtype, seed)
    sigmoid.silu(x, out)
    exact = reference_networks.silu(x.astype(np.float64))
    assert_within(out, exact, SIGMOID_ROUNDINGS + 1, np.abs(exact), dtype)
    grad_x = np.empty_like(x)
    sigmoid.silu_backward(grad_out, x, grad_x)
    exact = reference_networks.silu_backward(grad_out.astype(np.float64), x.astype(np.float64))
    # 1 - s cancels where s is nearly 1: it is off by the roundings of s, relative to 1.
    scale = np.abs(grad_out) * reference_networks.sigmoid(x.astype(np.float64)) * (1 + np.abs(x))
    assert_within(grad_x, exact, 2 * SIGMOID_ROUNDINGS + 5, scale, dtype)


def test_the_sigmoid_of_huge_numbers_overflows_nowhere():
    for dtype in (np.float32, np.float64):
        x = np.array([-np.finfo(dtype).max, -1000, 0, 1000, np.inf], dtype)
        out = np.empty_like(x)
        sigmoid.sigmoid(x, out)
        np.testing.assert_array_equal(out, [0, 0, 0.5, 1, 1])
        sigmoid.silu(x[:-1], out[:-1])
        np.testing.assert_array_equal(out[:-1], [0, 0, 0, 1000])


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_relu6_and_its_gradient_are_those_of_the_definition(x, dtype, seed):
    x, out, grad_out = drawn(3 * x, dtype, seed)
    x[0], x[-1] = np.nan, 6
    relu6.relu6(x, out)
    np.testing.assert_array_equal(out, reference_networks.relu6(x))
    grad_x = np.empty_like(x)
    relu6.relu6_backward(grad_out, out, grad_x)
    np.testing.assert_array_equal(grad_x, reference_networks.relu6_backward(grad_out, out))


def test_relu6_done_with_a_pencil():
    x = np.array([-1.0, 0, 2, 6, 7])
    np.testing.assert_array_equal(reference_networks.relu6(x), [0, 0, 2, 6, 6])
    np.testing.assert_array_equal(
        reference_networks.relu6_backward(np.arange(1.0, 6), reference_networks.relu6(x)), [0, 0, 3, 0, 0]
    )
