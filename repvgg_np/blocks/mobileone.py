"""MobileOne's block (arXiv 2206.04040): the same convolution several times over, each with its own batch norm."""

import numpy as np

from repvgg_np.blocks.branched import BranchedBlock
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.blocks.repvgg import FusedRepVGGBlock
from repvgg_np.layers import BatchNorm2d


class FusedMobileOneBlock(FusedRepVGGBlock):
    """The inference form, which the official code calls "reparam_conv"."""

    reparam_name = "reparam_conv"


class MobileOneBlock(BranchedBlock):
    """`ReLU(BN(X * W_1) + ... + BN(X * W_k) + BN(X * W1x1) + BN(X))`.

    There are two kinds, one after the other in a network: a depthwise 3x3 block (as many groups as channels), and a
    pointwise 1x1 block, which has no further 1x1 branch and folds to a 1x1 convolution. The identity branch exists
    where input and output have the same shape. The largest of the published networks has squeeze-and-excitation in some
    blocks; here there is none.

    In a state dict "rbr_conv.0" to "rbr_conv.{k-1}", "rbr_scale" and "rbr_skip", as in the official code.

    Parameters
    ----------
    in_channels, out_channels : int
    size : {1, 3}
        Of the kernels.
    stride, groups : int
    copies : int
        k, how many times the convolution is there: 4 in the paper's MobileOne-S0, 1 in the larger ones.
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    fused_form = FusedMobileOneBlock

    def __init__(self, in_channels, out_channels, size=3, stride=1, groups=1, copies=4, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        if size not in (1, 3):
            raise ValueError(f"size must be 1 or 3, got {size!r}")
        if not isinstance(copies, int) or copies < 1:
            raise ValueError(f"copies must be an integer of at least 1, got {copies!r}")
        names = [(f"rbr_conv.{copy}", size) for copy in range(copies)] + ([("rbr_scale", 1)] if size > 1 else [])
        for name, own in names:
            branch = ConvBatchNorm(in_channels, out_channels, own, stride, own // 2, groups, rng=rng, dtype=dtype)
            self.add_branch(name, branch)
        if self.same_shape:
            self.add_branch("rbr_skip", BatchNorm2d(out_channels, dtype=dtype))
