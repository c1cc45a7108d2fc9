"""What every block is, whatever it is made of: something that says of which convolutions it consists."""

from repvgg_np.blocks.step import Fold
from repvgg_np.layers import Layer


class Block(Layer):
    """One place in a network: `ReLU(BN(sum of paths))`, most often without that BN.

    Parameters
    ----------
    in_channels, out_channels, stride, groups : int

    Attributes
    ----------
    after : BatchNorm2d or None
        The batch norm behind the addition.
    """

    after = None

    def __init__(self, in_channels, out_channels, stride=1, groups=1):
        super().__init__()
        self.in_channels, self.out_channels, self.stride, self.groups = in_channels, out_channels, stride, groups

    @property
    def same_shape(self):
        """Whether input and output have the same shape, so that an identity branch can be."""
        return self.in_channels == self.out_channels and self.stride == 1

    def paths(self):
        """Return the steps of each path, as they are computed in training.

        Returns
        -------
        list of list of Step
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it consists of")

    def folds(self):
        """Return what the inference form consists of: paths again, of convolutions that other paths have become.

        Of most blocks that is one path of one convolution.

        Returns
        -------
        list of list of Fold
        """
        return [[Fold(self.paths(), self.after, self.stride, self.groups)]]
