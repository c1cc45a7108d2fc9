"""Parameters, FLOPs and Winograd multiplications of a network, layer by layer, without running it.

As in the paper, a multiply-add counts as one FLOP, and bias additions, batch norm, ReLU and pooling are not counted.
"Wino MULs" are the multiplications if every 3x3 convolution of stride 1 is computed by Winograd's F(2x2, 3x3): 4/9 of
the FLOPs (section 2.4 and table 4).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCost:
    """What one block (or the classifier) costs for one picture.

    Attributes
    ----------
    name : str
    kind : str
    out_shape : tuple
        (C, H, W), or (C,) of the classifier.
    parameters, flops, winograd_multiplications : int
    """

    name: str
    kind: str
    out_shape: tuple
    parameters: int
    flops: int
    winograd_multiplications: int


def network_cost(model, size=None):
    """Count the cost of each block and of the classifier.

    Parameters
    ----------
    model : RepVGG
        In training or inference form: the training form has the 1x1 convolutions too.
    size : int, optional
        Height and width of the picture; without it, the one that the network is made for.

    Returns
    -------
    list of LayerCost

    Raises
    ------
    ValueError
        If `size` is no positive integer.
    """
    size = model.config.input_size if size is None else size
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be an integer of at least 1, got {size!r}")
    costs = []
    for name, block in model.blocks():
        flops, winograd = _block_cost(block, size)
        size = (size - 1) // block.stride + 1
        kind = f"{block.in_channels}->{block.out_channels}, stride {block.stride}"
        kind += f", groups {block.groups}" if block.groups > 1 else ""
        shape = (block.out_channels, size, size)
        costs.append(LayerCost(name, kind, shape, block.count_parameters(), flops, winograd))
    parameters = model.linear.count_parameters()
    products = model.linear.weight.peek().size
    kind = f"{products // model.num_classes}->{model.num_classes}"
    costs.append(LayerCost("linear", kind, (model.num_classes,), parameters, products, products))
    return costs


def _block_cost(block, size):
    """Return the FLOPs and the Winograd multiplications of all convolutions of a block, on a picture of this size."""
    flops = winograd = 0
    for path in block.paths():
        height = size
        for step in path:
            height = (height - 1) // step.stride + 1
            if step.multiplies:
                products = height * height * step.kernel.size
                fast = step.kernel.shape[2:] == (3, 3) and step.stride == 1
                flops += products
                winograd += products * 4 // 9 if fast else products
    return flops, winograd
