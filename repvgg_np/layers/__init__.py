"""Layers: `forward`, `backward` and state, on top of the kernels."""

from repvgg_np.layers.activation import GlobalAvgPool, ReLU, relu_backward
from repvgg_np.layers.batch_norm import BatchNorm2d
from repvgg_np.layers.convolution import Conv2d, Linear
from repvgg_np.layers.layer import Layer, Parameter
from repvgg_np.layers.sequential import Sequential

__all__ = [
    "BatchNorm2d",
    "Conv2d",
    "GlobalAvgPool",
    "Layer",
    "Linear",
    "Parameter",
    "ReLU",
    "Sequential",
    "relu_backward",
]
