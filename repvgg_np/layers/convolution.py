"""The convolution layer, and the linear layer, which is a 1x1 convolution of a picture of one pixel."""

import numpy as np

from repvgg_np.kernels import choose_algorithm, conv2d, conv2d_backward, prepare_kernel
from repvgg_np.kernels.layout import as_pair
from repvgg_np.layers.layer import Layer
from repvgg_np.layers.windows import window_counts


class Conv2d(Layer):
    """A convolution with any kernel size, stride, padding and groups.

    Weights are drawn as PyTorch draws them: uniform within 1 / sqrt(fan_in).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair of int
    stride, padding : int or pair of int
    groups : int
    bias : bool
    rng : numpy.random.Generator or None
        Draws the first weights; None leaves them zero, for a caller who fills them.
    dtype : dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If `groups` does not divide both channel counts, or an option is out of range.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, groups=1, bias=True, *, rng, dtype=np.float32
    ):
        super().__init__()
        k_h, k_w = as_pair("kernel_size", kernel_size, 1)
        self.stride, self.padding = as_pair("stride", stride, 1), as_pair("padding", padding, 0)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            as_pair(name, value, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide {in_channels} and {out_channels} channels, got {groups}")
        self.groups = groups
        fan_in = in_channels // groups * k_h * k_w
        shape = (out_channels, in_channels // groups, k_h, k_w)
        self.weight = self.add_parameter("weight", _uniform(rng, shape, fan_in, dtype))
        self.bias = self.add_parameter("bias", _uniform(rng, (out_channels,), fan_in, dtype)) if bias else None
        self._x = None

    def forward(self, x, relu=False):
        """Convolve `x` (N, C_in, H, W); with `relu`, replace what is negative by zero in the same pass over memory."""
        weight = self.weight.peek()
        bias = None if self.bias is None else self.bias.peek()
        algorithm = choose_algorithm(x.shape, weight.shape, self.stride, self.padding, self.groups)
        prepared = None
        if not self.training:
            form = algorithm if algorithm == "depthwise" else "panels"
            prepared = self.weight.prepared(form, lambda data: prepare_kernel(data, self.groups, algorithm))
        self._x = x if self.training else None
        return conv2d(x, weight, bias, self.stride, self.padding, self.groups, algorithm, relu, prepared)

    def out_shape(self, shape):
        """Return (C_out, H_out, W_out) for (C_in, H, W)."""
        return (len(self.weight.peek()), *window_counts(shape, self.weight.peek().shape[2:], self.stride, self.padding))

    def backward(self, grad_out, input_gradient=True):
        """Set the gradients of weight and bias; return that of the input, or None if it is not wanted."""
        if self._x is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        has_bias = self.bias is not None
        geometry = (self.stride, self.padding, self.groups)
        grad_x, self.weight.grad, grad_bias = conv2d_backward(
            grad_out, self._x, self.weight.peek(), *geometry,
            input_gradient=input_gradient, bias_gradient=has_bias,
        )  # fmt: skip
        if has_bias:
            self.bias.grad = grad_bias
        return grad_x

    def forget(self):
        """Drop the input that was kept for `backward`."""
        self._x = None


class Linear(Layer):
    """A matrix product and a bias: the classifier.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    rng : numpy.random.Generator or None
        Draws the first weights, uniform within 1 / sqrt(in_features); None leaves them zero.
    dtype : dtype
        float32 or float64.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng, dtype=np.float32):
        super().__init__()
        self.weight = self.add_parameter("weight", _uniform(rng, (out_features, in_features), in_features, dtype))
        self.bias = self.add_parameter("bias", _uniform(rng, (out_features,), in_features, dtype)) if bias else None
        self._x = None

    def out_shape(self, shape):
        """Return (out_features,) for (in_features,)."""
        return (len(self.weight.peek()),)

    def forward(self, x):
        """Map `x` (N, in_features) to (N, out_features)."""
        weight = self.weight.peek()[:, :, None, None]
        bias = None if self.bias is None else self.bias.peek()
        prepared = None
        if not self.training:
            prepared = self.weight.prepared("panels", lambda data: prepare_kernel(data[:, :, None, None], 1, "im2col"))
        self._x = x if self.training else None
        # (N, C) -> (N, C, 1, 1), a picture of one pixel, and back
        return conv2d(x[:, :, None, None], weight, bias, 1, 0, 1, "im2col", False, prepared)[:, :, 0, 0]

    def backward(self, grad_out):
        """Set the gradients of weight and bias; return that of the input."""
        if self._x is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        has_bias = self.bias is not None
        pixels, weight = self._x[:, :, None, None], self.weight.peek()[:, :, None, None]
        grad_x, grad_weight, grad_bias = conv2d_backward(
            grad_out[:, :, None, None], pixels, weight, 1, 0, bias_gradient=has_bias
        )
        self.weight.grad = grad_weight[:, :, 0, 0]
        if has_bias:
            self.bias.grad = grad_bias
        return grad_x[:, :, 0, 0]

    def forget(self):
        """Drop the input that was kept for `backward`."""
        self._x = None


def _uniform(rng, shape, fan_in, dtype):
    """Draw an array uniformly within 1 / sqrt(fan_in); without a generator, make one of zeros."""
    if rng is None:
        return np.zeros(shape, dtype)
    bound = 1 / np.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)
