"""Blocks: what a network is made of, in its training form, and how it folds into its inference form."""

from repvgg_np.blocks.conv_batch_norm import ConvBatchNorm
from repvgg_np.blocks.repvgg import FusedRepVGGBlock, RepVGGBlock

__all__ = ["ConvBatchNorm", "FusedRepVGGBlock", "RepVGGBlock"]
