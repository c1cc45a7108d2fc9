"""RegNetX (Radosavovic et al., arXiv 2003.13678): bottlenecks without a bottleneck, widths from a regular rule."""

from dataclasses import dataclass

from repvgg_np.layers import GlobalAvgPool, Residual, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class RegNetConfig(Config):
    """A RegNetX; in a state dict, torchvision's names.

    Attributes
    ----------
    depths : tuple of int
        How many blocks each stage has.
    widths : tuple of int
        How many channels.
    group_width : int
        How many channels a group of the 3x3 convolutions has.
    stem_width : int
    """

    depths: tuple
    widths: tuple
    group_width: int
    stem_width: int = 32

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels, stages = self.stem_width, {}
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            blocks = {}
            for i in range(depth):
                blocks[f"block{number}-{i}"] = self._block(parts, channels, width, 2 if i == 0 else 1)
                channels = width
            stages[f"block{number}"] = Sequential(**blocks)
        return Sequential(
            stem=parts.conv_norm(3, self.stem_width, 3, 2),
            trunk_output=Sequential(**stages),
            avgpool=GlobalAvgPool(),
            fc=parts.linear(channels, num_classes),
        )

    def _block(self, parts, in_channels, width, stride):
        """Return `ReLU(f(x) + shortcut(x))`; the shortcut is a 1x1 convolution where the shape changes."""
        main = Sequential(
            f=Sequential(
                a=parts.conv_norm(in_channels, width, 1),
                b=parts.conv_norm(width, width, 3, stride, width // self.group_width),
                c=parts.conv_norm(width, width, 1, activation=None),
            )
        )
        if stride == 1 and in_channels == width:
            return Residual(main, relu=True)
        shortcut = Sequential(proj=parts.conv_norm(in_channels, width, 1, stride, activation=None))
        return Residual(main, shortcut, relu=True)

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_out, the classifier normal with a deviation of 0.01; biases are zero."""
        initialise.draw(body, rng, initialise.kaiming_fan_out, initialise.normal(0.01))


CONFIGS = {
    "RegNetX-3.2GF": RegNetConfig(depths=(2, 6, 15, 2), widths=(96, 192, 432, 1008), group_width=48),
    "RegNetX-12GF": RegNetConfig(depths=(2, 5, 11, 1), widths=(224, 448, 896, 2240), group_width=112),
}
