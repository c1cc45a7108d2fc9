"""What a network costs, counted from its architecture; and what the paper found, as data to compare with.

`cost.py` counts parameters, FLOPs and bytes; `dataflow.py` is the graph from which `memory.py` and, in their own way,
`paths.py` and `parallelism.py` draw theirs; `ensemble.py` deletes branches; `published.py` is the paper.
"""

from repvgg_np.analysis.cost import LayerCost, network_cost
from repvgg_np.analysis.ensemble import branches, delete, draw_order
from repvgg_np.analysis.memory import example_blocks, measure_peak, memory_steps
from repvgg_np.analysis.parallelism import operators_per_block
from repvgg_np.analysis.paths import count_paths, path_lengths
from repvgg_np.analysis.published import ABLATION_TOP_1, TABLE_6, TABLE_7, PublishedRow
from repvgg_np.analysis.ranks import disagreements, spearman

__all__ = [
    "ABLATION_TOP_1",
    "TABLE_6",
    "TABLE_7",
    "LayerCost",
    "PublishedRow",
    "branches",
    "count_paths",
    "delete",
    "disagreements",
    "draw_order",
    "example_blocks",
    "measure_peak",
    "memory_steps",
    "network_cost",
    "operators_per_block",
    "path_lengths",
    "spearman",
]
