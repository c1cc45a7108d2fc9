"""The paths through a network: how many shallower networks it is an ensemble of (section 3.1 of the paper).

Of n residual blocks each can be passed through its layers or around them: 2^n paths. A RepVGG block with an identity
branch has three ways, one without has two: stage 4 of RepVGG-B, with 16 blocks, has 2 x 3^15 paths. In "Residual
Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv 1605.06431) these paths are the members of the
ensemble, and most of them are much shorter than the network is deep.

Paths in a row multiply, branches add up. With `x` for "passes through one convolution", a way through a layer is a
polynomial whose coefficient of x^l counts the ways of length l, and both rules are those of polynomials.
"""

from repvgg_np.blocks import Block
from repvgg_np.layers import Concatenate, Conv2d, Residual, Sequential
from repvgg_np.models import Baseline, RepVGG


def path_lengths(layer):
    """Count the paths through a layer, a block or a network, by their length.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    list of int
        Element l is the number of paths through l convolutions; exact, however large. The classifier is not counted.
    """
    if isinstance(layer, Baseline):
        return path_lengths(layer.body)
    if isinstance(layer, RepVGG):
        return _in_a_row(layer.stages)
    if isinstance(layer, Sequential):
        return _in_a_row(layer.layers)
    if isinstance(layer, Residual):
        return _side_by_side([layer.main, layer.shortcut or Sequential()])
    if isinstance(layer, Concatenate):
        return _side_by_side(layer.branches)
    if isinstance(layer, Block):
        if isinstance(getattr(layer, "layers", None), Residual):
            return path_lengths(layer.layers)
        return _sum([_power(sum(step.multiplies for step in path)) for path in layer.paths()])
    return _power(1 if isinstance(layer, Conv2d) else 0)


def count_paths(layer):
    """Count all paths through a layer, a block or a network.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    int
    """
    return sum(path_lengths(layer))


def _power(length):
    """Return x^length: one path."""
    return [0] * length + [1]


def _in_a_row(layers):
    """Multiply the polynomials of layers one after the other."""
    total = [1]
    for layer in layers:
        other = path_lengths(layer)
        product = [0] * (len(total) + len(other) - 1)
        for i, a in enumerate(total):
            for j, b in enumerate(other):
                product[i + j] += a * b
        total = product
    return total


def _side_by_side(layers):
    """Add the polynomials of branches."""
    return _sum([path_lengths(layer) for layer in layers])


def _sum(polynomials):
    """Add polynomials."""
    length = max(map(len, polynomials))
    return [sum(p[i] for p in polynomials if i < len(p)) for i in range(length)]
