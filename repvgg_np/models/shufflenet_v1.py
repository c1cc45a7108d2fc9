"""ShuffleNet, version 1 (Zhang et al., arXiv 1707.01083): pointwise convolutions in groups, shuffled in between."""

from dataclasses import dataclass

from repvgg_np.layers import (
    AvgPool2d,
    ChannelShuffle,
    Concatenate,
    Conv2d,
    GlobalAvgPool,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV1Config(Config):
    """A ShuffleNetV1; in a state dict, the names of its authors' code (torchvision and timm have none).

    Attributes
    ----------
    groups : int
        Of the pointwise convolutions.
    stem_width : int
    depths : tuple of int
        How many blocks each stage has.
    widths : tuple of int
        How many channels.
    """

    groups: int = 3
    stem_width: int = 24
    depths: tuple = (4, 8, 4)
    widths: tuple = (240, 480, 960)

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels, features = self.stem_width, []
        for depth, width in zip(self.depths, self.widths, strict=True):
            for i in range(depth):
                features.append(self._block(parts, channels, width, 2 if i == 0 else 1, first=not features))
                channels = width
        return Sequential(
            first_conv=parts.conv_norm(3, self.stem_width, 3, 2),
            maxpool=MaxPool2d(3, 2, 1),
            features=Sequential(*features),
            globalpool=GlobalAvgPool(),
            classifier=Sequential(parts.linear(channels, num_classes, bias=False)),
        )

    def _block(self, parts, in_channels, out_channels, stride, first):
        """Return the block: added to x at stride 1, laid beside x's averages at stride 2.

        The very first block's first convolution has no groups, because its input has few channels. The shuffle deals as
        the authors' code does, into as many hands as a group has channels: each group gets some of every group either
        way, and their weights fit.
        """
        inner = out_channels // 4
        computed = out_channels if stride == 1 else out_channels - in_channels
        branch = {
            "branch_main_1": Sequential(
                parts.conv(in_channels, inner, 1, groups=1 if first else self.groups),
                parts.norm(inner),
                ReLU(),
                parts.depthwise(inner, 3, stride),
                parts.norm(inner),
            ),
            "shuffle": ChannelShuffle(inner // self.groups),
            "branch_main_2": Sequential(parts.conv(inner, computed, 1, groups=self.groups), parts.norm(computed)),
        }
        if stride == 1:
            return Residual(Sequential(**branch), relu=True)
        return Concatenate(AvgPool2d(3, 2, 1), Sequential(**branch, relu=ReLU()))

    def initialise(self, body, rng):
        """Draw as the authors: kernels normal with deviation 1 / (C_in / groups), the first and the classifier 0.01.

        Every beta begins at 0.0001.
        """

        def kernels(rng, layer):
            depth_in = layer.weight.peek().shape[1]
            is_first = isinstance(layer, Conv2d) and layer.groups == 1 and depth_in == 3
            return initialise.normal(0.01 if is_first else 1 / depth_in)(rng, layer)

        initialise.draw(body, rng, kernels, initialise.normal(0.01))
        for name, parameter in body.named_parameters():
            if name.endswith("bias"):
                parameter.data[...] = 0.0001


CONFIGS = {"ShuffleNetV1-g3": ShuffleNetV1Config()}
