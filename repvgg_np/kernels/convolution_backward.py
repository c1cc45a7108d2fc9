"""The two gradients of a convolution, for any kernel size, stride, padding and groups.

With `cols` the matrix of patches (see `im2col.py`), a convolution is `out = cols @ w`, so by the chain rule

    grad_w    = cols^T @ grad_out              summed over all pixels of all pictures
    grad_cols = grad_out @ w^T                 and each pixel of x gets what its copies in cols got, added up

Neither needs the matrix `cols` in memory:

* grad_w: row (k, l, c) of cols^T is the picture itself, shifted by the tap (k, l), at channel c. With the picture
  padded once, that is a fixed offset; a tile of 6 rows x 2 registers of grad_w stays in registers while the loop runs
  over a picture's pixels.
* grad_cols is computed for a few dozen pixels at a time, and added to grad_x at once.

At stride 1 the gradient of the input is itself a convolution, of grad_out with the kernel turned by 180 degrees, and
`convolution.py` sends it to the forward kernels (Winograd's included).

The oracle is `reference.conv2d_backward`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.copy import copy_padded_rows, copy_run
from repvgg_np.kernels.gemm import multiply
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, broadcast, fma, load, store, zeros

TILE_ROWS = 6


@kernel
def gradient_tile_of_two_registers(picture, rows, row_step, step, out_size, panel, grad, targets):
    """Add to a tile of 6 rows x 2 registers of grad_w what one picture gives.

    `picture` is one padded picture, flat; `rows` says for six rows of grad_w where their first pixel lies in it. From
    one output pixel to the next the place moves by `step`, from one row of output pixels to the next by `row_step`.
    `panel` holds two registers of grad_out for each output pixel. `targets` says where the six rows lie in `grad`.
    """
    lanes = VECTOR_BYTES // panel.itemsize
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a00 = a10 = a20 = a30 = a40 = a50 = zeros(panel)
    a01 = a11 = a21 = a31 = a41 = a51 = zeros(panel)
    pixel = 0
    for i in range(out_size[0]):
        place = i * row_step
        for _ in range(out_size[1]):
            g0, g1 = load(panel, pixel), load(panel, pixel + lanes)
            pixel += 2 * lanes
            x = broadcast(picture, r0 + place)
            a00, a01 = fma(a00, x, g0), fma(a01, x, g1)
            x = broadcast(picture, r1 + place)
            a10, a11 = fma(a10, x, g0), fma(a11, x, g1)
            x = broadcast(picture, r2 + place)
            a20, a21 = fma(a20, x, g0), fma(a21, x, g1)
            x = broadcast(picture, r3 + place)
            a30, a31 = fma(a30, x, g0), fma(a31, x, g1)
            x = broadcast(picture, r4 + place)
            a40, a41 = fma(a40, x, g0), fma(a41, x, g1)
            x = broadcast(picture, r5 + place)
            a50, a51 = fma(a50, x, g0), fma(a51, x, g1)
            place += step
    # All loads before all stores: a row past the last repeats it, and must not be added twice.
    a00, a01 = add(a00, load(grad, t0)), add(a01, load(grad, t0 + lanes))
    a10, a11 = add(a10, load(grad, t1)), add(a11, load(grad, t1 + lanes))
    a20, a21 = add(a20, load(grad, t2)), add(a21, load(grad, t2 + lanes))
    a30, a31 = add(a30, load(grad, t3)), add(a31, load(grad, t3 + lanes))
    a40, a41 = add(a40, load(grad, t4)), add(a41, load(grad, t4 + lanes))
    a50, a51 = add(a50, load(grad, t5)), add(a51, load(grad, t5 + lanes))
    store(grad, t0, a00)
    store(grad, t0 + lanes, a01)
    store(grad, t1, a10)
    store(grad, t1 + lanes, a11)
    store(grad, t2, a20)
    store(grad, t2 + lanes, a21)
    store(grad, t3, a30)
    store(grad, t3 + lanes, a31)
    store(grad, t4, a40)
    store(grad, t4 + lanes, a41)
    store(grad, t5, a50)
    store(grad, t5 + lanes, a51)


@kernel
def gradient_tile_of_one_register(picture, rows, row_step, step, out_size, panel, grad, targets):
    """Add to a tile of 6 rows x 1 register of grad_w what one picture gives: for narrow layers, and last panels."""
    lanes = VECTOR_BYTES // panel.itemsize
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a0 = a1 = a2 = a3 = a4 = a5 = zeros(panel)
    pixel = 0
    for i in range(out_size[0]):
        place = i * row_step
        for _ in range(out_size[1]):
            g = load(panel, pixel)
            pixel += lanes
            a0, a1 = fma(a0, broadcast(picture, r0 + place), g), fma(a1, broadcast(picture, r1 + place), g)
            a2, a3 = fma(a2, broadcast(picture, r2 + place), g), fma(a3, broadcast(picture, r3 + place), g)
            a4, a5 = fma(a4, broadcast(picture, r4 + place), g), fma(a5, broadcast(picture, r5 + place), g)
            place += step
    a0, a1, a2 = add(a0, load(grad, t0)), add(a1, load(grad, t1)), add(a2, load(grad, t2))
    a3, a4, a5 = add(a3, load(grad, t3)), add(a4, load(grad, t4)), add(a5, load(grad, t5))
    store(grad, t0, a0)
    store(grad, t1, a1)
    store(grad, t2, a2)
    store(grad, t3, a3)
    store(grad, t4, a4)
    store(grad, t5, a5)


@kernel
def pack_gradient(flat_out, n, pixels, c_out, first, real, width, panel):
    """Copy the channels `first` to `first + real - 1` of picture n's gradient to `panel`, `width` numbers a pixel.

    What the lanes behind the real ones hold is of no matter: lanes never mix, and their results are not looked at.
    """
    for pixel in range(pixels):
        copy_run(flat_out, (n * pixels + pixel) * c_out + first, panel, pixel * width, real)


@kernel
def tap_offset(row, depth_in, k_w, padded_width, channels):
    """Return how far row (k, l, c) of grad_w lies from the first pixel of a padded picture."""
    tap, c = row // depth_in, row % depth_in
    return (tap // k_w * padded_width + tap % k_w) * channels + c


@parallel_kernel
def _grad_weight(x, grad_out, kernel_size, stride, padding, groups, grad, workers):
    channels, c_out = x.shape[3], grad_out.shape[3]
    depth_in, columns = channels // groups, c_out // groups
    k_w = kernel_size[1]
    depth = kernel_size[0] * k_w * depth_in
    out_size = (grad_out.shape[1], grad_out.shape[2])
    pixels = out_size[0] * out_size[1]
    padded_height, padded_width = x.shape[1] + 2 * padding[0], x.shape[2] + 2 * padding[1]
    lanes = VECTOR_BYTES // x.itemsize
    tiles = (depth + TILE_ROWS - 1) // TILE_ROWS
    row_length = grad.shape[2]  # columns rounded up to whole panels
    flat_x, flat_out, flat_grad = x.reshape(-1), grad_out.reshape(-1), grad.reshape(-1)
    # A worker owns some rows of grad_w and runs through all pictures for them, in order: nothing is added up across
    # threads, and the bits do not depend on how many there are.
    for worker in prange(workers):
        picture = np.empty(padded_height * padded_width * channels + lanes, x.dtype)
        panel = np.zeros((pixels + 1) * 2 * lanes, x.dtype)
        for n in range(x.shape[0]):
            copy_padded_rows(flat_x, n, x.shape[1:], -padding[0], padded_height, padding[1], picture)
            for group in range(groups):
                for column in range(0, columns, 2 * lanes):
                    real = min(2 * lanes, columns - column)
                    width = 2 * lanes if real > lanes else lanes
                    pack_gradient(flat_out, n, pixels, c_out, group * columns + column, real, width, panel)
                    for tile in range(tiles * worker // workers, tiles * (worker + 1) // workers):
                        row, last = tile * TILE_ROWS, depth - 1
                        first = group * depth_in
                        r0, r1, r2 = row, min(row + 1, last), min(row + 2, last)
                        r3, r4, r5 = min(row + 3, last), min(row + 4, last), min(row + 5, last)
                        sources = (
                            first + tap_offset(r0, depth_in, k_w, padded_width, channels),
                            first + tap_offset(r1, depth_in, k_w, padded_width, channels),
                            first + tap_offset(r2, depth_in, k_w, padded_width, channels),
                            first + tap_offset(r3, depth_in, k_w, padded_width, channels),
                            first + tap_offset(r4, depth_in, k_w, padded_width, channels),
                            first + tap_offset(r5, depth_in, k_w, padded_width, channels),
                        )
                        start = group * depth * row_length + column
                        targets = (
                            start + r0 * row_length, start + r1 * row_length, start + r2 * row_length,
                            start + r3 * row_length, start + r4 * row_length, start + r5 * row_length,
                        )  # fmt: skip
                        row_step, step = stride[0] * padded_width * channels, stride[1] * channels
                        if width > lanes:
                            gradient_tile_of_two_registers(
                                picture, sources, row_step, step, out_size, panel, flat_grad, targets
                            )
                        else:
                            gradient_tile_of_one_register(
                                picture, sources, row_step, step, out_size, panel, flat_grad, targets
                            )


def grad_weight(x, grad_out, kernel_size, stride, padding, groups):
    """Compute the gradient of a convolution's kernel.

    Parameters
    ----------
    x : ndarray (N, H, W, C_in)
        The input of the forward pass.
    grad_out : ndarray (N, H_out, W_out, C_out)
        The gradient of its output.
    kernel_size, stride, padding : pair of int
    groups : int

    Returns
    -------
    ndarray (C_out, C_in / groups, K_h, K_w)
    """
    k_h, k_w = kernel_size
    depth_in, columns = x.shape[3] // groups, grad_out.shape[3] // groups
    width = 2 * VECTOR_BYTES // x.itemsize
    grad = np.zeros((groups, k_h * k_w * depth_in, -(-columns // width) * width), x.dtype)
    _grad_weight(x, grad_out, kernel_size, stride, padding, groups, grad, get_num_threads())
    grad = grad[:, :, :columns].reshape(groups, k_h, k_w, depth_in, columns)
    grad = grad.transpose(0, 4, 3, 1, 2)  # -> (groups, C_out / groups, C_in / groups, K_h, K_w)
    return grad.reshape(grad_out.shape[3], depth_in, k_h, k_w)


@kernel
def scatter_patches(
    patches, stride_of_rows, first, rows, out_width, n, group, depth_in, kernel_size, stride, padding, grad_x
):
    """Add rows of grad_cols, for output pixels from `first` on of picture n, to the pixels that they came from."""
    height, width = grad_x.shape[1], grad_x.shape[2]
    channel = group * depth_in
    for row in range(rows):
        top = (first + row) // out_width * stride[0] - padding[0]
        left = (first + row) % out_width * stride[1] - padding[1]
        place = row * stride_of_rows
        for i in range(top, top + kernel_size[0]):
            for j in range(left, left + kernel_size[1]):
                if 0 <= i < height and 0 <= j < width:
                    for c in range(depth_in):
                        grad_x[n, i, j, channel + c] += patches[place + c]
                place += depth_in


@parallel_kernel
def _grad_input(grad_out, panels, kernel_size, stride, padding, grad_x, block):
    groups = panels.shape[0]
    c_out = grad_out.shape[3]
    depth_in, columns = grad_x.shape[3] // groups, c_out // groups
    depth = kernel_size[0] * kernel_size[1] * depth_in
    pixels = grad_out.shape[1] * grad_out.shape[2]
    lanes = VECTOR_BYTES // grad_out.itemsize
    flat_out, flat_panels = grad_out.reshape(-1), panels.reshape(-1)
    for n in prange(grad_x.shape[0]):  # patches overlap within a picture only: each iteration owns one
        patches = np.empty(block * depth, grad_out.dtype)
        starts = c_out * np.arange(block)
        no_bias = np.zeros(depth + 2 * lanes, grad_out.dtype)
        grad_x[n] = 0
        for first in range(0, pixels, block):
            rows = min(block, pixels - first)
            for group in range(groups):
                multiply(
                    flat_out, (n * pixels + first) * c_out + group * columns, starts, rows, (1, 0, 1, 0, columns),
                    flat_panels, group * panels.shape[1], depth, no_bias, 0, False, patches, 0, depth,
                )  # fmt: skip
                scatter_patches(
                    patches, depth, first, rows, grad_out.shape[2], n, group, depth_in, kernel_size, stride,
                    padding, grad_x,
                )  # fmt: skip


def grad_input(grad_out, panels, kernel_size, stride, padding, grad_x):
    """Compute the gradient of a convolution's input, at any stride.

    Parameters
    ----------
    grad_out : ndarray (N, H_out, W_out, C_out)
        The gradient of the output.
    panels : ndarray (groups, packed size)
        The transposed kernel matrix of each group, packed: (C_out / groups, K_h * K_w * C_in / groups).
    kernel_size, stride, padding : pair of int
    grad_x : ndarray (N, H, W, C_in)
        Is filled.
    """
    _grad_input(grad_out, panels, kernel_size, stride, padding, grad_x, 48)
