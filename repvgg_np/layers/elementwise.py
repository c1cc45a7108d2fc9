"""What activation functions have in common: a function of each number on its own."""

import numpy as np

from repvgg_np.kernels.layout import channels_first, channels_last, check_float, plain_memory
from repvgg_np.layers.layer import Layer


class Elementwise(Layer):
    """A function of each number on its own, for pictures (N, C, H, W) and for rows of numbers (N, C).

    A subclass names two kernels on flat arrays, and whether the second needs the input or the output of the first.

    Attributes
    ----------
    kernel : callable
        `kernel(x, out)` fills `out`.
    backward_kernel : callable
        `backward_kernel(grad_out, kept, grad_x)` fills `grad_x`.
    keeps_input : bool
        Whether `kept` is the input; else it is the output.
    """

    kernel = backward_kernel = None
    keeps_input = False

    def __init__(self):
        super().__init__()
        self._kept = None

    def forward(self, x):
        """Compute the function of each number."""
        check_float("x", x, "(N, C)" if getattr(x, "ndim", 4) == 2 else "(N, C, H, W)")
        numbers = in_memory_order(x)
        out = np.empty_like(numbers)
        self.kernel(numbers.reshape(-1), out.reshape(-1))
        self._kept = (numbers if self.keeps_input else out) if self.training else None
        return in_shape_order(out)

    def backward(self, grad_out):
        """Multiply the gradient by the function's derivative."""
        if self._kept is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        grad_numbers = in_memory_order(grad_out)
        grad_x = np.empty_like(grad_numbers)
        self.backward_kernel(grad_numbers.reshape(-1), self._kept.reshape(-1), grad_x.reshape(-1))
        return in_shape_order(grad_x)

    def forget(self):
        """Drop what was kept for `backward`."""
        self._kept = None


def in_memory_order(x):
    """View a picture as (N, H, W, C), and rows as they are; C-contiguous."""
    return channels_last(x) if x.ndim == 4 else plain_memory(x)


def in_shape_order(numbers):
    """View (N, H, W, C) as (N, C, H, W), and rows as they are."""
    return channels_first(numbers) if numbers.ndim == 4 else numbers
