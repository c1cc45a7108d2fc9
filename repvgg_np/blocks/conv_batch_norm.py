"""A convolution without bias, and the batch norm after it: one branch of a block."""

import numpy as np

from repvgg_np.blocks.step import Step
from repvgg_np.fuse import fold_batch_norm
from repvgg_np.layers import BatchNorm2d, Conv2d, Layer


class ConvBatchNorm(Layer):
    """`BN(X * W)`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or pair of int
    groups : int
    rng : numpy.random.Generator
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, groups=1, *, rng, dtype=np.float32):
        super().__init__()
        conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups, False, rng=rng, dtype=dtype)
        self.conv = self.add_child("conv", conv)
        self.bn = self.add_child("bn", BatchNorm2d(out_channels, dtype=dtype))

    def forward(self, x):
        """Convolve, then normalise."""
        return self.bn(self.conv(x))

    def backward(self, grad_out):
        """Pass the gradient back through both."""
        return self.conv.backward(self.bn.backward(grad_out))

    def steps(self):
        """Return what it consists of, for a block that describes itself: one step."""
        conv = self.conv
        return [Step(conv.weight.peek(), self.bn, conv.stride[0], conv.padding, conv.groups)]


def fold_bn(kernel, bn):
    """Write a `BatchNorm2d` into the kernel before it; return kernel and bias."""
    return fold_batch_norm(kernel, bn.gamma.peek(), bn.beta.peek(), bn.running_mean, bn.running_var, bn.eps)
