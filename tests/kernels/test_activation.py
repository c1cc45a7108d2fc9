"""ReLU and pooling are their definitions, number by number."""

import numpy as np
from hypothesis import given

from repvgg_np import reference
from repvgg_np.kernels import activation
from repvgg_np.rounding import gamma
from tests import strategies


@given(strategies.activations(), strategies.dtypes, strategies.seeds)
def test_relu_and_its_gradient_are_those_of_the_definition(x, dtype, seed):
    x = x.astype(dtype)
    rng = np.random.default_rng(seed)
    x.ravel()[rng.integers(x.size)] = np.nan
    flat, out, grad_x = x.ravel(), np.empty(x.size, dtype), np.empty(x.size, dtype)
    activation.relu(flat, out)
    np.testing.assert_array_equal(out, reference.relu(flat))
    grad_out = rng.normal(size=x.size).astype(dtype)
    activation.relu_backward(grad_out, out, grad_x)
    np.testing.assert_array_equal(grad_x, reference.relu_backward(grad_out, out))


@given(strategies.activations(), strategies.dtypes)
def test_pooling_is_the_mean_within_its_rounding_bound(x, dtype):
    x = x.astype(dtype)
    out = np.empty(x.shape[:2], dtype)
    activation.global_average_pool(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), out)
    exact = reference.global_average_pool(x.astype(np.float64))
    bound = gamma(x.shape[2] + x.shape[3] + 1, dtype) * np.abs(x.astype(np.float64)).mean(axis=(2, 3))
    assert (np.abs(out - exact) <= bound + 1e-13 * np.abs(exact)).all()
