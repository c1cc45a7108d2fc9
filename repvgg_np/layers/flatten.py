"""Pictures as rows of numbers, for a classifier that tells pixels apart."""

import numpy as np

from repvgg_np.layers.layer import Layer


class Flatten(Layer):
    """Lay each picture out as one row: (N, C, H, W) -> (N, C H W), channel after channel."""

    def __init__(self):
        super().__init__()
        self._shape = None

    def out_shape(self, shape):
        """Return (C H W,) for (C, H, W)."""
        return (int(np.prod(shape)),)

    def forward(self, x):
        """Lay each picture out as one row."""
        self._shape = x.shape if self.training else None
        return np.ascontiguousarray(x).reshape(len(x), -1)

    def backward(self, grad_out):
        """Fold the rows into pictures again."""
        if self._shape is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        return grad_out.reshape(self._shape)

    def forget(self):
        """Drop the shape that was kept for `backward`."""
        self._shape = None
