"""Convolution: checks what comes, chooses an algorithm, and calls the kernel.

There are three algorithms, each explained in its own file, and one rule that chooses among them, `choose_algorithm`:

    depthwise   every channel is a group of its own
    winograd    3x3 at stride 1 or 2, where fewer multiplications outweigh the transforms
    im2col      everything else
"""

import functools

import numpy as np

from repvgg_np.kernels import buffers, convolution_backward, depthwise, im2col, winograd, winograd_backward
from repvgg_np.kernels.gemm import pack_panels
from repvgg_np.kernels.layout import as_pair, channels_first, channels_last, check_float, plain_memory

ALGORITHMS = ("im2col", "winograd", "depthwise")


def conv2d(x, weight, bias=None, stride=1, padding=1, groups=1, algorithm="auto", relu=False, prepared=None):
    """Convolve a batch of pictures.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
        float32 or float64, in any memory order; channels-last is not copied.
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
        Of the same dtype.
    bias : ndarray (C_out,), optional
        Of the same dtype.
    stride, padding : int or pair of int
        Of the height and the width. The border is filled with zeros.
    groups : int
        Into how many groups the channels are split; each convolves on its own.
    algorithm : {"auto", "im2col", "winograd", "depthwise"}
        "auto" is `choose_algorithm`.
    relu : bool
        Whether to replace what is negative in the output by zero.
    prepared : ndarray, optional
        `prepare_kernel(weight, groups, algorithm)`, from a caller who has kept it; without it, it is made.

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
        Of the same dtype, channels-last in memory; `H_out = (H + 2 padding - K_h) // stride + 1`.

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit together, or the algorithm can't do what is asked.
    """
    stride, padding = check_geometry(x, weight, bias, stride, padding, groups)
    if algorithm == "auto":
        algorithm = choose_algorithm(x.shape, weight.shape, stride, padding, groups)
    elif algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be auto, {', '.join(ALGORITHMS[:-1])} or {ALGORITHMS[-1]}, got {algorithm!r}")
    elif algorithm == "winograd" and (weight.shape[2:] != (3, 3) or stride not in ((1, 1), (2, 2))):
        raise ValueError(
            "algorithm 'winograd' needs a 3x3 kernel at stride 1 or 2, "
            f"got {weight.shape[2]}x{weight.shape[3]} at {stride}"
        )
    elif algorithm == "depthwise" and not _is_depthwise(weight.shape, groups):
        raise ValueError(f"algorithm 'depthwise' needs as many groups as channels, got {groups} of {weight.shape}")
    if prepared is None:
        prepared = prepare_kernel(weight, groups, algorithm)
    return _convolve(x, prepared, bias, relu, weight.shape, stride, padding, groups, algorithm)


def _convolve(x, prepared, bias, relu, weight_shape, stride, padding, groups, algorithm):
    """Do what `conv2d` says, with a kernel of that shape; nothing is checked."""
    c_out, _, k_h, k_w = weight_shape
    height, width = output_size(x.shape[2:], (k_h, k_w), stride, padding)
    x = channels_last(x)
    out = buffers.empty((x.shape[0], height, width, c_out), x.dtype)
    if algorithm == "winograd":
        padded_bias = im2col.pad_bias(bias, c_out, 1, x.dtype)[0]
        form = winograd.form_of(stride, (height, width), len(x))
        winograd.conv2d(x, prepared, padded_bias, relu, form, padding, out)
    elif algorithm == "depthwise":
        bias = np.zeros(c_out, x.dtype) if bias is None else plain_memory(bias)
        depthwise.forward(x, prepared, bias, relu, stride, padding, out)
    else:
        padded_bias = im2col.pad_bias(bias, c_out, groups, x.dtype)
        im2col.conv2d(x, prepared, padded_bias, relu, (k_h, k_w), stride, padding, out)
    return channels_first(out)


def conv2d_backward(
    grad_out, x, weight, stride=1, padding=1, groups=1, algorithm="auto", input_gradient=True, bias_gradient=True
):
    """Compute the gradients of `conv2d`.

    Parameters
    ----------
    grad_out : ndarray (N, C_out, H_out, W_out)
        The gradient of the output.
    x, weight, stride, padding, groups
        As they were in the forward pass.
    algorithm : {"auto", "im2col"}
        "im2col" keeps Winograd out of both gradients.
    input_gradient, bias_gradient : bool
        What is not wanted is not computed, and None is returned for it: a first layer needs no gradient of its input.

    Returns
    -------
    grad_x : ndarray (N, C_in, H, W) or None
    grad_weight : ndarray (C_out, C_in / groups, K_h, K_w)
    grad_bias : ndarray (C_out,) or None

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit together.
    """
    stride, padding = check_geometry(x, weight, None, stride, padding, groups)
    if algorithm not in ("auto", "im2col"):
        raise ValueError(f"algorithm must be auto or im2col in the backward pass, got {algorithm!r}")
    check_float("grad_out", grad_out, "(N, C_out, H_out, W_out)", x.dtype)
    c_out, _, k_h, k_w = weight.shape
    out_shape = (x.shape[0], c_out, *output_size(x.shape[2:], weight.shape[2:], stride, padding))
    if grad_out.shape != out_shape:
        raise ValueError(f"grad_out must have the output's shape {out_shape}, got {grad_out.shape}")
    pixels, grad_pixels = channels_last(x), channels_last(grad_out)
    grad_bias = grad_pixels.sum(axis=(0, 1, 2)) if bias_gradient else None
    if _is_depthwise(weight.shape, groups):
        grad_taps = np.empty((k_h, k_w, c_out), x.dtype)
        depthwise.grad_kernel(pixels, grad_pixels, stride, padding, grad_taps)
        grad_weight = np.ascontiguousarray(grad_taps.transpose(2, 0, 1))[:, None]  # -> (C, 1, K_h, K_w)
    elif (
        algorithm == "auto"
        and stride == (1, 1)
        and choose_algorithm(x.shape, weight.shape, stride, padding, groups) == "winograd"
    ):
        grad_weight = winograd_backward.grad_weight(pixels, grad_pixels, padding, groups)
    else:
        grad_weight = convolution_backward.grad_weight(pixels, grad_pixels, (k_h, k_w), stride, padding, groups)
    if not input_gradient:
        return None, grad_weight, grad_bias
    return _grad_input(grad_out, x, weight, stride, padding, groups, algorithm), grad_weight, grad_bias


def _grad_input(grad_out, x, weight, stride, padding, groups, algorithm):
    """Return the gradient of the input (N, C_in, H, W), by the quickest way that there is for this geometry."""
    c_out, depth_in, k_h, k_w = weight.shape
    if _is_depthwise(weight.shape, groups):
        grad_x = buffers.empty(channels_last(x).shape, x.dtype)
        taps = prepare_kernel(weight, groups, "depthwise")
        depthwise.grad_input(channels_last(grad_out), taps, stride, padding, grad_x)
        return channels_first(grad_x)
    if stride == (1, 1) and padding[0] < k_h and padding[1] < k_w:
        # The transposed convolution: the kernel turned by 180 degrees, its two channel axes exchanged in each group.
        border = (k_h - 1 - padding[0], k_w - 1 - padding[1])
        shape = (groups * depth_in, c_out // groups, k_h, k_w)
        if algorithm == "auto":
            algorithm = choose_algorithm(grad_out.shape, shape, stride, border, groups)
        panels = im2col.pack_kernel(weight, groups, turned=True)
        return _convolve(grad_out, panels, None, False, shape, stride, border, groups, algorithm)
    split = weight.reshape(groups, c_out // groups, depth_in, k_h, k_w)
    matrices = split.transpose(0, 1, 3, 4, 2).reshape(groups, c_out // groups, k_h * k_w * depth_in)
    panels = pack_panels(matrices)
    grad_x = buffers.empty(channels_last(x).shape, x.dtype)
    convolution_backward.grad_input(channels_last(grad_out), panels, (k_h, k_w), stride, padding, grad_x)
    return channels_first(grad_x)


def output_size(size, kernel_size, stride, padding):
    """Return the height and the width of a convolution's output.

    Parameters
    ----------
    size, kernel_size, stride, padding : pair of int

    Returns
    -------
    pair of int
        `(size + 2 padding - kernel_size) // stride + 1`.
    """
    return tuple((size[i] + 2 * padding[i] - kernel_size[i]) // stride[i] + 1 for i in (0, 1))


@functools.lru_cache(maxsize=4096)
def choose_algorithm(x_shape, weight_shape, stride, padding, groups):
    """Return the name of the algorithm for a convolution.

    Winograd's is taken where it needs fewer cycles, by an estimate that counts register operations. For each picture:
    one for each multiply-add; what the transforms take, as measured (9 for each number of V, 7 for each of M, twice
    that at stride 2). Once for all pictures: the time in which the kernel comes from memory, 8 bytes in a cycle; of
    small pictures it takes many to make up for the four times as large kernel. Everything that is known only
    approximately is the same for both, so the estimate errs only where they are about equally fast. It does not depend
    on the threads.

    Parameters
    ----------
    x_shape : tuple
        (N, C_in, H, W)
    weight_shape : tuple
        (C_out, C_in / groups, K_h, K_w)
    stride, padding : pair of int
    groups : int

    Returns
    -------
    str
        "depthwise", "winograd" or "im2col".
    """
    if _is_depthwise(weight_shape, groups):
        return "depthwise"
    if tuple(weight_shape[2:]) != (3, 3) or tuple(stride) not in ((1, 1), (2, 2)):
        return "im2col"
    height, width = output_size(x_shape[2:], weight_shape[2:], stride, padding)
    depth_in, columns = weight_shape[1], weight_shape[0] // groups
    registers_in, registers_out = -(-depth_in * groups // 16), groups * -(-columns // 16)
    pictures, kernel_bytes = x_shape[0], 4 * depth_in * weight_shape[0]
    direct = pictures * height * width * 9 * depth_in * registers_out + 9 * kernel_bytes / 8
    numbers = winograd.multiplications(winograd.form_of(stride, (height, width), pictures), (height, width))
    transforms = (9 * registers_in + 7 * registers_out) * stride[0]
    fewer = pictures * numbers * (depth_in * registers_out + transforms) + 36 * kernel_bytes / 8
    return "winograd" if fewer < direct else "im2col"


def prepare_kernel(weight, groups, algorithm):
    """Bring a kernel into the form that an algorithm reads. It depends on the kernel alone, and can be kept.

    Parameters
    ----------
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    groups : int
    algorithm : {"im2col", "winograd", "depthwise"}

    Returns
    -------
    ndarray
    """
    if algorithm == "depthwise":
        return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))  # (C, 1, K_h, K_w) -> (K_h, K_w, C)
    return im2col.pack_kernel(weight, groups)


def _is_depthwise(weight_shape, groups):
    """Return whether every channel is a group of its own, and there is more than one."""
    return groups > 1 and weight_shape[0] == groups and weight_shape[1] == 1


def check_geometry(x, weight, bias, stride, padding, groups):
    """Refuse a convolution whose parts don't fit together; return stride and padding as pairs.

    Parameters
    ----------
    x, weight, bias, stride, padding, groups
        As in `conv2d`.

    Returns
    -------
    stride, padding : pair of int

    Raises
    ------
    ValueError
        With the name of the argument, what came and what was expected.
    """
    check_float("x", x, "(N, C_in, H, W)")
    check_float("weight", weight, "(C_out, C_in/groups, K_h, K_w)", x.dtype)
    stride, padding = as_pair("stride", stride, 1), as_pair("padding", padding, 0)
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"groups must be an integer of at least 1, got {groups!r}")
    _check_shapes(x.shape, weight.shape, padding, groups)
    if bias is not None:
        check_float("bias", bias, "(C_out,)", x.dtype)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias must have the shape {weight.shape[:1]}, got {bias.shape}")
    return stride, padding


@functools.lru_cache(maxsize=4096)
def _check_shapes(x_shape, weight_shape, padding, groups):
    """Refuse shapes that don't fit together. A network asks for the same few again and again."""
    c_out, depth_in, k_h, k_w = weight_shape
    if min(weight_shape) < 1:
        raise ValueError(f"weight must not be empty, got the shape {weight_shape}")
    if x_shape[1] != depth_in * groups:
        raise ValueError(
            f"x must have {depth_in * groups} channels for this weight and groups={groups}, got {x_shape[1]}"
        )
    if c_out % groups:
        raise ValueError(f"groups must divide the weight's {c_out} output channels, got {groups}")
    if x_shape[2] + 2 * padding[0] < k_h or x_shape[3] + 2 * padding[1] < k_w:
        raise ValueError(
            f"x must be at least as large as the {k_h}x{k_w} kernel, got {x_shape[2]}x{x_shape[3]} "
            f"with padding {padding}"
        )
