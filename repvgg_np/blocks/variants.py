"""Every kind of block by its name, and how the layers of a network's stage are made of it.

A network is described by its layers, `(in_channels, out_channels, stride, groups)` each. Most variants make one block
of each layer; MobileOne's makes two, a residual block takes two layers together.
"""

import difflib
import functools
from dataclasses import dataclass

import numpy as np

from repvgg_np.blocks.ablation import (
    IdentityWithoutBNBlock,
    PostAdditionBNBlock,
    ReLUInBranchesBlock,
    RepVGGBlockWithout,
)
from repvgg_np.blocks.asymmetric import AsymmetricBlock
from repvgg_np.blocks.computed_kernel import (
    ComputedKernelBlock,
    DiracConv2d,
    IdentityPlusConv2d,
    IdentityPlusPointwiseConv2d,
)
from repvgg_np.blocks.diverse_branch import DiverseBranchBlock
from repvgg_np.blocks.mobileone import FusedMobileOneBlock, MobileOneBlock
from repvgg_np.blocks.repvgg import FusedRepVGGBlock, RepVGGBlock
from repvgg_np.blocks.residual import FusedResidualBlock, ResidualBlock, residual_stage

DEFAULT = "repvgg"


@dataclass(frozen=True)
class Variant:
    """A kind of block.

    Attributes
    ----------
    text : str
        What it is, in a line.
    training : callable
        Makes a stage's blocks in training form: `training(shapes, rng=..., dtype=...)`, a list of Block.
    inference : callable or None
        Makes them in inference form, of zeros: `inference(shapes, dtype=...)`. None if there is no such form.
    kernel_numbers : callable
        How many numbers the kernels of a layer's inference form hold at least: `kernel_numbers(*shape)`.
    """

    text: str
    training: object
    inference: object
    kernel_numbers: object


def find_variant(name):
    """Return a variant by its name.

    Parameters
    ----------
    name : str
        One of `VARIANTS`.

    Returns
    -------
    Variant

    Raises
    ------
    ValueError
        If there is none of that name; the message offers the nearest.
    """
    if isinstance(name, str) and name in VARIANTS:
        return VARIANTS[name]
    near = difflib.get_close_matches(str(name), VARIANTS, n=3, cutoff=0.5)
    offers = f"; did you mean {', '.join(near)}?" if near else f"; there are {', '.join(VARIANTS)}"
    raise ValueError(f"variant must be a known kind of block, got {name!r}{offers}")


def _dense_numbers(in_channels, out_channels, stride, groups):
    """Count the numbers of a 3x3 kernel."""
    return 9 * in_channels * out_channels // groups


def _fused_layer(in_channels, out_channels, stride, groups, *, dtype, form=FusedRepVGGBlock, size=3):
    """Make one layer of the plain network, of zeros."""
    kernel = np.zeros((out_channels, in_channels // groups, size, size), dtype)
    return form(kernel, np.zeros(out_channels, dtype), stride, groups)


def _each(make):
    """Make one block of each layer."""

    def stage(shapes, **options):
        return [make(*shape, **options) for shape in shapes]

    return stage


def _folding(make, text):
    """Describe a variant whose blocks fold to one 3x3 convolution each."""
    return Variant(text, _each(make), _each(_fused_layer), _dense_numbers)


def _residual_training(shapes, **options):
    """Make pairs of layers residual blocks."""
    single = functools.partial(RepVGGBlockWithout, pointwise=False, identity=False, **options)
    return residual_stage(single, functools.partial(ResidualBlock, **options), shapes)


def _residual_inference(shapes, *, dtype):
    """Make the same of zeros, without batch norms."""
    single = functools.partial(_fused_layer, dtype=dtype)
    return residual_stage(single, functools.partial(FusedResidualBlock, dtype=dtype), shapes)


def _mobileone_layers(in_channels, out_channels, stride, groups):
    """Split a layer into a depthwise 3x3 one and a pointwise 1x1 one; the first of a network, on 3 colours, is dense.

    As `(in_channels, out_channels, size, stride, groups)`. The groups of g2 and g4 networks go to the pointwise one.
    """
    if in_channels == 3:
        return [(in_channels, out_channels, 3, stride, groups)]
    return [(in_channels, in_channels, 3, stride, in_channels), (in_channels, out_channels, 1, 1, groups)]


def _mobileone_training(shapes, **options):
    """Make MobileOne's two blocks of each layer."""
    return [MobileOneBlock(*layer, **options) for shape in shapes for layer in _mobileone_layers(*shape)]


def _mobileone_inference(shapes, *, dtype):
    """Make the two convolutions that they become, of zeros."""
    return [
        _fused_layer(c_in, c_out, stride, groups, dtype=dtype, form=FusedMobileOneBlock, size=size)
        for shape in shapes
        for c_in, c_out, size, stride, groups in _mobileone_layers(*shape)
    ]


def _mobileone_numbers(*shape):
    """Count the numbers of both kernels."""
    return sum(size**2 * c_in * c_out // groups for c_in, c_out, size, _, groups in _mobileone_layers(*shape))


def _without(pointwise, identity):
    """Return a constructor of a block without one branch or both."""
    return functools.partial(RepVGGBlockWithout, pointwise=pointwise, identity=identity)


VARIANTS = {
    DEFAULT: _folding(RepVGGBlock, "the RepVGG block: 3x3, 1x1 and identity branch, each with its batch norm"),
    "no-identity": _folding(_without(True, False), "without the identity branch (table 6)"),
    "no-1x1": _folding(_without(False, True), "without the 1x1 branch (table 6)"),
    "plain": _folding(_without(False, False), "3x3 convolution and batch norm alone (table 6)"),
    "identity-without-bn": _folding(IdentityWithoutBNBlock, "no batch norm in the identity branch (table 7)"),
    "post-addition-bn": _folding(PostAdditionBNBlock, "one batch norm behind the addition, none in the branches"),
    "relu-in-branches": Variant(
        "ReLU in each branch (table 7); does not fold", _each(ReLUInBranchesBlock), None, _dense_numbers
    ),
    "diracnet": _folding(functools.partial(ComputedKernelBlock, DiracConv2d), "DiracNet's kernel (table 7)"),
    "trivial": _folding(
        functools.partial(ComputedKernelBlock, IdentityPlusConv2d), "identity kernel added to the 3x3 kernel (table 7)"
    ),
    "trivial-1x1": _folding(
        functools.partial(ComputedKernelBlock, IdentityPlusPointwiseConv2d), "identity and 1x1 kernel added to the 3x3"
    ),
    "acb": _folding(AsymmetricBlock, "ACNet's 3x3, 3x1 and 1x3 branches (table 7)"),
    "residual-reorg": Variant(
        "the 3x3 layers in residual blocks (table 7); keeps its shortcuts",
        _residual_training,
        _residual_inference,
        _dense_numbers,
    ),
    "dbb": _folding(DiverseBranchBlock, "the Diverse Branch Block (arXiv 2103.13425)"),
    "mobileone": Variant(
        "MobileOne's depthwise and pointwise blocks (arXiv 2206.04040)",
        _mobileone_training,
        _mobileone_inference,
        _mobileone_numbers,
    ),
}
