"""Into how many operators a block is broken up: the degree of parallelism (section 3.1 of the paper).

Many small operators keep a parallel device less busy than few large ones, and each has to be started. The count is that
of ShuffleNetV2 (arXiv 1807.11164): the convolutions and poolings of one building block. From there the paper quotes 13
for NASNet-A, 2 or 3 for ResNets, and says that RepVGG's is 1.
"""

import statistics

from repvgg_np.blocks import Block
from repvgg_np.layers import AdaptiveAvgPool2d, AvgPool2d, Concatenate, Conv2d, GlobalAvgPool, MaxPool2d, Residual

SINGLE = (Conv2d, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, GlobalAvgPool)


def count_operators(layer):
    """Count the convolutions and poolings of a layer or block.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    int
    """
    if isinstance(layer, Block):
        return sum(step.multiplies for path in layer.paths() for step in path)
    return sum(isinstance(part, SINGLE) for _, part in layer.named_layers())


def operators_per_block(model):
    """Return how many operators most building blocks of a network have.

    A building block is a residual connection or branches side by side, with all that is inside; in RepVGG a block; in a
    network that has nothing of the kind (VGG, MobileNetV1), every convolution is one by itself.

    Parameters
    ----------
    model : Network

    Returns
    -------
    int
    """
    blocks = {}
    for name, layer in model.named_layers():
        inside = any(name.startswith(f"{outer}.") or name == outer for outer in blocks)
        if isinstance(layer, (Block, Residual, Concatenate)) and not inside:
            blocks[name] = count_operators(layer)
    return statistics.mode(blocks.values()) if blocks else 1
