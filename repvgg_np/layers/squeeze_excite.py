"""Squeeze-and-excite: a tiny network looks at the averages of all channels and decides how loud each shall be."""

import numpy as np

from repvgg_np.kernels import gate as gate_kernels
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.layers.activation import GlobalAvgPool
from repvgg_np.layers.convolution import Conv2d
from repvgg_np.layers.layer import Layer
from repvgg_np.layers.sigmoid import Sigmoid, SiLU


class SqueezeExcite(Layer):
    """`x * sigmoid(W2 silu(W1 mean(x) + b1) + b2)`, one factor for each channel of each picture (arXiv 1709.01507).

    Parameters
    ----------
    channels : int
    squeezed : int
        How many numbers the averages are squeezed into.
    rng : numpy.random.Generator or None
        Draws the first weights.
    dtype : dtype
    """

    def __init__(self, channels, squeezed, *, rng, dtype=np.float32):
        super().__init__()
        self.pool = self.add_child("avgpool", GlobalAvgPool())
        self.squeeze = self.add_child("fc1", Conv2d(channels, squeezed, 1, rng=rng, dtype=dtype))
        self.activation = self.add_child("activation", SiLU())
        self.excite = self.add_child("fc2", Conv2d(squeezed, channels, 1, rng=rng, dtype=dtype))
        self.sigmoid = self.add_child("scale_activation", Sigmoid())
        self._kept = None

    def forward(self, x):
        """Scale each channel of `x` (N, C, H, W)."""
        averages = self.pool(x)[:, :, None, None]  # (N, C) -> (N, C, 1, 1)
        gate = self.sigmoid(self.excite(self.activation(self.squeeze(averages))))
        pixels, factors = channels_last(x), channels_last(gate)[:, 0, 0]  # -> (N, H, W, C), (N, C)
        out = np.empty_like(pixels)
        gate_kernels.scale_channels(pixels, factors, out)
        self._kept = (pixels, factors) if self.training else None
        return channels_first(out)

    def backward(self, grad_out):
        """Add up the gradient through x itself, and that through the factors."""
        if self._kept is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        pixels, factors = self._kept
        grad_pixels = channels_last(grad_out)
        direct, grad_factors = np.empty_like(pixels), np.empty_like(factors)
        gate_kernels.scale_channels(grad_pixels, factors, direct)
        gate_kernels.sum_products(grad_pixels, pixels, grad_factors)
        grad = self.sigmoid.backward(grad_factors[:, :, None, None])
        grad = self.squeeze.backward(self.activation.backward(self.excite.backward(grad)))
        return channels_first(direct) + self.pool.backward(grad[:, :, 0, 0])

    def trace(self, shape, name=""):
        """Follow a shape through the parts."""
        steps, part_shape = [], shape
        for part, layer in (("avgpool", self.pool), ("fc1", self.squeeze), ("fc2", self.excite)):
            in_shape, part_shape = part_shape, layer.out_shape(part_shape)
            part_shape = (*part_shape, 1, 1) if part == "avgpool" else part_shape  # one pixel for the convolutions
            steps.append((f"{name}.{part}", layer, in_shape, part_shape))
        return shape, [*steps, (name, self, shape, shape)]

    def forget(self):
        """Drop what was kept for `backward`."""
        self._kept = None
