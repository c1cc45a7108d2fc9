"""Pooling, gates, branches and noise: every backward pass is the gradient of its forward pass, element by element."""

import numpy as np
import pytest

from repvgg_np.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    ChannelSlice,
    Concatenate,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    ReLU6,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    SqueezeExcite,
    StochasticDepth,
    reseed,
)
from tests.gradients import assert_gradients


def conv(in_channels, out_channels, size, rng, **options):
    return Conv2d(in_channels, out_channels, size, padding=size // 2, rng=rng, dtype=np.float64, **options)


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool2d(3, 2, 1),
        MaxPool2d(2, 2, ceil_mode=True),
        MaxPool2d((1, 3), (1, 2), (0, 1)),
        AvgPool2d(3, 2, 1),
        AvgPool2d(2),
        AdaptiveAvgPool2d(3),
        AdaptiveAvgPool2d((7, 2)),
        Flatten(),
        Sigmoid(),
        SiLU(),
        ChannelShuffle(2),
        ChannelShuffle(3),
        ChannelSlice(0, 3),
        ChannelSlice(4, 6),
    ],
)
def test_the_gradient_of_a_layer_without_parameters(layer, rng):
    # Of all numbers in a window, no two are so close that a step would change which is the largest.
    x = rng.permutation(2 * 6 * 5 * 4).reshape(2, 6, 5, 4) / 60 - 2
    assert_gradients(layer, x, rng)


def test_the_gradient_of_relu6_away_from_its_kinks(rng):
    x = rng.normal(3, 4, size=(2, 3, 4, 5))
    x[(np.abs(x) < 1e-3) | (np.abs(x - 6) < 1e-3)] = 1  # the difference quotient would straddle a kink
    assert (x < 0).any() and (x > 6).any()
    assert_gradients(ReLU6(), x, rng)


@pytest.mark.parametrize("layer", [ReLU(), ReLU6(), Sigmoid(), SiLU()])
def test_activations_work_on_rows_as_on_pictures_of_one_pixel(layer, rng):
    x = rng.normal(size=(3, 5))
    np.testing.assert_array_equal(layer(x), layer(x[:, :, None, None])[:, :, 0, 0])
    assert_gradients(layer, x, rng)


def test_the_gradients_of_squeeze_and_excite(rng):
    assert_gradients(SqueezeExcite(5, 3, rng=rng, dtype=np.float64), rng.normal(size=(2, 5, 3, 4)), rng)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("projected", [False, True])
def test_the_gradients_of_a_residual(relu, projected, rng):
    main = Sequential(conv(3, 3, 3, rng), BatchNorm2d(3, dtype=np.float64))
    shortcut = conv(3, 3, 1, rng) if projected else None
    assert_gradients(Residual(main, shortcut, relu), rng.normal(size=(2, 3, 4, 3)), rng)


def test_the_gradients_of_a_concatenation(rng):
    layer = Concatenate(Sequential(), conv(3, 2, 3, rng), last=conv(3, 1, 1, rng))
    assert layer(rng.normal(size=(1, 3, 4, 4))).shape == (1, 6, 4, 4)
    assert_gradients(layer, rng.normal(size=(2, 3, 4, 3)), rng)


def test_the_gradients_of_a_linear_layer_without_bias(rng):
    assert_gradients(Linear(4, 3, False, rng=rng, dtype=np.float64), rng.normal(size=(5, 4)), rng)


class SameNoise(Layer):
    """A random layer that drops the same each time: otherwise there is no derivative to speak of."""

    def __init__(self, layer):
        super().__init__()
        self.layer = self.add_child("", layer)

    def forward(self, x):
        reseed(self.layer, [5])
        return self.layer(x)

    def backward(self, grad_out):
        return self.layer.backward(grad_out)


@pytest.mark.parametrize("layer", [Dropout(0.4), StochasticDepth(0.4), Dropout(0)])
def test_the_gradient_of_noise_for_one_draw_of_it(layer, rng):
    assert_gradients(SameNoise(layer), rng.normal(size=(6, 2, 3, 3)), rng)


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool2d(2),
        AvgPool2d(2),
        AdaptiveAvgPool2d(2),
        Flatten(),
        ReLU6(),
        SiLU(),
        SqueezeExcite(4, 2, rng=np.random.default_rng(0)),
        ChannelSlice(1, 3),
        Residual(Sequential(), relu=True),
        Concatenate(Sequential(), Sequential()),
        Dropout(0.5),
        StochasticDepth(0.0),
    ],
)
def test_inference_keeps_nothing_and_says_so(layer):
    x = np.ones((2, 4, 2, 2), np.float32)
    out = layer.train()(x)
    layer.backward(out)
    layer.eval()(x)
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        layer.backward(out)
