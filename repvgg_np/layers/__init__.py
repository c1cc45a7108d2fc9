"""Layers: `forward`, `backward` and state, on top of the kernels."""

from repvgg_np.layers.activation import GlobalAvgPool, ReLU, relu_backward
from repvgg_np.layers.average_pool import AdaptiveAvgPool2d, AvgPool2d
from repvgg_np.layers.batch_norm import BatchNorm2d
from repvgg_np.layers.channels import ChannelShuffle, ChannelSlice
from repvgg_np.layers.concatenate import Concatenate
from repvgg_np.layers.convolution import Conv2d, Linear
from repvgg_np.layers.flatten import Flatten
from repvgg_np.layers.folding import FoldedConv2d, fold_convolution
from repvgg_np.layers.layer import Layer, Parameter
from repvgg_np.layers.max_pool import MaxPool2d
from repvgg_np.layers.noise import Dropout, StochasticDepth, reseed
from repvgg_np.layers.relu6 import ReLU6
from repvgg_np.layers.residual import Residual
from repvgg_np.layers.sequential import Sequential
from repvgg_np.layers.sigmoid import Sigmoid, SiLU
from repvgg_np.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "ChannelShuffle",
    "ChannelSlice",
    "Concatenate",
    "Conv2d",
    "Dropout",
    "Flatten",
    "FoldedConv2d",
    "GlobalAvgPool",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SqueezeExcite",
    "StochasticDepth",
    "fold_convolution",
    "relu_backward",
    "reseed",
]
