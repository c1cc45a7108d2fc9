"""ResNet's basic block: two 3x3 layers and a shortcut around both. "Residual Reorg" of table 7 is made of it."""

import numpy as np

from repvgg_np.blocks.block import Block
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.blocks.step import Fold, Step, path_of
from repvgg_np.fuse import identity_kernel
from repvgg_np.layers import Conv2d, ReLU, Residual, Sequential


class ResidualBlock(Block):
    """The training form: `ReLU(BN(ReLU(BN(X * W)) * V) + shortcut(X))`.

    The shortcut is the identity where input and output have the same shape, and elsewhere a 1x1 convolution of the same
    stride with a batch norm, as in ResNet ("option B"); the RepVGG paper only says "just like ResNet-18/34".

    Its batch norms fold into the convolutions, but the shortcut stays: with a ReLU between, two convolutions never are
    one.

    In a state dict "conv1", "bn1", "conv2", "bn2", "downsample.0" and "downsample.1", as in torchvision.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
        The stride is the first convolution's.
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        self.first = ConvBatchNorm(in_channels, out_channels, 3, stride, 1, groups, rng=rng, dtype=dtype)
        self.second = ConvBatchNorm(out_channels, out_channels, 3, 1, 1, groups, rng=rng, dtype=dtype)
        inner = {"conv1": self.first.conv, "bn1": self.first.bn, "relu1": ReLU()}
        main = Sequential(**inner, conv2=self.second.conv, bn2=self.second.bn)
        self.shortcut = shortcut = None
        if not self.same_shape:
            self.shortcut = ConvBatchNorm(in_channels, out_channels, 1, stride, 0, groups, rng=rng, dtype=dtype)
            shortcut = Sequential(downsample=Sequential(self.shortcut.conv, self.shortcut.bn))
        self._inner = Sequential(**inner)
        self.layers = self.add_child("", Residual(main, shortcut, relu=True))

    def forward(self, x):
        """Compute both layers and the shortcut: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        return self.layers(x)

    def backward(self, grad_out):
        """Pass the gradient of the sum back both ways; add up what comes of it."""
        return self.layers.backward(grad_out)

    def paths(self):
        """Return two steps in a row, and the shortcut."""
        first, second = (layer.conv.weight.peek() for layer in (self.first, self.second))
        layers = [
            Step(first, self.first.bn, self.stride, (1, 1), self.groups, run=self._inner),
            Step(second, self.second.bn, 1, (1, 1), self.groups),
        ]
        if self.shortcut is not None:
            return [layers, path_of(self.shortcut)]
        unit = identity_kernel(self.out_channels, self.groups, second.dtype)
        return [layers, [Step(unit, groups=self.groups, multiplies=False)]]

    def folds(self):
        """Return each convolution with its batch norm: two in a row, and the shortcut."""
        return [[Fold([[step]], None, step.stride, step.groups) for step in path] for path in self.paths()]

    def fused(self):
        """Return the inference form, a new block: without batch norms, with the shortcut."""
        shape = (self.in_channels, self.out_channels, self.stride, self.groups)
        fused = FusedResidualBlock(*shape, dtype=self.first.conv.weight.peek().dtype)
        layers, shortcut = self.folds()
        pairs = list(zip((fused.first, fused.second), layers, strict=True))
        if fused.shortcut is not None:
            pairs.append((fused.shortcut, shortcut[0]))
        for conv, fold in pairs:
            kernel, bias = fold.kernel_and_bias()
            conv.load_state_dict({"weight": kernel, "bias": bias})
        return fused


class FusedResidualBlock(Block):
    """The inference form: `ReLU(ReLU(X * W + b) * V + c + shortcut(X))`.

    In a state dict "conv1", "conv2" and, where the shape changes, "downsample".

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int
    dtype : dtype
    """

    def __init__(self, in_channels, out_channels, stride=1, groups=1, *, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        options = {"groups": groups, "rng": None, "dtype": dtype}
        self.first = Conv2d(in_channels, out_channels, 3, stride, 1, **options)
        self.second = Conv2d(out_channels, out_channels, 3, 1, 1, **options)
        self.shortcut = shortcut = None
        if not self.same_shape:
            self.shortcut = Conv2d(in_channels, out_channels, 1, stride, 0, **options)
            shortcut = Sequential(downsample=self.shortcut)
        main = Sequential(conv1=self.first, relu1=ReLU(), conv2=self.second)
        self.layers = self.add_child("", Residual(main, shortcut, relu=True))

    def forward(self, x):
        """Compute both layers and the shortcut: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        return self.layers(x)

    def backward(self, grad_out):
        """Pass the gradient back, for whoever trains this form further."""
        return self.layers.backward(grad_out)

    def paths(self):
        """Return its steps."""
        layers = path_of(self.first) + path_of(self.second)
        return [layers] if self.shortcut is None else [layers, path_of(self.shortcut)]


def residual_stage(make_layer, make_block, shapes):
    """Arrange the layers of a stage in pairs, each pair a residual block.

    A stage of an odd number of layers begins with one that stands by itself. Of RepVGG-B0's stages of 1, 4, 6, 16 and 1
    layers that makes one layer, 2, 3 and 8 blocks, and one layer: "Residual Reorg" as the paper describes it.

    Parameters
    ----------
    make_layer, make_block : callable
        Make a block of one layer, or of two, of `(in_channels, out_channels, stride, groups)`.
    shapes : list of tuple
        Of each layer of the stage.

    Returns
    -------
    list of Block

    Raises
    ------
    ValueError
        If the two layers of a pair have different groups, as in the g2 and g4 networks: the paper has none such.
    """
    blocks = [make_layer(*shapes[0])] if len(shapes) % 2 else []
    for one, two in zip(shapes[len(blocks) :: 2], shapes[len(blocks) + 1 :: 2], strict=True):
        if one[3] != two[3]:
            raise ValueError(f"both layers of a residual block must have the same groups, got {one[3]} and {two[3]}")
        blocks.append(make_block(one[0], two[1], one[2], two[3]))
    return blocks
