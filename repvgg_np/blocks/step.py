"""What a block says of itself: the convolutions that it consists of, in a form that can be folded and reasoned about.

A block is a sum of *paths*; a path is *steps* in a row; a step is a convolution and perhaps a batch norm. Some paths
become one convolution (a `Fold`). From this description alone a block is fused, its cost is counted, and the rounding
bound of its fusion is computed (`fusion_bound.py`).
"""

from dataclasses import dataclass

import numpy as np

from repvgg_np.fuse import identity_kernel
from repvgg_np.fuse_sequence import add_branches, fold_batch_norm_after_bias, fold_sequence, join_groups
from repvgg_np.layers import Conv2d


@dataclass(frozen=True, eq=False)
class Step:
    """A convolution, and what follows it at once.

    Attributes
    ----------
    kernel : ndarray (C_out, C_in / groups, K_h, K_w)
    norm : BatchNorm2d or None
    stride : int
    padding : pair of int
        Of zeros. After a step with a border, none.
    groups : int
    bias : ndarray (C_out,) or None
        Of the convolution.
    multiplies : bool
        False for a convolution that costs none: the identity, or an average.
    border : int
        How many pixels are put around the output, of what the norm makes of zero.
    run : callable or None
        Computes the step's output as the block does, in inference mode, ReLU and border included. The last step of a
        path needs none.
    """

    kernel: np.ndarray
    norm: object = None
    stride: int = 1
    padding: tuple = (0, 0)
    groups: int = 1
    bias: np.ndarray = None
    multiplies: bool = True
    border: int = 0
    run: object = None

    def folded(self, groups, absolute=False, guard=0):
        """Return the kernel and bias of the step as one convolution of so many groups (fewer than its own, or equal).

        With `absolute`, the same over absolute values: no smaller than what it is the sum of. `guard` is added to them.
        """
        kernel = self.kernel
        bias = np.zeros(len(kernel), kernel.dtype) if self.bias is None else self.bias
        if absolute:
            kernel, bias = np.abs(kernel), np.abs(bias)
        if self.norm is None:
            kernel, bias = kernel.copy(), bias.copy()
        else:
            kernel, bias = fold_batch_norm_after_bias(kernel, bias, *norm_numbers(self.norm, absolute))
        kernel = join_groups(kernel, self.groups, groups)
        return (kernel + guard, bias + guard) if absolute and guard else (kernel, bias)

    def roundings(self):
        """Count the roundings that a term of the folded kernel, and of the bias, has gone through.

        Of the kernel, 4: var + eps, root, quotient, product. Of the bias 5; 6 where one is subtracted from the mean.
        """
        if self.norm is None:
            return 0, 0
        return (4, 5) if self.bias is None else (4, 6)


@dataclass(frozen=True, eq=False)
class Fold:
    """Paths that become one convolution: their sum, with perhaps a batch norm behind it.

    Attributes
    ----------
    paths : list of list of Step
    after : BatchNorm2d or None
    stride, groups : int
        Of the one convolution.
    padding : pair of int, optional
        Likewise; without it, half of the kernel's size.
    """

    paths: list
    after: object = None
    stride: int = 1
    groups: int = 1
    padding: tuple = None

    def branches(self, absolute=False, guard=0):
        """Return the (kernel, bias) of each path."""
        folded = []
        for path in self.paths:
            own_guard = guard if len(path) > 1 else 0  # only of factors that are multiplied with one another
            parts = [step.folded(self.groups, absolute, own_guard) for step in path]
            whole = parts[0]
            for part in parts[1:]:
                whole = fold_sequence(whole, part, self.groups)
            folded.append(whole)
        return folded

    def kernel_and_bias(self, absolute=False, guard=0):
        """Return the one convolution's kernel (C_out, C_in / groups, K_h, K_w) and bias (C_out,)."""
        kernel, bias = add_branches(self.branches(absolute, guard))
        if self.after is None:
            return kernel, bias
        gamma, beta, mean, var, eps = norm_numbers(self.after, absolute)
        return fold_batch_norm_after_bias(kernel, bias, gamma, beta, mean, var, eps)

    def roundings(self):
        """Count the roundings that a term of the kernel, and of the bias, may have gone through.

        First those of the steps. A sequence: a product and a sum over the channels between (of the bias, over the
        pixels of the kernel too). Then the additions, and the batch norm behind them.
        """
        kernel_count = bias_count = 0
        for path in self.paths:
            kernel_own, bias_own = path[0].roundings()
            for step in path[1:]:
                kernel_step, bias_step = step.roundings()
                middle = step.kernel.shape[1] * step.groups // self.groups  # channels between, in a group
                pixels = step.kernel.shape[2] * step.kernel.shape[3]
                bias_own = max(bias_step, bias_own + kernel_step + middle * pixels) + 1
                kernel_own = kernel_own + kernel_step + middle
            kernel_count, bias_count = max(kernel_count, kernel_own), max(bias_count, bias_own)
        additions = len(self.paths) - 1
        kernel_count, bias_count = kernel_count + additions, bias_count + additions
        return (kernel_count, bias_count) if self.after is None else (kernel_count + 4, bias_count + 6)


def norm_numbers(norm, absolute=False):
    """Return what `fold_batch_norm` wants to know of a `BatchNorm2d`; with `absolute`, so that all terms add up."""
    gamma, beta, mean = norm.gamma.peek(), norm.beta.peek(), norm.running_mean
    if absolute:  # bias = beta - mean gamma / std
        gamma, beta, mean = np.abs(gamma), np.abs(beta), -np.abs(mean)
    return gamma, beta, mean, norm.running_var, norm.eps


def path_of(layer, groups=1):
    """Return the steps of a branch: of a layer that knows them (`steps()`), of a convolution, or of a batch norm.

    A batch norm alone is a step too, with the identity's kernel, for which the groups must be known.
    """
    if hasattr(layer, "steps"):
        return layer.steps()
    if isinstance(layer, Conv2d):
        bias = None if layer.bias is None else layer.bias.peek()
        return [Step(layer.weight.peek(), None, layer.stride[0], layer.padding, layer.groups, bias)]
    gamma = layer.gamma.peek()
    return [Step(identity_kernel(gamma.size, groups, gamma.dtype), layer, groups=groups, multiplies=False)]
