"""A convolution and the batch norm right behind it: in inference the two are one convolution with a bias.

That is equation 3 of the paper, and the one step of the re-parameterization that every network with batch norm can
take. The paper's comparisons are between networks of which all have taken it (section 4.1).
"""

from repvgg_np.fuse import fold_batch_norm
from repvgg_np.layers.convolution import Conv2d


class FoldedConv2d(Conv2d):
    """A convolution into which a batch norm was written.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)
    stride, padding : pair of int
    groups : int
    """

    def __init__(self, kernel, bias, stride, padding, groups):
        out_channels, depth_in = kernel.shape[:2]
        geometry = (kernel.shape[2:], stride, padding, groups)
        super().__init__(depth_in * groups, out_channels, *geometry, rng=None, dtype=kernel.dtype)
        self.weight.data, self.bias.data = kernel, bias


class ConvolutionAndNorm:
    """A convolution with the batch norm right behind it, as one thing to fold and to verify: a view of two layers.

    Attributes
    ----------
    conv : Conv2d
    norm : BatchNorm2d
    """

    def __init__(self, conv, norm):
        self.conv, self.norm = conv, norm

    def __call__(self, x):
        """Convolve, then normalise."""
        return self.norm(self.conv(x))

    def fold(self):
        """Return the kernel and the bias of the one convolution.

        A bias b of the convolution moves the mean: `BN(X * W + b)` with the mean mu is `BN(X * W)` with mu - b.
        """
        norm, mean = self.norm, self.norm.running_mean
        if self.conv.bias is not None:
            mean = mean - self.conv.bias.peek()
        statistics = (norm.gamma.peek(), norm.beta.peek(), mean, norm.running_var)
        return fold_batch_norm(self.conv.weight.peek(), *statistics, norm.eps)

    def fused(self):
        """Return the one convolution, a new layer."""
        return FoldedConv2d(*self.fold(), self.conv.stride, self.conv.padding, self.conv.groups)
