"""Parameters, FLOPs and Winograd multiplications of a network, layer by layer, without running it.

As in the paper, a multiply-add counts as one FLOP, and bias additions, batch norm, ReLU and pooling are not counted.
"Wino MULs" are the multiplications if every 3x3 convolution of stride 1 is computed by Winograd's F(2x2, 3x3): 4/9 of
the FLOPs (section 2.4 and table 4). Convolutions in groups count too, depthwise ones do not: with one channel to a
group there is nothing to add up in the transformed domain, and the paper found none of EfficientNet's accelerated.

Where this and table 4 differ: its ResNet-50, 101 and 152 are the first version, with the stride in the 1x1 (here
"ResNet-50-v1"), while "ResNet-50" is what is called so today. And its Wino MULs of ResNeXt-101 and of RegNetX are
larger than the rule gives: the paper asked a GPU, convolution by convolution, which ones it accelerated (footnote 3).
"""

from dataclasses import dataclass

from repvgg_np.layers import BatchNorm2d, Conv2d, Linear
from repvgg_np.models import Baseline


@dataclass(frozen=True)
class LayerCost:
    """What one block or layer (or the classifier) costs for one picture.

    Attributes
    ----------
    name : str
    kind : str
    out_shape : tuple
        (C, H, W), or (C,) of a linear layer.
    parameters, flops, winograd_multiplications : int
    """

    name: str
    kind: str
    out_shape: tuple
    parameters: int
    flops: int
    winograd_multiplications: int


def network_cost(model, size=None):
    """Count the cost of each block and of the classifier; of a network without RepVGG's blocks, of each layer.

    Parameters
    ----------
    model : Network
        In training or inference form: RepVGG's training form has the 1x1 convolutions too.
    size : int, optional
        Height and width of the picture; without it, the one that the network is made for.

    Returns
    -------
    list of LayerCost

    Raises
    ------
    ValueError
        If `size` is no positive integer, or too small for the network.
    """
    size = model.config.input_size if size is None else size
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be an integer of at least 1, got {size!r}")
    if isinstance(model, Baseline):
        return _layer_costs(model, size)
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
                products, multiplications = _convolution_cost(step.kernel, step.stride, height * height)
                flops, winograd = flops + products, winograd + multiplications
    return flops, winograd


def _layer_costs(model, size):
    """Count the cost of each layer that has parameters, along the way of a picture's shape through the network."""
    costs = []
    for name, layer, in_shape, out_shape in model.trace((3, size, size))[1]:
        flops = winograd = 0
        kind = f"{in_shape[0]}->{out_shape[0]}"
        if isinstance(layer, Conv2d):
            weight = layer.weight.peek()
            flops, winograd = _convolution_cost(weight, layer.stride[0], out_shape[1] * out_shape[2])
            kind = f"{weight.shape[2]}x{weight.shape[3]}, {kind}, stride {layer.stride[0]}"
            kind += f", groups {layer.groups}" if layer.groups > 1 else ""
        elif isinstance(layer, Linear):
            flops = winograd = layer.weight.peek().size
        elif isinstance(layer, BatchNorm2d):
            kind = f"batch norm, {out_shape[0]}"
        else:
            continue
        costs.append(LayerCost(name, kind, out_shape, layer.count_parameters(), flops, winograd))
    return costs


def _convolution_cost(kernel, stride, pixels):
    """Return the FLOPs and the Winograd multiplications of a convolution that has so many output pixels."""
    flops = pixels * kernel.size
    fast = kernel.shape[2:] == (3, 3) and stride == 1 and kernel.shape[1] > 1
    return flops, flops * 4 // 9 if fast else flops
