"""Max pooling: the largest number of each window."""

import numpy as np

from repvgg_np.kernels import pooling
from repvgg_np.kernels.layout import as_pair, channels_first, channels_last, check_float
from repvgg_np.layers.layer import Layer
from repvgg_np.layers.windows import window_counts


class MaxPool2d(Layer):
    """Keep the largest number of each window; the padding never counts.

    Where several are equally large, the first of them (row by row) gets the gradient.

    Parameters
    ----------
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        Without it, the kernel size: windows side by side.
    padding : int or pair of int
        At most half of the kernel size, so that every window holds a pixel.
    ceil_mode : bool
        Whether a last window may reach beyond the border, as in GoogLeNet.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False):
        super().__init__()
        self.kernel_size = as_pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else as_pair("stride", stride, 1)
        self.padding, self.ceil_mode = as_pair("padding", padding, 0), ceil_mode
        if any(2 * pad > k for pad, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding must be at most half of the kernel size {self.kernel_size}, got {self.padding}")
        self._kept = None

    def out_shape(self, shape):
        """Return (C, H_out, W_out) for (C, H, W)."""
        axes = zip(shape[1:], self.kernel_size, self.stride, self.padding, strict=True)
        sizes = [pooling.max_pool_size(*axis, self.ceil_mode) for axis in axes]
        if min(sizes) < 1:
            window_counts(shape, self.kernel_size, self.stride, self.padding)  # says what is too small
        return (shape[0], *sizes)

    def forward(self, x):
        """Map `x` (N, C, H, W) to (N, C, H_out, W_out)."""
        check_float("x", x, "(N, C, H, W)")
        _, height, width = self.out_shape(x.shape[1:])
        pixels = channels_last(x)
        out = np.empty((len(x), height, width, x.shape[1]), x.dtype)
        pooling.max_pool(pixels, self.kernel_size, self.stride, self.padding, out)
        self._kept = (pixels, out) if self.training else None
        return channels_first(out)

    def backward(self, grad_out):
        """Give each window's gradient to its largest number."""
        if self._kept is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        pixels, out = self._kept
        grad_x = np.empty_like(pixels)
        geometry = (self.kernel_size, self.stride, self.padding)
        pooling.max_pool_backward(channels_last(grad_out), pixels, out, *geometry, grad_x)
        return channels_first(grad_x)

    def forget(self):
        """Drop what was kept for `backward`."""
        self._kept = None
