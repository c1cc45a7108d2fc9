"""The one gradient check: float64, central differences; every element, or as plain Python along one direction."""

import numpy as np

from tests.conftest import WITHOUT_JIT

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
    """Check the gradient of the input and of every parameter of a layer, for a random upstream gradient.

    As plain Python, two passes for each element take too long. There all arrays move at once along one random
    direction, in which a wrong gradient shows as well; that each element is right, the jitted pass proves.
    """
    layer.train()
    upstream = rng.normal(size=layer(x).shape)

    def loss():
        return float((layer(x) * upstream).sum())

    loss()
    grad_x = layer.backward(upstream)
    gradients = {"x": (grad_x, x)}
    gradients |= {name: (parameter.grad.copy(), parameter.data) for name, parameter in layer.named_parameters()}
    for name, (gradient, array) in gradients.items():
        assert gradient.shape == array.shape and gradient.dtype == array.dtype, name
    if WITHOUT_JIT:
        assert_derivative(loss, *zip(*gradients.values(), strict=True), rng)
        return
    for name, (gradient, array) in gradients.items():
        numerical = numerical_gradient(loss, array)
        scale = max(1, np.abs(numerical).max())
        np.testing.assert_allclose(gradient, numerical, rtol=0, atol=TOLERANCE * scale, err_msg=name)


def assert_derivative(function, gradients, arrays, rng, name=None):
    """Check the derivative of `function()` along a random direction of all arrays together; they move and come back."""
    directions = [rng.normal(size=array.shape) for array in arrays]
    length = np.sqrt(sum((direction**2).sum() for direction in directions))
    kept, sides = [array.copy() for array in arrays], []
    for side in (1, -1):
        for array, start, direction in zip(arrays, kept, directions, strict=True):
            array[...] = start + side * STEP / length * direction
        sides.append(function())
    for array, start in zip(arrays, kept, strict=True):
        array[...] = start
    numerical = (sides[0] - sides[1]) / (2 * STEP)
    products = (gradient * direction for gradient, direction in zip(gradients, directions, strict=True))
    scale = max(1, np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
    assert abs(sum(product.sum() for product in products) / length - numerical) <= TOLERANCE * scale, name
