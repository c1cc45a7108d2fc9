"""The step of gradient descent is its definition, bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels import momentum
from tests import strategies

rates = st.floats(0, 1, width=32)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=3), rates, rates, rates, st.booleans(), strategies.dtypes,
    strategies.seeds,
)  # fmt: skip
def test_a_step_has_the_bits_of_its_definition(shape, rate, blend, decay, nesterov, dtype, seed):
    data, grad, velocity = np.random.default_rng(seed).normal(size=(3, *shape)).astype(dtype)
    numbers = dtype(rate), dtype(blend), dtype(decay)
    expected = reference.momentum_step(data, grad, velocity, *numbers, nesterov)
    momentum.step(data, grad, velocity, *numbers, nesterov)
    assert (data.tobytes(), velocity.tobytes()) == (expected[0].tobytes(), expected[1].tobytes())


@pytest.mark.parametrize("order", [lambda a: a.T, lambda a: a[:, ::2], lambda a: np.asfortranarray(a)])
def test_an_array_in_another_memory_order_is_moved_too(order):
    data, grad = order(np.arange(12.0).reshape(3, 4)), order(np.ones((3, 4)))
    expected, velocity = data - 0.5, np.zeros(data.shape)
    momentum.step(data, grad, velocity, 0.5, 0, 0, False)
    assert np.array_equal(data, expected) and (velocity == 1).all()
