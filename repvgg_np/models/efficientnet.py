"""EfficientNet (Tan and Le, arXiv 1905.11946): MobileNetV2's blocks with squeeze-and-excite, searched and scaled."""

import math
from dataclasses import dataclass

from repvgg_np.layers import Dropout, GlobalAvgPool, Residual, Sequential, SiLU, StochasticDepth
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig(Config):
    """An EfficientNet; in a state dict, torchvision's names.

    Attributes
    ----------
    stem_width, last_width : int
        Channels of the first and of the last convolution.
    stages : tuple of (expansion, kernel_size, stride, width, depth)
        How many times wider a block is inside, its depthwise kernel, the stride of the stage's first block, its
        output's channels, and how many blocks.
    dropout : float
        In front of the classifier.
    stochastic_depth : float
        The probability of dropping the last block's branch; it grows linearly from 0 at the first.
    """

    stem_width: int
    last_width: int
    stages: tuple
    dropout: float = 0.2
    stochastic_depth: float = 0.2

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        features, channels = [parts.conv_norm(3, self.stem_width, 3, 2, activation=SiLU)], self.stem_width
        number, total = 0, sum(depth for *_, depth in self.stages)
        for expansion, kernel_size, stride, width, depth in self.stages:
            blocks = []
            for i in range(depth):
                geometry = (expansion, kernel_size, stride if i == 0 else 1)
                blocks.append(_block(parts, channels, width, *geometry, self.stochastic_depth * number / total))
                channels, number = width, number + 1
            features.append(Sequential(*blocks))
        features.append(parts.conv_norm(channels, self.last_width, 1, activation=SiLU))
        classifier = Sequential(Dropout(self.dropout), parts.linear(self.last_width, num_classes))
        return Sequential(features=Sequential(*features), avgpool=GlobalAvgPool(), classifier=classifier)

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_out, the classifier uniform within 1 / sqrt(fan_out); biases are zero."""
        initialise.draw(body, rng, initialise.kaiming_fan_out, initialise.uniform_fan_out)


def _block(parts, in_channels, out_channels, expansion, kernel_size, stride, probability):
    """Return: widen, convolve depthwise, squeeze-and-excite, narrow; added to x where the shape is kept."""
    inner = _divisible(in_channels * expansion)
    widen = [parts.conv_norm(in_channels, inner, 1, activation=SiLU)] if inner != in_channels else []
    block = Sequential(
        *widen,
        parts.conv_norm(inner, inner, kernel_size, stride, inner, SiLU),
        parts.squeeze_excite(inner, max(1, in_channels // 4)),
        parts.conv_norm(inner, out_channels, 1, activation=None),
    )
    if stride == 1 and in_channels == out_channels:
        return Residual(Sequential(block=block, stochastic_depth=StochasticDepth(probability)))
    return Sequential(block=block)


def _divisible(channels, divisor=8):
    """Round to a multiple of 8, but never down by more than a tenth (the authors' rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def scaled(width, depth, **options):
    """Return EfficientNet-B0 with its widths and depths multiplied, the compound scaling of its section 3.3.

    Parameters
    ----------
    width, depth : float
    **options
        What else the config takes.

    Returns
    -------
    EfficientNetConfig
    """
    stages = (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )  # fmt: skip
    scaled_stages = tuple((*geometry, _divisible(w * width), math.ceil(d * depth)) for *geometry, w, d in stages)
    last_width = 4 * scaled_stages[-1][3]
    return EfficientNetConfig(stem_width=_divisible(32 * width), last_width=last_width, stages=scaled_stages, **options)


CONFIGS = {
    "EfficientNet-B0": scaled(1.0, 1.0),
    "EfficientNet-B3": scaled(1.2, 1.4, dropout=0.3, input_size=300),
}
