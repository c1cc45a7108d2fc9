"""MobileNet, version 1 (Howard et al., arXiv 1704.04861): a depthwise 3x3 and a pointwise 1x1 for each dense 3x3."""

from dataclasses import dataclass

import numpy as np

from repvgg_np.layers import GlobalAvgPool, ReLU6, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class MobileNetV1Config(Config):
    """A MobileNetV1; in a state dict, timm's names (torchvision has none). ReLU6, as in its authors' code.

    Attributes
    ----------
    stem_width : int
    depths : tuple of int
        How many blocks each stage has; every stage but the first begins with stride 2.
    widths : tuple of int
        How many channels.
    """

    stem_width: int = 32
    depths: tuple = (1, 2, 2, 6, 2)
    widths: tuple = (64, 128, 256, 512, 1024)

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels, stages = self.stem_width, []
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            blocks = []
            for i in range(depth):
                blocks.append(_block(parts, channels, width, 2 if i == 0 and number > 0 else 1))
                channels = width
            stages.append(Sequential(*blocks))
        stem = parts.conv(3, self.stem_width, 3, 2)
        return Sequential(
            conv_stem=stem,
            bn1=parts.norm(self.stem_width),
            act1=ReLU6(),
            blocks=Sequential(*stages),
            avgpool=GlobalAvgPool(),
            classifier=parts.linear(channels, num_classes),
        )

    def initialise(self, body, rng):
        """Draw as timm: kernels normal with variance 2 / (C_out K K / groups), the classifier uniform, biases zero."""
        initialise.draw(body, rng, _fan_out_of_a_group, initialise.uniform_fan_out)


def _block(parts, in_channels, out_channels, stride):
    """Return the depthwise and the pointwise convolution, each with its batch norm and ReLU6."""
    return Sequential(
        conv_dw=parts.depthwise(in_channels, 3, stride),
        bn1=parts.norm(in_channels),
        act1=ReLU6(),
        conv_pw=parts.conv(in_channels, out_channels, 1),
        bn2=parts.norm(out_channels),
        act2=ReLU6(),
    )


def _fan_out_of_a_group(rng, layer):
    """Draw normal with variance 2 / (C_out K K / groups)."""
    weight = layer.weight.peek()
    std = np.sqrt(2 * layer.groups / (len(weight) * np.prod(weight.shape[2:])))
    return lambda shape: rng.normal(0, std, shape)


CONFIGS = {"MobileNetV1": MobileNetV1Config()}
