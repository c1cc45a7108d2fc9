"""ACNet's asymmetric convolution block (arXiv 1908.03930): "ACB" of table 7."""

import numpy as np

from repvgg_np.blocks.branched import BranchedBlock
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm


class AsymmetricBlock(BranchedBlock):
    """`ReLU(BN(X * W3x3) + BN(X * W3x1) + BN(X * W1x3))`: a skeleton beside the square kernel.

    The high and the wide kernel are 3x3 kernels with zeros in the outer columns, or rows. There is no identity branch.
    As in the official code every gamma is 1 at first (it can also start them at 1/3; the paper does not say).

    In a state dict "square_conv", "square_bn", "ver_conv", "ver_bn", "hor_conv" and "hor_bn", as in the official code.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        for name, size in (("square", (3, 3)), ("ver", (3, 1)), ("hor", (1, 3))):
            padding = (size[0] // 2, size[1] // 2)
            branch = ConvBatchNorm(in_channels, out_channels, size, stride, padding, groups, rng=rng, dtype=dtype)
            self._branches.append(branch)
            self.add_child(f"{name}_conv", branch.conv)
            self.add_child(f"{name}_bn", branch.bn)
