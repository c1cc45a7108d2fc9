"""Blocks: what a network is made of, in its training form, and how it folds into its inference form."""

from repvgg_np.blocks.ablation import (
    IdentityWithoutBNBlock,
    PostAdditionBNBlock,
    ReLUInBranchesBlock,
    RepVGGBlockWithout,
)
from repvgg_np.blocks.asymmetric import AsymmetricBlock
from repvgg_np.blocks.block import Block
from repvgg_np.blocks.computed_kernel import (
    ComputedKernelBlock,
    DiracConv2d,
    IdentityPlusConv2d,
    IdentityPlusPointwiseConv2d,
)
from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.blocks.convolution_and_norm import ConvolutionAndNorm
from repvgg_np.blocks.diverse_branch import DiverseBranchBlock
from repvgg_np.blocks.mobileone import FusedMobileOneBlock, MobileOneBlock
from repvgg_np.blocks.repvgg import FusedRepVGGBlock, RepVGGBlock
from repvgg_np.blocks.residual import FusedResidualBlock, ResidualBlock
from repvgg_np.blocks.variants import DEFAULT, VARIANTS, find_variant

__all__ = [
    "DEFAULT",
    "VARIANTS",
    "AsymmetricBlock",
    "Block",
    "ComputedKernelBlock",
    "ConvBatchNorm",
    "ConvolutionAndNorm",
    "DiracConv2d",
    "DiverseBranchBlock",
    "FusedMobileOneBlock",
    "FusedRepVGGBlock",
    "FusedResidualBlock",
    "IdentityPlusConv2d",
    "IdentityPlusPointwiseConv2d",
    "IdentityWithoutBNBlock",
    "MobileOneBlock",
    "PostAdditionBNBlock",
    "ReLUInBranchesBlock",
    "RepVGGBlock",
    "RepVGGBlockWithout",
    "ResidualBlock",
    "find_variant",
]
