"""A sum of any branches that becomes one convolution: what most variants of the RepVGG block are."""

import numpy as np

from repvgg_np.blocks.block import Block
from repvgg_np.blocks.repvgg import FusedRepVGGBlock
from repvgg_np.blocks.step import Step, path_of
from repvgg_np.fuse import identity_kernel
from repvgg_np.layers import Layer, ReLU


class BranchedBlock(Block):
    """The training form `ReLU(BN(branch 1 + branch 2 + ...))`, most often without that BN.

    A subclass adds its branches with `add_branch`, and the batch norm behind the addition, if any, with `add_after`.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    """

    fused_form = FusedRepVGGBlock

    def __init__(self, in_channels, out_channels, stride=1, groups=1):
        super().__init__(in_channels, out_channels, stride, groups)
        self._branches = []
        self.relu = ReLU()
        self.add_child("nonlinearity", self.relu)

    def add_branch(self, name, layer):
        """Add a branch that has this name in a state dict. The first one must return a new array."""
        self._branches.append(self.add_child(name, layer))
        return layer

    def add_after(self, name, norm):
        """Put a batch norm behind the addition."""
        self.after = self.add_child(name, norm)

    def forward(self, x):
        """Add the branches, then ReLU: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        total = self._branches[0](x)
        for branch in self._branches[1:]:
            total += branch(x)
        return self.relu(total if self.after is None else self.after(total))

    def backward(self, grad_out):
        """Give every branch the gradient of the sum; add up what they return."""
        grad_sum = self.relu.backward(grad_out)
        if self.after is not None:
            grad_sum = self.after.backward(grad_sum)
        grad_x = self._branches[0].backward(grad_sum)
        for branch in self._branches[1:]:
            grad_x += branch.backward(grad_sum)
        return grad_x

    def paths(self):
        """Return the steps of each branch."""
        return [path_of(branch, self.groups) for branch in self._branches]

    def branches(self):
        """Return the (kernel, bias) of each branch, its own batch norms written into the kernel."""
        return self.folds()[0][0].branches()

    def fold(self):
        """Return the kernel (C_out, C_in / groups, K, K) and the bias (C_out,) of the one convolution."""
        return self.folds()[0][0].kernel_and_bias()

    def fused(self):
        """Return the inference form, a new block."""
        return self.fused_form(*self.fold(), self.stride, self.groups)


class Identity(Layer):
    """The branch that is nothing but its input.

    Parameters
    ----------
    channels, groups : int
    dtype : dtype

    Attributes
    ----------
    kernel : ndarray (C, C / groups, 1, 1)
        Of the 1x1 convolution that does the same.
    """

    def __init__(self, channels, groups=1, *, dtype=np.float32):
        super().__init__()
        self.kernel, self.groups = identity_kernel(channels, groups, dtype), groups

    def forward(self, x):
        """Return `x` itself."""
        return x

    def backward(self, grad_out):
        """Return the gradient itself."""
        return grad_out

    def steps(self):
        """Return its one step, which multiplies nothing."""
        return [Step(self.kernel, groups=self.groups, multiplies=False)]
