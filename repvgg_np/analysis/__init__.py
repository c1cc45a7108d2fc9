"""What a network costs: parameters and multiplications, counted from its architecture."""

from repvgg_np.analysis.cost import LayerCost, network_cost

__all__ = ["LayerCost", "network_cost"]
