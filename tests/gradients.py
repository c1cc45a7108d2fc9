"""The one gradient check: every element, float64, central differences."""

import numpy as np

# With a step h, central differences are off by h^2 / 6 times the third derivative, and by about u |f| / h of
# rounding. h = u^(1/3) balances the two: both are then about u^(2/3) = 4e-11 times the size of function and
# derivatives. The factor covers networks a few layers deep, whose third derivatives are some hundred times their
# first.
STEP = np.finfo(np.float64).eps ** (1 / 3)
TOLERANCE = 2e3 * STEP**2


def numerical_gradient(function, array):
    """Return d function() / d array, by moving one element at a time; `function` returns a number."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = function()
        array[index] = kept - STEP
        below = function()
        array[index] = kept
        gradient[index] = (above - below) / (2 * STEP)
    return gradient


def assert_gradients(layer, x, rng):
    """Check the gradient of the input and of every parameter of a layer, for a random upstream gradient."""
    layer.train()
    upstream = rng.normal(size=layer(x).shape)

    def loss():
        return float((layer(x) * upstream).sum())

    loss()
    grad_x = layer.backward(upstream)
    gradients = {"x": (grad_x, x)}
    gradients |= {name: (parameter.grad.copy(), parameter.data) for name, parameter in layer.named_parameters()}
    for name, (gradient, array) in gradients.items():
        numerical = numerical_gradient(loss, array)
        assert gradient.shape == array.shape and gradient.dtype == array.dtype
        scale = max(1, np.abs(numerical).max())
        np.testing.assert_allclose(gradient, numerical, rtol=0, atol=TOLERANCE * scale, err_msg=name)
