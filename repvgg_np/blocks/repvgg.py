"""The RepVGG block (section 3.3 of the paper): three branches in training, one 3x3 convolution in inference."""

import numpy as np

from repvgg_np.blocks.block import Block
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm, fold_bn
from repvgg_np.blocks.step import path_of
from repvgg_np.blocks.together import Together
from repvgg_np.fuse import fuse_branches, identity_kernel
from repvgg_np.layers import BatchNorm2d, Conv2d, ReLU, relu_backward


class RepVGGBlock(Block):
    """The training form: `ReLU(BN3(X * W3) + BN1(X * W1) + BN0(X))`.

    The identity branch exists where input and output have the same shape: as many channels, and stride 1.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int
    groups : int
    rng : numpy.random.Generator
        Draws the first weights.
    dtype : dtype

    Attributes
    ----------
    dense, pointwise : ConvBatchNorm
        The 3x3 and the 1x1 branch; in a state dict "rbr_dense" and "rbr_1x1".
    identity : BatchNorm2d or None
        In a state dict "rbr_identity".
    layered : bool
        True computes the training form layer by layer, as it is written below, instead of together (`together.py`).
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        there = self.same_shape
        self.identity = self.add_child("rbr_identity", BatchNorm2d(out_channels, dtype=dtype)) if there else None
        dense = ConvBatchNorm(in_channels, out_channels, 3, stride, 1, groups, rng=rng, dtype=dtype)
        self.dense = self.add_child("rbr_dense", dense)
        pointwise = ConvBatchNorm(in_channels, out_channels, 1, stride, 0, groups, rng=rng, dtype=dtype)
        self.pointwise = self.add_child("rbr_1x1", pointwise)
        self.relu = ReLU()
        self.add_child("nonlinearity", self.relu)
        self.layered, self._together = False, None

    def forward(self, x):
        """Add the branches, then ReLU: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        self.forget()  # first: its memory can then be used again
        if self._can_be_together():
            self._together = Together(self, x)
            return self._together.out
        total = self.dense(x)
        total += self.pointwise(x)
        if self.identity is not None:
            total += self.identity(x)
        return self.relu(total)

    def _can_be_together(self):
        """Return whether the quick way of the training form gives the same as the layers."""
        norms = [self.dense.bn, self.pointwise.bn, *([self.identity] if self.identity is not None else [])]
        by_the_batch = all(norm.training and not norm.frozen for norm in norms)
        return self.training and not self.layered and by_the_batch

    def backward(self, grad_out, input_gradient=True):
        """Give every branch the gradient of the sum; add up what they return (None if it is not wanted)."""
        if self._together is not None:
            return self._together.backward(grad_out, input_gradient)
        grad_sum = self.relu.backward(grad_out)
        grad_x = self.dense.backward(grad_sum)
        grad_x += self.pointwise.backward(grad_sum)
        if self.identity is not None:
            grad_x += self.identity.backward(grad_sum)
        return grad_x if input_gradient else None

    def forget(self):
        """Drop what was kept for `backward`."""
        self._together = None
        self.relu.forget()

    def convolutions(self):
        """Return each branch as the kernel of a convolution without bias and the batch norm after it.

        The identity branch is a convolution too, with the 1x1 kernel that copies its input.
        """
        pairs = [(self.dense.conv.weight.peek(), self.dense.bn), (self.pointwise.conv.weight.peek(), self.pointwise.bn)]
        if self.identity is not None:
            unit = identity_kernel(self.out_channels, self.groups, self.identity.gamma.peek().dtype)
            pairs.append((unit, self.identity))
        return pairs

    def paths(self):
        """Return each branch as a path of one step."""
        branches = [self.dense, self.pointwise] + ([] if self.identity is None else [self.identity])
        return [path_of(branch, self.groups) for branch in branches]

    def branches(self):
        """Return the (kernel, bias) of each branch, its batch norm written into the kernel: equation 3."""
        return [fold_bn(kernel, bn) for kernel, bn in self.convolutions()]

    def fold(self):
        """Return the kernel (C_out, C_in / groups, 3, 3) and the bias (C_out,) of the one convolution."""
        return fuse_branches(self.branches())

    def fused(self):
        """Return the inference form, a new block."""
        return FusedRepVGGBlock(*self.fold(), self.stride, self.groups)


class FusedRepVGGBlock(Block):
    """The inference form: `ReLU(X * W + b)`, a 3x3 convolution with a bias.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, 3, 3)
        Or of another odd size K x K; the padding is K // 2, so that the picture keeps its size but for the stride.
    bias : ndarray (C_out,)
    stride, groups : int

    Attributes
    ----------
    reparam : Conv2d
        In a state dict "rbr_reparam".
    """

    reparam_name = "rbr_reparam"

    def __init__(self, kernel, bias, stride=1, groups=1):
        out_channels, depth_in, size, _ = kernel.shape
        super().__init__(depth_in * groups, out_channels, stride, groups)
        conv = Conv2d(
            self.in_channels, out_channels, size, stride, size // 2, groups, True, rng=None, dtype=kernel.dtype
        )
        conv.load_state_dict({"weight": kernel, "bias": bias})
        self.reparam = self.add_child(self.reparam_name, conv)
        self._out = None

    def forward(self, x):
        """Convolve and apply ReLU in one pass: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        out = self.reparam.forward(x, relu=True)
        self._out = out if self.training else None
        return out

    def backward(self, grad_out, input_gradient=True):
        """Pass the gradient back, for whoever trains the plain network further; None if it is not wanted."""
        if self._out is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        return self.reparam.backward(relu_backward(grad_out, self._out), input_gradient)

    def paths(self):
        """Return its one step."""
        return [path_of(self.reparam)]

    def forget(self):
        """Drop the output that was kept for `backward`."""
        self._out = None
