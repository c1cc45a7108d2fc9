"""A layer as a graph: which operation reads which activations and makes which, in the order of computation.

What is inside a chain, a residual connection or branches side by side is taken apart; any other layer is one operation.
In inference a ReLU right behind a convolution is part of it, as in `Sequential`.
"""

from dataclasses import dataclass

from repvgg_np.blocks import Block
from repvgg_np.layers import Concatenate, Conv2d, Dropout, ReLU, Residual, Sequential, StochasticDepth
from repvgg_np.models import Baseline, RepVGG


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation.

    Attributes
    ----------
    name : str
    run : callable
        Computes the output from the inputs.
    inputs : tuple of int
        The numbers of the activations that it reads.
    output : int
        The number of the one that it makes. Number 0 is the input of the whole.
    out_shape : tuple
        Without the batch: (C, H, W) or (C,).
    """

    name: str
    run: object
    inputs: tuple
    output: int
    out_shape: tuple


def operations(layer, shape):
    """Take a layer apart.

    Parameters
    ----------
    layer : Layer
        A layer, a block or a network, in inference mode.
    shape : tuple
        Of its input, without the batch: (C, H, W).

    Returns
    -------
    list of Operation
        In the order in which they are computed. Of a layer that does nothing, an empty list.
    """
    graph = _Graph(shape)
    graph.add(layer, 0)
    return graph.operations


class _Graph:
    """The operations so far, and the shape of every activation."""

    def __init__(self, shape):
        self.shapes, self.operations = [shape], []

    def add(self, layer, value):
        """Add a layer that is given an activation; return the number of what it makes."""
        if isinstance(layer, Sequential):
            return self._chain(layer.layers, value)
        if isinstance(layer, Residual):
            shortcut = value if layer.shortcut is None else None
            main = self.add(layer.main, value)
            shortcut = self.add(layer.shortcut, value) if shortcut is None else shortcut
            return self._append("add", layer.join, (main, shortcut), self.shapes[main])
        if isinstance(layer, Concatenate):
            parts = tuple(self.add(branch, value) for branch in layer.branches)
            channels = sum(self.shapes[part][0] for part in parts)
            return self._append("concatenate", layer.join, parts, (channels, *self.shapes[parts[0]][1:]))
        if isinstance(layer, (Dropout, StochasticDepth)):
            return value  # in inference it hands on what it is given
        if isinstance(layer, Baseline):
            return self.add(layer.body, value)
        if isinstance(layer, RepVGG):
            return self._chain([*layer.stages, layer.pool, layer.linear], value)
        if isinstance(layer, Block) and isinstance(getattr(layer, "layers", None), Residual):
            return self.add(layer.layers, value)
        return self._append(type(layer).__name__, layer, (value,), _out_shape(layer, self.shapes[value]))

    def _chain(self, layers, value):
        """Add layers one after the other."""
        waiting = list(reversed(layers))
        while waiting:
            layer = waiting.pop()
            if isinstance(layer, Conv2d) and waiting and isinstance(waiting[-1], ReLU):
                waiting.pop()
                run = _with_relu(layer)
                value = self._append("Conv2d", run, (value,), layer.out_shape(self.shapes[value]))
            else:
                value = self.add(layer, value)
        return value

    def _append(self, name, run, inputs, out_shape):
        """Add one operation; return the number of what it makes."""
        self.shapes.append(out_shape)
        output = len(self.shapes) - 1
        self.operations.append(Operation(name, run, inputs, output, out_shape))
        return output


def _with_relu(conv):
    """Return the convolution and the ReLU behind it as one function."""
    return lambda x: conv.forward(x, relu=True)


def _out_shape(layer, shape):
    """Return the output's shape of a layer, or of a block of RepVGG's, which keeps its shape to itself."""
    if not isinstance(layer, Block):
        return layer.out_shape(shape)
    return (layer.out_channels, *((size - 1) // layer.stride + 1 for size in shape[1:]))
