"""How the first weights are drawn. Every network has its authors' rule, made of these.

Kernels are (C_out, C_in / groups, K_h, K_w), matrices of a linear layer (C_out, C_in). As in PyTorch, fan_in is
C_in / groups K_h K_w and fan_out is C_out K_h K_w.
"""

import numpy as np

from repvgg_np.blocks import RepVGGBlock
from repvgg_np.layers import Conv2d, Linear


def draw(body, rng, conv, linear, linear_bias=None):
    """Draw all kernels and matrices of a network, in the order of the state dict.

    Biases become zero, unless `linear_bias` draws those of linear layers. Batch norms are left as they are made:
    gamma 1, beta 0.

    Parameters
    ----------
    body : Layer
    rng : numpy.random.Generator
    conv : callable
        The rule for convolutions: `conv(rng, layer)` returns a function that draws numbers of a shape.
    linear : callable
        The rule for the matrices of linear layers.
    linear_bias : callable, optional
        The rule for their biases.
    """
    for _, layer in body.named_layers():
        rule = conv if isinstance(layer, Conv2d) else linear if isinstance(layer, Linear) else None
        if rule is None:
            continue
        _fill(layer.weight, rule(rng, layer))
        if layer.bias is not None and isinstance(layer, Linear) and linear_bias is not None:
            _fill(layer.bias, linear_bias(rng, layer))


def _fill(parameter, numbers):
    """Fill a parameter row by row: one draw of all of VGG's classifier would take a gigabyte in float64."""
    for row in range(len(parameter.data)):
        parameter.data[row] = numbers(parameter.data[row].shape)


def normal(std):
    """Return the rule: normal, with this deviation."""
    return lambda rng, layer: lambda shape: rng.normal(0, std, shape)


def kaiming_fan_out(rng, layer):
    """Draw normal with variance 2 / fan_out: keeps the gradient's variance through ReLU (He et al., 1502.01852)."""
    weight = layer.weight.peek()
    std = np.sqrt(2 / (len(weight) * np.prod(weight.shape[2:])))
    return lambda shape: rng.normal(0, std, shape)


def kaiming_fan_in(rng, layer):
    """Draw normal with variance 2 / fan_in: keeps the activations' variance through ReLU."""
    std = np.sqrt(2 / layer.weight.peek()[0].size)
    return lambda shape: rng.normal(0, std, shape)


def uniform_fan_in(rng, layer):
    """Draw uniformly within 1 / sqrt(fan_in), PyTorch's own rule."""
    bound = 1 / np.sqrt(layer.weight.peek()[0].size)
    return lambda shape: rng.uniform(-bound, bound, shape)


def uniform_fan_out(rng, layer):
    """Draw uniformly within 1 / sqrt(fan_out)."""
    bound = 1 / np.sqrt(len(layer.weight.peek()))
    return lambda shape: rng.uniform(-bound, bound, shape)


def set_branch_gammas(model, gammas):
    """Choose how much each branch of a RepVGG counts at first: the gammas of the batch norms that end them.

    With gammas of 1, as they are drawn, the three branches are added up in equal parts, and a block without an identity
    begins with a smaller output than one that has it. The branches fold as ever, whatever their gammas.

    Parameters
    ----------
    model : Network
        In training form; is changed.
    gammas : sequence of three floats
        Of the 3x3, the 1x1 and the identity branch.

    Raises
    ------
    ValueError
        If the network has no RepVGG blocks.
    """
    blocks = [layer for _, layer in model.named_layers() if isinstance(layer, RepVGGBlock)]
    if not blocks:
        raise ValueError(f"branch_gammas is for networks of RepVGG blocks, got {model.name}")
    for block in blocks:
        for norm, gamma in zip((block.dense.bn, block.pointwise.bn, block.identity), gammas, strict=True):
            if norm is not None:
                norm.gamma.data[...] = gamma


def find_classifier(model):
    """Return the name and the layer that make the logits: the last matrix of a network.

    Parameters
    ----------
    model : Network

    Returns
    -------
    name : str
    layer : Linear

    Raises
    ------
    ValueError
        If there is none.
    """
    matrices = [(name, layer) for name, layer in model.named_layers() if isinstance(layer, Linear)]
    if not matrices:
        raise ValueError(f"logit_scale is for networks that end in a matrix, got {model.name}")
    return matrices[-1]


def scale_classifier(model, scale):
    """Multiply the matrix and the bias of the classifier, and so the first logits.

    Parameters
    ----------
    model : Network
        Is changed.
    scale : float
    """
    _, classifier = find_classifier(model)
    for _, parameter in classifier.named_parameters():
        parameter.data *= parameter.data.dtype.type(scale)
