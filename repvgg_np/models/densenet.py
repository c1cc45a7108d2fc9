"""DenseNet (Huang et al., arXiv 1608.06993): every layer sees what all layers before it in its block computed."""

from dataclasses import dataclass

from repvgg_np.layers import AvgPool2d, Concatenate, GlobalAvgPool, MaxPool2d, ReLU, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig(Config):
    """A DenseNet; in a state dict, torchvision's names.

    What folds: batch norm and ReLU stand *before* each convolution here. A layer is norm1, ReLU, conv1, norm2, ReLU,
    conv2: norm2 stands right behind conv1 and is written into it, and so is the stem's. norm1 stands behind a
    concatenation, and a ReLU is between it and conv1: it stays, as does the norm of every transition and the last.

    Attributes
    ----------
    depths : tuple of int
        How many layers each dense block has.
    growth : int
        How many channels each layer adds.
    stem_width : int
    """

    depths: tuple
    growth: int = 32
    stem_width: int = 64

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        channels = self.stem_width
        features = {
            "conv0": parts.conv(3, channels, 7, 2),
            "norm0": parts.norm(channels),
            "relu0": ReLU(),
            "pool0": MaxPool2d(3, 2, 1),
        }
        for number, depth in enumerate(self.depths, 1):
            layers = {}
            for i in range(1, depth + 1):
                layers[f"denselayer{i}"] = self._layer(parts, channels)
                channels += self.growth
            features[f"denseblock{number}"] = Sequential(**layers)
            if number < len(self.depths):
                features[f"transition{number}"] = _transition(parts, channels)
                channels //= 2
        features["norm5"] = parts.norm(channels)
        classifier = parts.linear(channels, num_classes)
        return Sequential(features=Sequential(**features), relu=ReLU(), avgpool=GlobalAvgPool(), classifier=classifier)

    def _layer(self, parts, channels):
        """Return x with `growth` channels more, computed by a 1x1 and a 3x3 convolution."""
        inner = 4 * self.growth
        added = Sequential(
            norm1=parts.norm(channels),
            relu1=ReLU(),
            conv1=parts.conv(channels, inner, 1),
            norm2=parts.norm(inner),
            relu2=ReLU(),
            conv2=parts.conv(inner, self.growth, 3),
        )
        return Concatenate(Sequential(), added)  # an empty chain is the identity

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_in, the classifier with PyTorch's own; its bias is zero."""
        initialise.draw(body, rng, initialise.kaiming_fan_in, initialise.uniform_fan_in)


def _transition(parts, channels):
    """Return what halves channels and picture between two dense blocks."""
    return Sequential(
        norm=parts.norm(channels), relu=ReLU(), conv=parts.conv(channels, channels // 2, 1), pool=AvgPool2d(2)
    )


CONFIGS = {"DenseNet-121": DenseNetConfig(depths=(6, 12, 24, 16))}
