"""MobileNet, version 2 (Sandler et al., arXiv 1801.04381): residuals between narrow layers, wide in between."""

from dataclasses import dataclass

from repvgg_np.layers import Dropout, GlobalAvgPool, ReLU6, Residual, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config(Config):
    """A MobileNetV2; in a state dict, torchvision's names.

    Attributes
    ----------
    stem_width, last_width : int
        Channels of the first and of the last convolution.
    stages : tuple of (expansion, width, depth, stride)
        Table 2 of its paper: how many times wider a block is inside, its output's channels, how many blocks, and the
        stride of the first.
    """

    stem_width: int = 32
    last_width: int = 1280
    stages: tuple = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        features, channels = [parts.conv_norm(3, self.stem_width, 3, 2, activation=ReLU6)], self.stem_width
        for expansion, width, depth, stride in self.stages:
            for i in range(depth):
                features.append(_block(parts, channels, width, expansion, stride if i == 0 else 1))
                channels = width
        features.append(parts.conv_norm(channels, self.last_width, 1, activation=ReLU6))
        classifier = Sequential(Dropout(0.2), parts.linear(self.last_width, num_classes))
        return Sequential(features=Sequential(*features), avgpool=GlobalAvgPool(), classifier=classifier)

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_out, the classifier normal with a deviation of 0.01; biases are zero."""
        initialise.draw(body, rng, initialise.kaiming_fan_out, initialise.normal(0.01))


def _block(parts, in_channels, out_channels, expansion, stride):
    """Return: widen, convolve depthwise, narrow (without an activation); added to x where the shape is kept."""
    inner = in_channels * expansion
    widen = [parts.conv_norm(in_channels, inner, 1, activation=ReLU6)] if expansion > 1 else []
    conv = Sequential(
        *widen,
        parts.conv_norm(inner, inner, 3, stride, inner, ReLU6),
        parts.conv(inner, out_channels, 1),
        parts.norm(out_channels),
    )
    main = Sequential(conv=conv)
    return Residual(main) if stride == 1 and in_channels == out_channels else main


CONFIGS = {"MobileNetV2": MobileNetV2Config()}
