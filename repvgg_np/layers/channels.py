"""Layers that only rearrange channels: the shuffle between groups, and a slice."""

import numpy as np

from repvgg_np.kernels import joins
from repvgg_np.kernels.layout import channels_first, channels_last, check_float
from repvgg_np.layers.layer import Layer


class ChannelShuffle(Layer):
    """Deal the channels out anew, so that the next grouped convolution sees some of every group.

    First come the first channels of all groups, then the second of all, and so on (ShuffleNet, arXiv 1707.01083).

    Parameters
    ----------
    groups : int
    """

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        """Rearrange the channels of `x` (N, C, H, W)."""
        check_float("x", x, "(N, C, H, W)")
        if x.shape[1] % self.groups:
            raise ValueError(f"x must have a multiple of {self.groups} channels, got {x.shape[1]}")
        return _rearranged(x, self._order(x.shape[1]))

    def backward(self, grad_out):
        """Put every channel's gradient back where the channel came from."""
        return _rearranged(grad_out, np.argsort(self._order(grad_out.shape[1])))

    def _order(self, channels):
        """Return which channel comes where."""
        return np.arange(channels).reshape(self.groups, -1).T.ravel()


class ChannelSlice(Layer):
    """Keep some of the channels.

    Parameters
    ----------
    first, last : int
        Channels `first` to `last - 1` are kept.
    """

    def __init__(self, first, last):
        super().__init__()
        self.first, self.last = first, last
        self._shape = None

    def out_shape(self, shape):
        """Return (last - first, H, W) for (C, H, W)."""
        return (self.last - self.first, *shape[1:])

    def forward(self, x):
        """Map `x` (N, C, H, W) to (N, last - first, H, W)."""
        check_float("x", x, "(N, C, H, W)")
        if x.shape[1] < self.last:
            raise ValueError(f"x must have at least {self.last} channels, got {x.shape[1]}")
        self._shape = x.shape if self.training else None
        return _rearranged(x, np.arange(self.first, self.last))

    def backward(self, grad_out):
        """Give the channels that were left out a gradient of zero."""
        if self._shape is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        n, c, height, width = self._shape
        grad_x = np.zeros((n, height, width, c), grad_out.dtype)
        rows = channels_last(grad_out).reshape(-1, self.last - self.first)
        joins.put_channels(rows, self.first, grad_x.reshape(-1, c))
        return channels_first(grad_x)

    def forget(self):
        """Drop the shape that was kept for `backward`."""
        self._shape = None


def _rearranged(x, order):
    """Return the channels of `x` (N, C, H, W) in the order given."""
    pixels = channels_last(x)
    out = np.empty((*pixels.shape[:3], len(order)), x.dtype)
    joins.take_channels(pixels.reshape(-1, x.shape[1]), order, out.reshape(-1, len(order)))
    return channels_first(out)
