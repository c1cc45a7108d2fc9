"""The residual connection: what a few layers compute is added to what they were given."""

import numpy as np

from repvgg_np.kernels import joins
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.layers.activation import relu_backward
from repvgg_np.layers.layer import Layer


class Residual(Layer):
    """`main(x) + shortcut(x)`, and ReLU if wanted (ResNet, arXiv 1512.03385).

    In a state dict the two branches' parts are named as if they were this layer's own.

    Parameters
    ----------
    main : Layer
    shortcut : Layer, optional
        Without it, `x` itself.
    relu : bool
        Whether a ReLU follows the addition.
    """

    def __init__(self, main, shortcut=None, relu=False):
        super().__init__()
        self.main = self.add_child("", main)
        self.shortcut = None if shortcut is None else self.add_child("", shortcut)
        self.relu = relu
        self._out = None

    def forward(self, x):
        """Add the two branches."""
        return self.join(self.main(x), x if self.shortcut is None else self.shortcut(x))

    def join(self, main, shortcut):
        """Add what the two branches have computed, and apply ReLU if there is one."""
        if main.shape != shortcut.shape:
            raise ValueError(f"main and shortcut must have outputs of one shape, got {main.shape} and {shortcut.shape}")
        pixels = channels_last(main)
        out = np.empty_like(pixels)
        joins.add(pixels.reshape(-1), channels_last(shortcut).reshape(-1), self.relu, out.reshape(-1))
        self._out = channels_first(out) if self.training and self.relu else None
        return channels_first(out)

    def backward(self, grad_out):
        """Give both branches the gradient of the sum; add up what they return."""
        if self.relu:
            if self._out is None:
                raise ValueError("backward needs a forward pass in training mode before it")
            grad_out = relu_backward(grad_out, self._out)
        direct = grad_out if self.shortcut is None else self.shortcut.backward(grad_out)
        return self.main.backward(grad_out) + direct

    def trace(self, shape, name=""):
        """Follow a shape through both branches."""
        out_shape, steps = self.main.trace(shape, name)
        if self.shortcut is not None:
            steps = steps + self.shortcut.trace(shape, name)[1]
        return out_shape, [*steps, (name, self, out_shape, out_shape)]

    def fused(self):
        """Return the same of the fused branches."""
        shortcut = None if self.shortcut is None else self.shortcut.fused()
        return Residual(self.main.fused(), shortcut, self.relu).train(self.training)

    def forget(self):
        """Drop the output that was kept for `backward`."""
        self._out = None
