"""ShuffleNet, version 2 (Ma et al., arXiv 1807.11164): half of the channels pass, half are worked on, all shuffled."""

from dataclasses import dataclass

from repvgg_np.layers import ChannelShuffle, ChannelSlice, Concatenate, GlobalAvgPool, MaxPool2d, ReLU, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2Config(Config):
    """A ShuffleNetV2; in a state dict, torchvision's names.

    Attributes
    ----------
    stem_width, last_width : int
        Channels of the first and of the last convolution.
    depths : tuple of int
        How many blocks each stage has.
    widths : tuple of int
        How many channels; even.
    """

    stem_width: int = 24
    last_width: int = 1024
    depths: tuple = (4, 8, 4)
    widths: tuple = (116, 232, 464)

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels, stages = self.stem_width, {}
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 2):
            blocks = [_halving_block(parts, channels, width)]
            blocks += [_block(parts, width) for _ in range(depth - 1)]
            stages[f"stage{number}"] = Sequential(*blocks)
            channels = width
        return Sequential(
            conv1=parts.conv_norm(3, self.stem_width, 3, 2),
            maxpool=MaxPool2d(3, 2, 1),
            **stages,
            conv5=parts.conv_norm(channels, self.last_width, 1),
            avgpool=GlobalAvgPool(),
            fc=parts.linear(self.last_width, num_classes),
        )

    def initialise(self, body, rng):
        """Draw everything as PyTorch does on its own: uniformly within 1 / sqrt(fan_in)."""
        uniform = initialise.uniform_fan_in
        initialise.draw(body, rng, uniform, uniform, uniform)


def _main_branch(parts, in_channels, width, stride):
    """Return pointwise, depthwise, pointwise."""
    return Sequential(
        parts.conv(in_channels, width, 1),
        parts.norm(width),
        ReLU(),
        parts.depthwise(width, 3, stride),
        parts.norm(width),
        parts.conv(width, width, 1),
        parts.norm(width),
        ReLU(),
    )


def _block(parts, width):
    """Return the block at stride 1: the first half of the channels passes untouched."""
    half = width // 2
    worked_on = Sequential(slice=ChannelSlice(half, width), branch2=_main_branch(parts, half, half, 1))
    return _shuffled(Concatenate(ChannelSlice(0, half), worked_on))


def _halving_block(parts, in_channels, width):
    """Return the block at stride 2: both branches get all channels."""
    half = width // 2
    side = Sequential(
        parts.depthwise(in_channels, 3, 2),
        parts.norm(in_channels),
        parts.conv(in_channels, half, 1),
        parts.norm(half),
        ReLU(),
    )
    return _shuffled(Concatenate(branch1=side, branch2=_main_branch(parts, in_channels, half, 2)))


def _shuffled(halves):
    """Return the chain of two halves and the shuffle between them; in a state dict only the halves' names show."""
    return Sequential(**{"": halves, "shuffle": ChannelShuffle(2)})


CONFIGS = {"ShuffleNetV2-x1.0": ShuffleNetV2Config()}
