"""GoogLeNet (Szegedy et al., arXiv 1409.4842), the first Inception network, with batch norm."""

from dataclasses import dataclass

from repvgg_np.layers import Concatenate, Dropout, GlobalAvgPool, MaxPool2d, ReLU, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class GoogLeNetConfig(Config):
    """A GoogLeNet; in a state dict, torchvision's names, without the two auxiliary classifiers.

    As in torchvision: batch norms with an eps of 0.001, and a 3x3 kernel where the paper has a 5x5. torchvision's own
    weights expect pictures normalised with mean 0.5 and deviation 0.5 (it converts others by `transform_input`).

    Attributes
    ----------
    stem_widths : tuple of int
        Channels of the first three convolutions.
    stages : tuple of tuple
        The Inception blocks between two max poolings, each with the widths of its branches: 1x1; 1x1 before the 3x3,
        and the 3x3; 1x1 before the second 3x3, and that; 1x1 behind the max pooling.
    """

    stem_widths: tuple = (64, 64, 192)
    stages: tuple = (
        ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        ((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
         (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128)),
        ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    )  # fmt: skip

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype, eps=1e-3)
        first, second, third = self.stem_widths
        layers = {
            "conv1": _basic(parts, 3, first, 7, 2),
            "maxpool1": MaxPool2d(3, 2, ceil_mode=True),
            "conv2": _basic(parts, first, second, 1),
            "conv3": _basic(parts, second, third, 3),
            "maxpool2": MaxPool2d(3, 2, ceil_mode=True),
        }
        channels = third
        for number, stage in enumerate(self.stages, 3):
            for letter, widths in zip("abcdefgh", stage, strict=False):
                layers[f"inception{number}{letter}"] = _inception(parts, channels, widths)
                channels = widths[0] + widths[2] + widths[4] + widths[5]
            if number == 3:
                layers["maxpool3"] = MaxPool2d(3, 2, ceil_mode=True)
            elif number == 4:
                layers["maxpool4"] = MaxPool2d(2, 2, ceil_mode=True)
        head = {"avgpool": GlobalAvgPool(), "dropout": Dropout(0.2), "fc": parts.linear(channels, num_classes)}
        return Sequential(**layers, **head)

    def initialise(self, body, rng):
        """Draw everything normal with a deviation of 0.01, as torchvision; the classifier's bias with PyTorch's own.

        (torchvision cuts the normal off at 2, which is 200 deviations away: no number is ever cut.)
        """
        initialise.draw(body, rng, initialise.normal(0.01), initialise.normal(0.01), initialise.uniform_fan_in)


def _basic(parts, in_channels, out_channels, kernel_size, stride=1):
    """Return a convolution, its batch norm and ReLU."""
    conv = parts.conv(in_channels, out_channels, kernel_size, stride)
    return Sequential(conv=conv, bn=parts.norm(out_channels), relu=ReLU())


def _inception(parts, channels, widths):
    """Return the four branches side by side."""
    one, before_three, three, before_five, five, pooled = widths
    return Concatenate(
        branch1=_basic(parts, channels, one, 1),
        branch2=Sequential(_basic(parts, channels, before_three, 1), _basic(parts, before_three, three, 3)),
        branch3=Sequential(_basic(parts, channels, before_five, 1), _basic(parts, before_five, five, 3)),
        branch4=Sequential(MaxPool2d(3, 1, 1, ceil_mode=True), _basic(parts, channels, pooled, 1)),
    )


CONFIGS = {"GoogLeNet": GoogLeNetConfig()}
