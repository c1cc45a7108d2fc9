"""The depthwise separable layers of MobileNetV1, and what they cost beside dense ones: multiply-adds and bytes."""

import itertools
from dataclasses import dataclass

from repvgg_np.layers import Conv2d
from repvgg_np.models import create_model

NETWORK = "MobileNetV1"
ITEM_BYTES = 4  # float32


@dataclass(frozen=True)
class SeparableLayer:
    """A depthwise 3x3 convolution, and the pointwise one behind it.

    Attributes
    ----------
    channels, out_channels : int
        Of the input (and of the depthwise output), and of the pointwise output.
    size, out_size : int
        Height and width of the picture before and after.
    stride : int
        Of the depthwise convolution.
    """

    channels: int
    out_channels: int
    size: int
    out_size: int
    stride: int

    def parts(self, kind):
        """Return the shapes `(in, out, kernel size, groups, size, out size)` of the convolutions of this kind."""
        depthwise = (self.channels, self.channels, 3, self.channels, self.size, self.out_size)
        pointwise = (self.channels, self.out_channels, 1, 1, self.out_size, self.out_size)
        return [depthwise] if kind == "depthwise" else [depthwise, pointwise]

    def dense(self, width):
        """Return the shape of the dense 3x3 convolution with so many channels, on the same picture."""
        return [(width, width, 3, 1, self.size, self.out_size)]


def separable_layers(size=None):
    """List the different separable layers of MobileNetV1.

    Parameters
    ----------
    size : int, optional
        Height and width of the network's picture; without it, what it is made for.

    Returns
    -------
    dict of SeparableLayer to int
        How many the network has of each.

    Raises
    ------
    ValueError
        If `size` is no positive integer.
    """
    model = create_model(NETWORK, seed=None, form="inference")
    side = model.config.input_size if size is None else size
    if not isinstance(side, int) or side < 1:
        raise ValueError(f"size must be an integer of at least 1, got {side!r}")
    steps = [step for step in model.trace((3, side, side))[1] if isinstance(step[1], Conv2d)]
    counts = {}
    for (_, layer, before, between), (_, _, _, after) in itertools.pairwise(steps):
        if layer.groups > 1:
            kind = SeparableLayer(before[0], after[0], before[1], between[1], layer.stride[0])
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def convolution_costs(shapes, batch):
    """Count what convolutions do, one after the other.

    Parameters
    ----------
    shapes : list of tuple
        From `SeparableLayer.parts` or `dense`.
    batch : int

    Returns
    -------
    dict
        "flops" (multiply-adds of the direct algorithm) and "bytes" (input, kernel, bias and output of each, read or
        written once).
    """
    flops = numbers = 0
    for in_channels, out_channels, kernel_size, groups, size, out_size in shapes:
        weights = out_channels * (in_channels // groups) * kernel_size**2
        flops += batch * out_size**2 * weights
        numbers += batch * (in_channels * size**2 + out_channels * out_size**2) + weights + out_channels
    return {"flops": flops, "bytes": ITEM_BYTES * numbers}
