"""Layers that drop something at random in training: single numbers, or a whole branch."""

import numpy as np

from repvgg_np.layers.layer import Layer


class _RandomLayer(Layer):
    """Multiply by a random mask in training, by nothing in inference.

    What is kept is divided by the probability of keeping it, so that the mean stays.

    Parameters
    ----------
    probability : float
        Of dropping; from 0 to below 1.

    Raises
    ------
    ValueError
        If it is out of range.
    """

    def __init__(self, probability):
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"probability must be from 0 to below 1, got {probability}")
        self.probability = probability
        self.rng = np.random.default_rng(0)
        self._mask = None

    def mask_shape(self, shape):
        """Return the shape of the mask, for an input's."""
        raise NotImplementedError(f"{type(self).__name__} has no mask")

    def forward(self, x):
        """Drop at random; in inference mode, return `x`."""
        if not self.training or self.probability == 0:
            self._mask = np.ones((), x.dtype) if self.training else None
            return x
        kept = self.rng.random(self.mask_shape(x.shape)) >= self.probability
        self._mask = kept.astype(x.dtype) / x.dtype.type(1 - self.probability)
        return x * self._mask

    def backward(self, grad_out):
        """Multiply the gradient by the same mask."""
        if self._mask is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        return grad_out * self._mask

    def forget(self):
        """Drop the mask that was kept for `backward`."""
        self._mask = None


class Dropout(_RandomLayer):
    """Drop single numbers (Srivastava et al., 2014)."""

    def mask_shape(self, shape):
        """One random number for each number."""
        return shape


class StochasticDepth(_RandomLayer):
    """Drop a whole branch, picture by picture (arXiv 1603.09382): it stands at the end of a residual's main branch."""

    def mask_shape(self, shape):
        """One random number for each picture."""
        return (shape[0], *(1,) * (len(shape) - 1))


def reseed(model, entropy):
    """Give every random layer of a network a generator of its own.

    A training loop that does so before each step, with the step's number, drops the same after a resume as without.

    Parameters
    ----------
    model : Layer
    entropy : sequence of int
        Not negative. The same numbers, the same masks.
    """
    layers = [layer for _, layer in model.named_layers() if isinstance(layer, _RandomLayer)]
    for number, layer in enumerate(layers):
        layer.rng = np.random.default_rng([*entropy, number])
