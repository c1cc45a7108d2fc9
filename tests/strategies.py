"""What Hypothesis draws for kernels, layers and blocks."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from repvgg_np import reference

dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Convolution:
    """A convolution with its arguments, and an upstream gradient for its output."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    grad_out: np.ndarray
    stride: tuple
    padding: tuple
    groups: int

    @property
    def geometry(self):
        """Stride, padding and groups, as keyword arguments."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def astype(self, dtype):
        """Return the same with other dtypes."""
        arrays = (a.astype(dtype) for a in (self.x, self.weight, self.bias, self.grad_out))
        return Convolution(*arrays, self.stride, self.padding, self.groups)

    def absolute(self):
        """Return the same over absolute values, in float64: what rounding bounds are multiples of."""
        arrays = (np.abs(a.astype(np.float64)) for a in (self.x, self.weight, self.bias, self.grad_out))
        return Convolution(*arrays, self.stride, self.padding, self.groups)


kernel_sizes = st.integers(1, 5)
strides = st.integers(1, 3)


@st.composite
def convolutions(draw, kernel_sizes=kernel_sizes, strides=strides, depthwise=None, integers=False):
    """Draw a convolution: odd sizes, one-pixel pictures, channels that no vector width divides, groups."""
    k_h, k_w = draw(kernel_sizes), draw(kernel_sizes)
    stride = (draw(strides), draw(strides))
    padding = (draw(st.integers(0, k_h)), draw(st.integers(0, k_w)))
    if depthwise if depthwise is not None else draw(st.integers(0, 4)) == 0:
        groups = draw(st.sampled_from([2, 3, 16, 17, 33]))
        depth_in, columns = 1, 1
    else:
        groups = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
        depth_in, columns = draw(st.integers(1, 20)), draw(st.sampled_from([1, 2, 5, 8, 16, 17, 24, 32, 33, 48]))
    height = draw(st.integers(max(1, k_h - 2 * padding[0]), 11))
    width = draw(st.integers(max(1, k_w - 2 * padding[1]), 11))
    n = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(seeds))

    def array(*shape):
        return rng.integers(-4, 5, shape).astype(np.float64) if integers else rng.normal(size=shape)

    out_shape = (n, groups * columns, (height + 2 * padding[0] - k_h) // stride[0] + 1)
    out_shape += ((width + 2 * padding[1] - k_w) // stride[1] + 1,)
    return Convolution(
        array(n, groups * depth_in, height, width),
        array(groups * columns, depth_in, k_h, k_w),
        array(groups * columns),
        array(*out_shape),
        stride,
        padding,
        groups,
    )


three_by_three = convolutions(kernel_sizes=st.just(3), strides=st.just(1), depthwise=False)
strided_three_by_three = convolutions(kernel_sizes=st.just(3), strides=st.just(2), depthwise=False)
winograd_convolutions = three_by_three | strided_three_by_three


@st.composite
def activations(draw, least_pixels=1):
    """Draw a batch (N, C, H, W) in float64."""
    n, c, height, width = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
    )
    if n * height * width < least_pixels:
        n = least_pixels
    rng = np.random.default_rng(draw(seeds))
    return rng.normal(draw(st.sampled_from([0, 3, -100])), draw(st.sampled_from([1, 0.01])), (n, c, height, width))


@st.composite
def block_shapes(draw):
    """Draw `(in_channels, out_channels, stride, groups)` of a block, with and without an identity branch."""
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    c_in = groups * draw(st.integers(1, 5))
    c_out = c_in if draw(st.booleans()) else groups * draw(st.integers(1, 6))
    return c_in, c_out, draw(st.sampled_from([1, 1, 2])), groups


def exact_convolution(case, bias=True):
    """Return the definition's result in float64."""
    case = case.astype(np.float64)
    return reference.conv2d(case.x, case.weight, case.bias if bias else None, case.stride, case.padding, case.groups)


@dataclass(frozen=True)
class Pooling:
    """A pooling with its arguments: `x` (N, C, H, W) in float64, pairs of int."""

    x: np.ndarray
    kernel_size: tuple
    stride: tuple
    padding: tuple

    @property
    def geometry(self):
        """Kernel size, stride and padding, in this order."""
        return self.kernel_size, self.stride, self.padding


@st.composite
def poolings(draw):
    """Draw a pooling: windows that overlap, that leave gaps, and that hang over the border; equal numbers abound."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel_size, stride = draw(pair), draw(pair)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel_size)
    height, width = (draw(st.integers(max(1, k - 2 * pad), 9)) for k, pad in zip(kernel_size, padding, strict=True))
    rng = np.random.default_rng(draw(seeds))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 20)), height, width)
    return Pooling(rng.integers(-4, 5, shape).astype(np.float64), kernel_size, stride, padding)
