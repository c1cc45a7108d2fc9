"""ResNet (He et al., arXiv 1512.03385) and ResNeXt (Xie et al., arXiv 1611.05431)."""

from dataclasses import dataclass

from repvgg_np.layers import GlobalAvgPool, MaxPool2d, ReLU, Residual, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config):
    """A ResNet or ResNeXt; in a state dict, torchvision's names.

    Attributes
    ----------
    depths : tuple of int
        How many blocks each stage has.
    widths : tuple of int
        How many channels each stage's 3x3 convolutions have (before they are widened for groups).
    bottleneck : bool
        Blocks of 1x1, 3x3 and 1x1, the last four times as wide; else of two 3x3.
    groups, group_width : int
        Of the 3x3 convolutions in bottlenecks: a ResNeXt "32x4d" has 32 groups of 4 channels in its first stage.
    stride_in_1x1 : bool
        A bottleneck that halves the picture does so in its first convolution, as in the original paper (and in the
        FLOPs of RepVGG's table 4); else in the 3x3, as in torchvision and nearly everywhere since.
    """

    depths: tuple
    widths: tuple = (64, 128, 256, 512)
    bottleneck: bool = False
    groups: int = 1
    group_width: int = 64
    stride_in_1x1: bool = False

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels = self.widths[0]
        stem = {"conv1": parts.conv(3, channels, 7, 2), "bn1": parts.norm(channels), "relu": ReLU()}
        stages = {}
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            blocks = []
            for i in range(depth):
                stride = 2 if i == 0 and number > 0 else 1
                blocks.append(self._block(parts, channels, width, stride))
                channels = 4 * width if self.bottleneck else width
            stages[f"layer{number + 1}"] = Sequential(*blocks)
        head = {"avgpool": GlobalAvgPool(), "fc": parts.linear(channels, num_classes)}
        return Sequential(**stem, maxpool=MaxPool2d(3, 2, 1), **stages, **head)

    def _block(self, parts, in_channels, width, stride):
        """Return `ReLU(main(x) + shortcut(x))`; the shortcut is a 1x1 convolution where the shape changes."""
        if self.bottleneck:
            out_channels, inner = 4 * width, width * self.group_width * self.groups // 64
            strides = (stride, 1) if self.stride_in_1x1 else (1, stride)
            main = Sequential(
                conv1=parts.conv(in_channels, inner, 1, strides[0]),
                bn1=parts.norm(inner),
                relu1=ReLU(),
                conv2=parts.conv(inner, inner, 3, strides[1], self.groups),
                bn2=parts.norm(inner),
                relu2=ReLU(),
                conv3=parts.conv(inner, out_channels, 1),
                bn3=parts.norm(out_channels),
            )
        else:
            out_channels = width
            main = Sequential(
                conv1=parts.conv(in_channels, width, 3, stride),
                bn1=parts.norm(width),
                relu1=ReLU(),
                conv2=parts.conv(width, width, 3),
                bn2=parts.norm(width),
            )
        if stride == 1 and in_channels == out_channels:
            return Residual(main, relu=True)
        shortcut = Sequential(downsample=parts.conv_norm(in_channels, out_channels, 1, stride, activation=None))
        return Residual(main, shortcut, relu=True)

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_out; the classifier with PyTorch's own."""
        uniform = initialise.uniform_fan_in
        initialise.draw(body, rng, initialise.kaiming_fan_out, uniform, uniform)


CONFIGS = {
    "ResNet-18": ResNetConfig(depths=(2, 2, 2, 2)),
    "ResNet-34": ResNetConfig(depths=(3, 4, 6, 3)),
    "ResNet-50": ResNetConfig(depths=(3, 4, 6, 3), bottleneck=True),
    "ResNet-101": ResNetConfig(depths=(3, 4, 23, 3), bottleneck=True),
    "ResNet-152": ResNetConfig(depths=(3, 8, 36, 3), bottleneck=True),
    "ResNet-50-v1": ResNetConfig(depths=(3, 4, 6, 3), bottleneck=True, stride_in_1x1=True),
    "ResNet-101-v1": ResNetConfig(depths=(3, 4, 23, 3), bottleneck=True, stride_in_1x1=True),
    "ResNet-152-v1": ResNetConfig(depths=(3, 8, 36, 3), bottleneck=True, stride_in_1x1=True),
    "ResNeXt-50-32x4d": ResNetConfig(depths=(3, 4, 6, 3), bottleneck=True, groups=32, group_width=4),
    "ResNeXt-101-32x4d": ResNetConfig(depths=(3, 4, 23, 3), bottleneck=True, groups=32, group_width=4),
}
