"""Branches whose outputs lie side by side: Inception, DenseNet's connections, ShuffleNet's halves."""

import numpy as np

from repvgg_np.kernels import joins
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.layers.layer import Layer


class Concatenate(Layer):
    """Give every branch the input, and lay their outputs' channels side by side.

    A dense connection (DenseNet, arXiv 1608.06993) is `Concatenate(Sequential(), layer)`: an empty chain is the
    identity, so `layer`'s channels are appended to those it was given.

    Parameters
    ----------
    *branches : Layer
        In a state dict their parts are named as if they were this layer's own.
    **named : Layer
        In a state dict under their names; they follow the others.

    Raises
    ------
    ValueError
        If there is no branch.
    """

    def __init__(self, *branches, **named):
        super().__init__()
        if not branches and not named:
            raise ValueError("branches must not be empty")
        self._parts = [("", branch) for branch in branches] + list(named.items())
        self.branches = [self.add_child(name, branch) for name, branch in self._parts]
        self._widths = None

    def forward(self, x):
        """Map `x` (N, C, H, W) to (N, sum of the branches' channels, H_out, W_out)."""
        return self.join(*[branch(x) for branch in self.branches])

    def join(self, *outputs):
        """Lay what the branches have computed side by side."""
        parts = [channels_last(output) for output in outputs]
        if len({part.shape[:3] for part in parts}) > 1:
            raise ValueError(f"branches must have outputs of one size, got {[part.shape[1:3] for part in parts]}")
        widths = [part.shape[3] for part in parts]
        out = np.empty((*parts[0].shape[:3], sum(widths)), parts[0].dtype)
        for part, first in zip(parts, np.cumsum([0, *widths]), strict=False):
            joins.put_channels(part.reshape(-1, part.shape[3]), first, out.reshape(-1, sum(widths)))
        self._widths = widths if self.training else None
        return channels_first(out)

    def backward(self, grad_out):
        """Give each branch the gradient of its own channels; add up what they return."""
        if self._widths is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        borders = np.cumsum(self._widths)[:-1]
        shares = np.split(grad_out, borders, axis=1)
        grads = [branch.backward(share) for branch, share in zip(self.branches, shares, strict=True)]
        return sum(grads[1:], grads[0])

    def trace(self, shape, name=""):
        """Follow a shape through all branches."""
        channels, all_steps = 0, []
        for part, branch in self._parts:
            out_shape, steps = branch.trace(shape, f"{name}.{part}".strip("."))
            channels, all_steps = channels + out_shape[0], all_steps + steps
        out_shape = (channels, *out_shape[1:])
        return out_shape, [*all_steps, (name, self, out_shape, out_shape)]

    def fused(self):
        """Return the same of the fused branches."""
        unnamed = [branch.fused() for name, branch in self._parts if not name]
        named = {name: branch.fused() for name, branch in self._parts if name}
        return Concatenate(*unnamed, **named).train(self.training)

    def forget(self):
        """Drop the widths that were kept for `backward`."""
        self._widths = None
