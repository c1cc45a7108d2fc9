"""Parameters, FLOPs, Winograd multiplications and memory access of a network, layer by layer, without running it.

As in the paper, a multiply-add counts as one FLOP, and bias additions, batch norm, ReLU and pooling are not counted.
"Wino MULs" are the multiplications if every 3x3 convolution of stride 1 is computed by Winograd's F(2x2, 3x3): 4/9 of
the FLOPs (section 2.4 and table 4). Convolutions in groups count too, depthwise ones do not: with one channel to a
group there is nothing to add up in the transformed domain, and the paper found none of EfficientNet's accelerated.

Where this and table 4 differ: its ResNet-50, 101 and 152 are the first version, with the stride in the 1x1 (here
"ResNet-50-v1"), while "ResNet-50" is what is called so today. And its Wino MULs of ResNeXt-101 and of RegNetX are
larger than the rule gives: the paper asked a GPU, convolution by convolution, which ones it accelerated (footnote 3).

FLOPs are not time, because numbers also have to come from memory (section 3.1). The *memory-access cost* (ShuffleNetV2,
arXiv 1807.11164) counts what is read and written if no cache helps: every operator reads its inputs and its parameters
once, and writes its output. An addition or a shuffle of channels costs no FLOPs here, but as many bytes as a 1x1
convolution's activations. As everywhere in this package, a ReLU right behind a convolution is part of it, in inference.
"""

import math
from dataclasses import dataclass

from repvgg_np.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Residual, StochasticDepth
from repvgg_np.models import Baseline

FREE = (Dropout, Flatten, StochasticDepth)  # in inference they move nothing


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
    memory_access : int
        Bytes that are read and written.
    """

    name: str
    kind: str
    out_shape: tuple
    parameters: int
    flops: int
    winograd_multiplications: int
    memory_access: int


def network_cost(model, size=None):
    """Count the cost, in inference, of each block and of the classifier; without RepVGG's blocks, of each layer.

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
        numbers = _block_access(block, size)
        size = (size - 1) // block.stride + 1
        kind = f"{block.in_channels}->{block.out_channels}, stride {block.stride}"
        kind += f", groups {block.groups}" if block.groups > 1 else ""
        shape = (block.out_channels, size, size)
        access = model.dtype.itemsize * numbers
        costs.append(LayerCost(name, kind, shape, block.count_parameters(), flops, winograd, access))
    parameters = model.linear.count_parameters()
    products = model.linear.weight.peek().size
    features = products // model.num_classes
    kind = f"{features}->{model.num_classes}"
    # The average in front of the classifier reads the last picture and writes the features.
    numbers = math.prod(costs[-1].out_shape) + 2 * features + parameters + model.num_classes
    access = model.dtype.itemsize * numbers
    costs.append(LayerCost("linear", kind, (model.num_classes,), parameters, products, products, access))
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


def _block_access(block, size):
    """Return how many numbers the operators of a block read and write.

    Each step of a path is a convolution, and perhaps a batch norm; then the paths are added, two at a time; then comes
    perhaps a batch norm, and ReLU, which only behind a single convolution costs nothing.
    """
    paths, total = block.paths(), block.count_parameters()
    for path in paths:
        height, channels = size, block.in_channels
        for step in path:
            before = channels * height * height
            height, channels = (height - 1) // step.stride + 1, len(step.kernel)
            after = channels * height * height
            total += before + after if step.multiplies else 0
            total += 2 * after if step.norm is not None else 0
    out = block.out_channels * ((size - 1) // block.stride + 1) ** 2
    total += 3 * out * (len(paths) - 1) + (2 * out if block.after is not None else 0)
    alone = len(paths) == 1 and paths[0][-1].norm is None and block.after is None
    return total + (0 if alone else 2 * out)


def _layer_costs(model, size):
    """Count the cost of each layer that computes or moves anything, along the way of a picture through the network."""
    costs, before = [], None
    for name, layer, in_shape, out_shape in model.trace((3, size, size))[1]:
        part_of_convolution = isinstance(layer, ReLU) and isinstance(before, Conv2d)
        before = layer
        if isinstance(layer, FREE) or part_of_convolution:
            continue
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
            kind = f"{type(layer).__name__}, {kind}"
        own = 0 if layer.children() else layer.count_parameters()
        inputs = 2 if isinstance(layer, Residual) else 1  # a residual connection adds two activations
        access = model.dtype.itemsize * (inputs * math.prod(in_shape) + own + math.prod(out_shape))
        costs.append(LayerCost(name, kind, out_shape, own, flops, winograd, access))
    return costs


def _convolution_cost(kernel, stride, pixels):
    """Return the FLOPs and the Winograd multiplications of a convolution that has so many output pixels."""
    flops = pixels * kernel.size
    fast = kernel.shape[2:] == (3, 3) and stride == 1 and kernel.shape[1] > 1
    return flops, flops * 4 // 9 if fast else flops
