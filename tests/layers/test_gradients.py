"""Every layer's backward pass is the gradient of its forward pass, element by element."""

import numpy as np
import pytest

from repvgg_np.layers import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, ReLU, Sequential
from tests.gradients import assert_gradients


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((3, 5, 3), {"padding": 1}),
        ((3, 5, 3), {"padding": 1, "bias": False}),
        ((4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}),
        ((4, 4, 3), {"padding": 1, "groups": 4}),
        ((4, 4, 3), {"stride": 2, "groups": 4}),
        ((2, 3, 1), {}),
        ((2, 3, 1), {"stride": 2}),
        ((2, 3, (1, 3)), {"padding": (0, 1), "stride": (2, 1)}),
        ((2, 2, 3), {"padding": 3}),
    ],
)
def test_the_gradients_of_a_convolution(arguments, options, rng):
    layer = Conv2d(*arguments, **options, rng=rng, dtype=np.float64)
    assert_gradients(layer, rng.normal(size=(2, arguments[0], 5, 4)), rng)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradients_of_batch_norm(frozen, rng):
    layer = BatchNorm2d(3, dtype=np.float64)
    layer.gamma.data[...], layer.beta.data[...] = rng.normal(size=3), rng.normal(size=3)
    layer.running_mean[...], layer.running_var[...] = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    layer.frozen = frozen
    assert_gradients(layer, rng.normal(size=(2, 3, 3, 4)), rng)


def test_the_gradient_of_relu_away_from_its_kink(rng):
    x = rng.normal(size=(2, 3, 4, 5))
    x[np.abs(x) < 1e-3] = 1  # the difference quotient would straddle the kink
    assert_gradients(ReLU(), x, rng)


def test_the_gradient_of_the_average(rng):
    assert_gradients(GlobalAvgPool(), rng.normal(size=(2, 3, 4, 5)), rng)


def test_the_gradients_of_the_linear_layer(rng):
    assert_gradients(Linear(5, 4, rng=rng, dtype=np.float64), rng.normal(size=(3, 5)), rng)


def test_the_gradients_of_a_chain(rng):
    chain = Sequential(
        Conv2d(2, 3, 3, padding=1, rng=rng, dtype=np.float64),
        BatchNorm2d(3, dtype=np.float64),
        Conv2d(3, 2, 1, rng=rng, dtype=np.float64),
    )
    assert_gradients(chain, rng.normal(size=(2, 2, 4, 4)), rng)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(3, 3, 1, rng=np.random.default_rng(0)),
        BatchNorm2d(3),
        ReLU(),
        GlobalAvgPool(),
    ],
)
def test_inference_keeps_nothing_and_says_so(layer):
    x = np.ones((1, 3, 2, 2), np.float32)
    out = layer.train()(x)
    layer.eval()(x)
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        layer.backward(out)
    linear = Linear(3, 2, rng=np.random.default_rng(0)).eval()
    linear(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        linear.backward(np.ones((1, 2), np.float32))
