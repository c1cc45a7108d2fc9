"""Average pooling: over windows of a given size, or over as many windows as are asked for."""

import numpy as np

from repvgg_np.kernels import pooling
from repvgg_np.kernels.layout import as_pair, channels_first, channels_last, check_float
from repvgg_np.layers.layer import Layer
from repvgg_np.layers.windows import window_counts


class _AverageWindows(Layer):
    """Average over windows; a subclass says which."""

    def __init__(self):
        super().__init__()
        self._shape = None

    def windows(self, height, width):
        """Return the windows down and across: two arrays (windows, 3) of first, last and divisor."""
        raise NotImplementedError(f"{type(self).__name__} has no windows")

    def out_shape(self, shape):
        """Return (C, H_out, W_out) for (C, H, W)."""
        return (shape[0], *map(len, self.windows(*shape[1:])))

    def forward(self, x):
        """Map `x` (N, C, H, W) to (N, C, H_out, W_out)."""
        check_float("x", x, "(N, C, H, W)")
        rows, columns = self.windows(*x.shape[2:])
        out = np.empty((len(x), len(rows), len(columns), x.shape[1]), x.dtype)
        pooling.average_windows(channels_last(x), rows, columns, out)
        self._shape = x.shape if self.training else None
        return channels_first(out)

    def backward(self, grad_out):
        """Share each average's gradient among the pixels of its window."""
        if self._shape is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        n, c, height, width = self._shape
        grad_x = np.empty((n, height, width, c), grad_out.dtype)
        pooling.average_windows_backward(channels_last(grad_out), *self.windows(height, width), grad_x)
        return channels_first(grad_x)

    def forget(self):
        """Drop the shape that was kept for `backward`."""
        self._shape = None


class AvgPool2d(_AverageWindows):
    """Average over windows of one size; the padding's zeros count, as in PyTorch.

    Parameters
    ----------
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        Without it, the kernel size: windows side by side.
    padding : int or pair of int
        At most half of the kernel size.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = as_pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else as_pair("stride", stride, 1)
        self.padding = as_pair("padding", padding, 0)
        if any(2 * pad > k for pad, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding must be at most half of the kernel size {self.kernel_size}, got {self.padding}")

    def windows(self, height, width):
        """Return the windows down and across."""
        window_counts((1, height, width), self.kernel_size, self.stride, self.padding)  # refuses a picture too small
        axes = zip((height, width), self.kernel_size, self.stride, self.padding, strict=True)
        return [pooling.fixed_windows(*axis) for axis in axes]


class AdaptiveAvgPool2d(_AverageWindows):
    """Average over as many windows as are asked for, whatever the size of the picture (VGG's 7x7).

    Parameters
    ----------
    out_size : int or pair of int
    """

    def __init__(self, out_size):
        super().__init__()
        self.out_size = as_pair("out_size", out_size, 1)

    def windows(self, height, width):
        """Return the windows down and across."""
        return [pooling.adaptive_windows(*axis) for axis in zip((height, width), self.out_size, strict=True)]
