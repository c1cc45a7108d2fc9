"""VGG (Simonyan and Zisserman, arXiv 1409.1556), with a batch norm behind every convolution."""

from dataclasses import dataclass

from repvgg_np.layers import AdaptiveAvgPool2d, Dropout, Flatten, MaxPool2d, ReLU, Sequential
from repvgg_np.models import initialise
from repvgg_np.models.network import Config
from repvgg_np.models.parts import Parts

POOLED = 7


@dataclass(frozen=True, kw_only=True)
class VGGConfig(Config):
    """A VGG with batch norm; in a state dict, torchvision's names.

    Attributes
    ----------
    depths : tuple of int
        How many 3x3 convolutions each stage has, before it is halved by max pooling.
    widths : tuple of int
        How many channels.
    hidden : int
        How wide the classifier's two hidden layers are.
    """

    depths: tuple
    widths: tuple = (64, 128, 256, 512, 512)
    hidden: int = 4096

    def body(self, num_classes, dtype):
        """Return the chain of all layers."""
        parts = Parts(dtype)
        features, channels = [], 3
        for depth, width in zip(self.depths, self.widths, strict=True):
            for _ in range(depth):
                features += [parts.conv(channels, width, 3, bias=True), parts.norm(width), ReLU()]
                channels = width
            features.append(MaxPool2d(2))
        classifier = Sequential(
            parts.linear(channels * POOLED * POOLED, self.hidden),
            ReLU(),
            Dropout(0.5),
            parts.linear(self.hidden, self.hidden),
            ReLU(),
            Dropout(0.5),
            parts.linear(self.hidden, num_classes),
        )
        pooling = {"avgpool": AdaptiveAvgPool2d(POOLED), "flatten": Flatten()}
        return Sequential(features=Sequential(*features), **pooling, classifier=classifier)

    def initialise(self, body, rng):
        """Draw kernels with He's rule for fan_out, the classifier normal with a deviation of 0.01; biases are zero."""
        initialise.draw(body, rng, initialise.kaiming_fan_out, initialise.normal(0.01))


CONFIGS = {"VGG-16-BN": VGGConfig(depths=(2, 2, 3, 3, 3))}
