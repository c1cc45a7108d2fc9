"""A convolution and the batch norm right behind it: in inference the two are one convolution with a bias.

That is equation 3 of the paper, and the one step of the re-parameterization that every network with batch norm can
take. The paper's comparisons are between networks of which all have taken it (section 4.1).
"""

from repvgg_np.fuse import fold_batch_norm
from repvgg_np.fuse_sequence import fold_batch_norm_after_bias
from repvgg_np.layers.convolution import Conv2d


class FoldedConv2d(Conv2d):
    """A convolution into which a batch norm was written.

    Parameters
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    bias : ndarray (C_out,)
    stride, padding : pair of int
    groups : int
    """

    def __init__(self, kernel, bias, stride, padding, groups):
        out_channels, depth_in = kernel.shape[:2]
        geometry = (kernel.shape[2:], stride, padding, groups)
        super().__init__(depth_in * groups, out_channels, *geometry, rng=None, dtype=kernel.dtype)
        self.load_state_dict({"weight": kernel, "bias": bias})


def fold_convolution(conv, norm):
    """Write a batch norm into the convolution before it.

    Parameters
    ----------
    conv : Conv2d
        With or without a bias.
    norm : BatchNorm2d

    Returns
    -------
    FoldedConv2d
        A new layer.
    """
    kernel, statistics = conv.weight.peek(), (norm.gamma.peek(), norm.beta.peek(), norm.running_mean, norm.running_var)
    if conv.bias is None:
        kernel, bias = fold_batch_norm(kernel, *statistics, norm.eps)
    else:
        kernel, bias = fold_batch_norm_after_bias(kernel, conv.bias.peek(), *statistics, norm.eps)
    return FoldedConv2d(kernel, bias, conv.stride, conv.padding, conv.groups)
