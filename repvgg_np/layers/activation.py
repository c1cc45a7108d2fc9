"""ReLU, and the average over the picture in front of the classifier."""

import numpy as np

from repvgg_np.kernels import activation
from repvgg_np.kernels.layout import channels_first, channels_last, check_float
from repvgg_np.layers.elementwise import Elementwise
from repvgg_np.layers.layer import Layer


class ReLU(Elementwise):
    """Replace what is negative by zero; the gradient passes where the output is positive."""

    kernel, backward_kernel = staticmethod(activation.relu), staticmethod(activation.relu_backward)


def relu_backward(grad_out, out):
    """Let the gradient pass where the output was positive.

    Parameters
    ----------
    grad_out, out : ndarray (N, C, H, W)

    Returns
    -------
    ndarray (N, C, H, W)
    """
    grad_pixels = channels_last(grad_out)
    grad_x = np.empty_like(grad_pixels)
    activation.relu_backward(grad_pixels.reshape(-1), channels_last(out).reshape(-1), grad_x.reshape(-1))
    return channels_first(grad_x)


class GlobalAvgPool(Layer):
    """Average each channel over the picture."""

    def __init__(self):
        super().__init__()
        self._shape = None

    def forward(self, x):
        """Map `x` (N, C, H, W) to (N, C)."""
        check_float("x", x, "(N, C, H, W)")
        pixels = channels_last(x)
        out = np.empty((x.shape[0], x.shape[1]), x.dtype)
        activation.global_average_pool(pixels, out)
        self._shape = pixels.shape if self.training else None
        return out

    def backward(self, grad_out):
        """Share each channel's gradient among the pixels."""
        if self._shape is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        _, height, width, _ = self._shape
        share = grad_out / grad_out.dtype.type(height * width)
        return channels_first(np.broadcast_to(share[:, None, None, :], self._shape))  # (N, C) -> (N, H, W, C)

    def out_shape(self, shape):
        """Return (C,) for (C, H, W)."""
        return shape[:1]

    def forget(self):
        """Drop the shape that was kept for `backward`."""
        self._shape = None
