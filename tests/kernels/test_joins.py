"""What moves memory moves it to the right place; what adds and multiplies, does that."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference, reference_networks
from repvgg_np.kernels import gate, joins
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.rounding import gamma
from tests import strategies


@given(strategies.activations(), st.booleans(), strategies.dtypes, strategies.seeds)
def test_the_sum_of_two_branches_is_their_sum(x, relu, dtype, seed):
    a = x.astype(dtype).ravel()
    b = np.random.default_rng(seed).normal(size=a.size).astype(dtype)
    out = np.empty_like(a)
    joins.add(a, b, relu, out)
    np.testing.assert_array_equal(out, reference.relu(a + b) if relu else a + b)


@given(strategies.activations(), st.integers(0, 3), st.integers(0, 3), strategies.dtypes)
def test_channels_are_put_where_they_belong_and_nowhere_else(x, before, after, dtype):
    rows = channels_last(x.astype(dtype)).reshape(-1, x.shape[1])
    out = np.full((len(rows), before + x.shape[1] + after), 7, dtype)
    joins.put_channels(rows, before, out)
    sides = [np.full((len(rows), width), 7, dtype) for width in (before, after)]
    np.testing.assert_array_equal(out, np.concatenate([sides[0], rows, sides[1]], axis=1))


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_channels_are_taken_in_the_order_asked_for(x, dtype, seed):
    rows = channels_last(x.astype(dtype)).reshape(-1, x.shape[1])
    order = np.random.default_rng(seed).integers(0, x.shape[1], 5)
    out = np.empty((len(rows), 5), dtype)
    joins.take_channels(rows, order, out)
    np.testing.assert_array_equal(out, rows[:, order])


def test_a_shuffle_done_with_a_pencil():
    # Two groups of three channels: the first of each, the second of each, the third of each.
    x = np.arange(6.0).reshape(1, 6, 1, 1)
    np.testing.assert_array_equal(reference_networks.channel_shuffle(x, 2).ravel(), [0, 3, 1, 4, 2, 5])


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_a_gate_and_its_gradient_are_those_of_the_definition(x, dtype, seed):
    x, rng = x.astype(dtype), np.random.default_rng(seed)
    factors, grad_out = rng.normal(size=x.shape[:2]).astype(dtype), rng.normal(size=x.shape).astype(dtype)
    pixels = channels_last(x)
    out, grad_factors = np.empty_like(pixels), np.empty_like(factors)
    gate.scale_channels(pixels, factors, out)
    np.testing.assert_array_equal(channels_first(out), reference_networks.gate(x, factors))
    gate.sum_products(channels_last(grad_out), pixels, grad_factors)
    wide = (a.astype(np.float64) for a in (grad_out, x, factors))
    absolute = (np.abs(a.astype(np.float64)) for a in (grad_out, x, factors))
    exact, scale = reference_networks.gate_backward(*wide)[1], reference_networks.gate_backward(*absolute)[1]
    assert (np.abs(grad_factors - exact) <= 2 * gamma(x[0, 0].size + 1, dtype) * scale).all()
