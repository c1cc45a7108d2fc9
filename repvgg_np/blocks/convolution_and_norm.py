"""A convolution with a batch norm right behind it, as ResNet and its relatives have: the case of one branch."""

from repvgg_np.blocks.step import Fold, Step


class ConvolutionAndNorm:
    """`BN(X * W + b)`, often without b, as one thing to fold and to verify: a view of two layers of a chain.

    Parameters
    ----------
    conv : Conv2d
    norm : BatchNorm2d

    Raises
    ------
    ValueError
        If the convolution has different strides down and across.
    """

    after = None

    def __init__(self, conv, norm):
        if conv.stride[0] != conv.stride[1]:
            raise ValueError(f"conv must have the same stride down and across, got {conv.stride}")
        self.conv, self.norm = conv, norm

    def __call__(self, x):
        """Convolve, then normalise."""
        return self.norm(self.conv(x))

    def paths(self):
        """Return its one step, as a path."""
        conv = self.conv
        bias = None if conv.bias is None else conv.bias.peek()
        return [[Step(conv.weight.peek(), self.norm, conv.stride[0], conv.padding, conv.groups, bias)]]

    def folds(self):
        """Return the one convolution that it becomes."""
        conv = self.conv
        return [[Fold(self.paths(), None, conv.stride[0], conv.groups, conv.padding)]]
