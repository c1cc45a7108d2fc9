"""The parts that networks are put together from: layers of one dtype, with weights of zero."""

from repvgg_np.layers import BatchNorm2d, Conv2d, Linear, ReLU, Sequential, SqueezeExcite


class Parts:
    """Makes layers of one dtype, with weights of zero: an initialiser, or a state dict, fills them.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.
    eps : float
        Of all batch norms.
    """

    def __init__(self, dtype, eps=1e-5):
        self.dtype, self.eps = dtype, eps

    def conv(self, in_channels, out_channels, kernel_size, stride=1, groups=1, bias=False):
        """Make a convolution whose padding keeps the size of the picture (at stride 1)."""
        geometry = (kernel_size, stride, kernel_size // 2, groups)
        return Conv2d(in_channels, out_channels, *geometry, bias, rng=None, dtype=self.dtype)

    def depthwise(self, channels, kernel_size, stride=1):
        """Make a convolution in which every channel is a group of its own."""
        return self.conv(channels, channels, kernel_size, stride, channels)

    def norm(self, channels):
        """Make a batch norm."""
        return BatchNorm2d(channels, self.eps, dtype=self.dtype)

    def conv_norm(self, in_channels, out_channels, kernel_size, stride=1, groups=1, activation=ReLU):
        """Make a chain "0", "1", "2" of a convolution, a batch norm and (unless it is None) an activation."""
        conv = self.conv(in_channels, out_channels, kernel_size, stride, groups)
        return Sequential(conv, self.norm(out_channels), *([activation()] if activation else []))

    def squeeze_excite(self, channels, squeezed):
        """Make a squeeze-and-excite."""
        return SqueezeExcite(channels, squeezed, rng=None, dtype=self.dtype)

    def linear(self, in_features, out_features, bias=True):
        """Make a classifier."""
        return Linear(in_features, out_features, bias, rng=None, dtype=self.dtype)
