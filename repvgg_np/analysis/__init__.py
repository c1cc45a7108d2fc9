"""What a network costs, counted from its architecture; and what the paper found, as data to compare with."""

from repvgg_np.analysis.cost import LayerCost, network_cost
from repvgg_np.analysis.published import ABLATION_TOP_1, TABLE_6, TABLE_7, PublishedRow
from repvgg_np.analysis.ranks import spearman

__all__ = ["ABLATION_TOP_1", "TABLE_6", "TABLE_7", "LayerCost", "PublishedRow", "network_cost", "spearman"]
