"""The RepVGG block with a branch or a batch norm fewer, or a ReLU more: tables 6 and 7 of the paper.

All have the names of the official block in a state dict (`rbr_dense`, `rbr_1x1`, `rbr_identity`). An identity branch
exists only where input and output have the same shape, as in the paper.
"""

import numpy as np

from repvgg_np.blocks.branched import BranchedBlock, Identity
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.layers import BatchNorm2d, Conv2d, ReLU


class RepVGGBlockWithout(BranchedBlock):
    """Table 6: `ReLU(BN3(X * W3) + BN1(X * W1) + BN0(X))` without the second term, the third, or both.

    Without both, it is the ordinary layer of a plain network, a convolution and its batch norm.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    pointwise, identity : bool
        Whether there is such a branch (the identity, where it can be).
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, pointwise, identity, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        for name, size, there in (("rbr_dense", 3, True), ("rbr_1x1", 1, pointwise)):
            if there:
                branch = ConvBatchNorm(in_channels, out_channels, size, stride, size // 2, groups, rng=rng, dtype=dtype)
                self.add_branch(name, branch)
        if identity and self.same_shape:
            self.add_branch("rbr_identity", BatchNorm2d(out_channels, dtype=dtype))


class IdentityWithoutBNBlock(RepVGGBlockWithout):
    """Table 7, "Identity w/o BN": `ReLU(BN3(X * W3) + BN1(X * W1) + X)`.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(
            in_channels, out_channels, stride, groups, pointwise=True, identity=False, rng=rng, dtype=dtype
        )
        if self.same_shape:
            self.add_branch("rbr_identity", Identity(out_channels, groups, dtype=dtype))


class PostAdditionBNBlock(BranchedBlock):
    """Table 7, "Post-addition BN": `ReLU(BN(X * W3 + X * W1 + X))`, one batch norm behind the addition.

    The paper does not say whether the convolutions then have a bias: here they don't, as it would change nothing
    behind which a batch norm stands.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        for name, size in (("rbr_dense", 3), ("rbr_1x1", 1)):
            conv = Conv2d(in_channels, out_channels, size, stride, size // 2, groups, False, rng=rng, dtype=dtype)
            self.add_branch(name, conv)
        if self.same_shape:
            self.add_branch("rbr_identity", Identity(out_channels, groups, dtype=dtype))
        self.add_after("bn", BatchNorm2d(out_channels, dtype=dtype))


class ReLUInBranchesBlock(RepVGGBlockWithout):
    """Table 7, "+ReLU in branch": `ReLU(BN3(X * W3)) + ReLU(BN1(X * W1)) + ReLU(BN0(X))`, then ReLU.

    It is no longer linear between X and the sum, so no convolution is equal to it: it trains, but does not fold. The
    paper inserts ReLU "into each branch (after BN and before addition)"; here that includes the identity branch. The
    ReLU of the block itself stays, though nothing is left for it to do.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups, pointwise=True, identity=True, rng=rng, dtype=dtype)
        self._relus = [ReLU() for _ in self._branches]
        for number, relu in enumerate(self._relus):
            self.add_child(f"branch_nonlinearity{number}", relu)

    def forward(self, x):
        """Add what each branch makes positive: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        parts = [relu(branch(x)) for branch, relu in zip(self._branches, self._relus, strict=True)]
        return self.relu(sum(parts[1:], parts[0]))  # new arrays: each ReLU keeps its own output

    def backward(self, grad_out):
        """Give every branch the gradient of the sum where its output was positive; add up what they return."""
        grad_sum = self.relu.backward(grad_out)
        pairs = zip(self._branches, self._relus, strict=True)
        parts = [branch.backward(relu.backward(grad_sum)) for branch, relu in pairs]
        return sum(parts[1:], parts[0])

    def folds(self):
        """Refuse.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "a block with ReLU in its branches does not fold into one convolution: it is not linear before the addition"
        )
