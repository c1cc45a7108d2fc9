"""The Diverse Branch Block (arXiv 2103.13425): four branches, two of them with convolutions in a row.

Its six transforms are in `fuse_sequence.py`.
"""

import dataclasses

import numpy as np

from repvgg_np.blocks.bordered_batch_norm import BorderedBatchNorm
from repvgg_np.blocks.branched import BranchedBlock
from repvgg_np.blocks.computed_kernel import IdentityPlusConv2d
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.blocks.step import Step, path_of
from repvgg_np.fuse_sequence import average_kernel
from repvgg_np.kernels import conv2d, conv2d_backward
from repvgg_np.layers import BatchNorm2d, Conv2d, Layer


class AveragePool(Layer):
    """The average over K x K pixels, as the convolution that it is (transform V).

    Parameters
    ----------
    channels, size, stride, padding : int
    dtype : dtype

    Attributes
    ----------
    kernel : ndarray (C, 1, K, K)
        All 1 / K^2: each channel is a group of its own.
    """

    def __init__(self, channels, size, stride, padding, *, dtype=np.float32):
        super().__init__()
        self.kernel, self.stride, self.padding = average_kernel(channels, size, dtype), stride, padding
        self._x = None

    def forward(self, x):
        """Average: (N, C, H, W) -> (N, C, H_out, W_out)."""
        self._x = x if self.training else None
        return conv2d(x, self.kernel, None, self.stride, self.padding, len(self.kernel))

    def backward(self, grad_out):
        """Share each output's gradient among its pixels."""
        if self._x is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        geometry = (self.stride, self.padding, len(self.kernel))
        return conv2d_backward(grad_out, self._x, self.kernel, *geometry, bias_gradient=False)[0]

    def steps(self):
        """Return its one step, which counts as no multiplication (the paper doesn't count pooling)."""
        padding = (self.padding, self.padding)
        return [Step(self.kernel, None, self.stride, padding, len(self.kernel), multiplies=False)]

    def forget(self):
        """Drop the input that was kept for `backward`."""
        self._x = None


class Chain(Layer):
    """Convolutions in a row, a batch norm after each: `BN(BN(X * W1) * W2)`, or only the second half.

    Parameters
    ----------
    parts : dict of str to Layer
        By their names in a state dict: a convolution, its `BorderedBatchNorm`, a convolution, its `BatchNorm2d`; or the
        last two alone.
    """

    def __init__(self, parts):
        super().__init__()
        self.parts = [self.add_child(name, part) for name, part in parts.items()]

    def forward(self, x):
        """Pass `x` through every part."""
        for part in self.parts:
            x = part(x)
        return x

    def backward(self, grad_out):
        """Pass the gradient back through every part."""
        for part in reversed(self.parts):
            grad_out = part.backward(grad_out)
        return grad_out

    def steps(self):
        """Return its two steps, or its one."""
        *first, last_conv, last_bn = self.parts
        steps = []
        if first:
            conv, bordered = first
            (step,) = path_of(conv)
            steps.append(
                dataclasses.replace(step, norm=bordered.bn, border=bordered.border, run=lambda x: bordered(conv(x)))
            )
        (step,) = path_of(last_conv)
        return [*steps, dataclasses.replace(step, norm=last_bn)]


class DiverseBranchBlock(BranchedBlock):
    """`ReLU(BN(X * W3) + BN(X * W1) + BN(average(BN(X * A))) + BN(BN(X * B) * C))`.

    W3 and C are 3x3 kernels, W1, A and B 1x1; B is the identity with a kernel added, zeros at first. The batch norm
    between two convolutions has a border: see `bordered_batch_norm.py`. Where every channel is a group of its own (a
    depthwise block) the second branch and A are left out, and B has twice as many channels instead of the identity: all
    as in the official code.

    In a state dict "dbb_origin", "dbb_1x1", "dbb_avg" and "dbb_1x1_kxk", as in the official code; fused it is the same
    plain layer as a RepVGG block, and has that name.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        options = {"rng": rng, "dtype": dtype}
        depthwise = groups == out_channels
        inner = 2 * in_channels if depthwise else in_channels
        self.add_branch("dbb_origin", ConvBatchNorm(in_channels, out_channels, 3, stride, 1, groups, **options))
        average = {}
        if not depthwise:
            average["conv"] = Conv2d(in_channels, out_channels, 1, 1, 0, groups, False, **options)
            average["bn"] = BorderedBatchNorm(out_channels, 1, dtype=dtype)
            self.add_branch("dbb_1x1", ConvBatchNorm(in_channels, out_channels, 1, stride, 0, groups, **options))
        average["avg"] = AveragePool(out_channels, 3, stride, 1 if depthwise else 0, dtype=dtype)
        average["avgbn"] = BatchNorm2d(out_channels, dtype=dtype)
        self.add_branch("dbb_avg", Chain(average))
        if depthwise:
            first = {"conv1": Conv2d(in_channels, inner, 1, 1, 0, groups, False, **options)}
        else:
            first = {"idconv1": IdentityPlusConv2d(in_channels, inner, 1, 1, 0, groups, rng=None, dtype=dtype)}
        second = {
            "bn1": BorderedBatchNorm(inner, 1, dtype=dtype),
            "conv2": Conv2d(inner, out_channels, 3, stride, 0, groups, False, **options),
            "bn2": BatchNorm2d(out_channels, dtype=dtype),
        }
        self.add_branch("dbb_1x1_kxk", Chain(first | second))
