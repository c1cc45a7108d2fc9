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

import math

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.copy import add_run, clear_run, copy_padded_rows
from repvgg_np.kernels.gemm import multiply, round_up
from repvgg_np.kernels.gradient_tiles import (
    TILE_ROWS,
    gradient_tile_of_one_register,
    gradient_tile_of_two_registers,
)
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES

PIXEL_BYTES = 128 * 1024


@kernel
def tap_offsets(kernel_size, depth_in, padded_width, channels):
    """Return how far each row (k, l, c) of grad_w lies from the first pixel of a padded picture."""
    offsets = np.empty(kernel_size[0] * kernel_size[1] * depth_in, np.intp)
    row = 0
    for k in range(kernel_size[0]):
        for l in range(kernel_size[1]):  # noqa: E741
            for c in range(depth_in):
                offsets[row] = (k * padded_width + l) * channels + c
                row += 1
    return offsets


@kernel
def add_picture(
    picture, first, offsets, walk, flat_out, place, columns, flat_grad, target, row_length, share
):  # fmt: skip
    """Add what one picture gives to the rows of grad_w, six at a time, numbered `share[0]` to `share[1] - 1`.

    Row r has its number for the first pixel at `picture[first + offsets[r]]`; the gradients begin at `flat_out[place]`.
    """
    lanes = VECTOR_BYTES // picture.itemsize
    last = offsets.size - 1
    for column in range(0, columns, 2 * lanes):
        left = columns - column
        for tile in range(share[0], share[1]):
            row = tile * TILE_ROWS
            r0, r1, r2 = row, min(row + 1, last), min(row + 2, last)
            r3, r4, r5 = min(row + 3, last), min(row + 4, last), min(row + 5, last)
            sources = (
                first + offsets[r0], first + offsets[r1], first + offsets[r2],
                first + offsets[r3], first + offsets[r4], first + offsets[r5],
            )  # fmt: skip
            start = target + column
            targets = (
                start + r0 * row_length, start + r1 * row_length, start + r2 * row_length,
                start + r3 * row_length, start + r4 * row_length, start + r5 * row_length,
            )  # fmt: skip
            if left > lanes:
                last_lanes = min(left - lanes, lanes)
                gradient_tile_of_two_registers(
                    picture, sources, flat_out, place + column, walk, last_lanes, flat_grad, targets
                )
            else:
                gradient_tile_of_one_register(
                    picture, sources, flat_out, place + column, walk, left, flat_grad, targets
                )


@parallel_kernel
def _grad_weight(x, grad_out, kernel_size, stride, padding, groups, grad, scratch):
    workers = scratch.shape[0]
    channels, c_out = x.shape[3], grad_out.shape[3]
    depth_in, columns = channels // groups, c_out // groups
    depth = kernel_size[0] * kernel_size[1] * depth_in
    pixels = grad_out.shape[1] * grad_out.shape[2]
    padded_height, padded_width = x.shape[1] + 2 * padding[0], x.shape[2] + 2 * padding[1]
    tiles = (depth + TILE_ROWS - 1) // TILE_ROWS
    row_length = grad.shape[2]  # columns rounded up to whole registers
    in_place = padding == (0, 0)  # without a border, the picture is read where it lies
    walk = (grad_out.shape[1], stride[0] * padded_width * channels, grad_out.shape[2], stride[1] * channels, c_out)
    flat_x, flat_out, flat_grad = x.reshape(-1), grad_out.reshape(-1), grad.reshape(-1)
    # A worker owns some rows of grad_w and runs through all pictures for them, in order: nothing is added up across
    # threads, and the bits do not depend on how many there are.
    for worker in prange(workers):
        number = np.intp(worker)
        share = (tiles * number // workers, tiles * (number + 1) // workers)
        offsets = tap_offsets(kernel_size, depth_in, padded_width, channels)
        for n in range(x.shape[0]):
            picture, first = scratch[number], 0
            if in_place:
                picture, first = flat_x, n * padded_height * padded_width * channels
            else:
                copy_padded_rows(flat_x, n, x.shape[1:], -padding[0], padded_height, padding[1], picture)
            for group in range(groups):
                add_picture(
                    picture, first + group * depth_in, offsets, walk, flat_out, n * pixels * c_out + group * columns,
                    columns, flat_grad, group * depth * row_length, row_length, share,
                )  # fmt: skip


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
    grad = np.zeros((groups, k_h * k_w * depth_in, round_up(columns, VECTOR_BYTES // x.itemsize)), x.dtype)
    if kernel_size == (1, 1) and stride == (1, 1) and padding == (0, 0):
        # The pixels are rows of two matrices, and may be dealt out to pictures in any other way.
        # A picture of a few hundred of them stays in the cache while all tiles of grad_w walk over it.
        pixels = x.shape[0] * x.shape[1] * x.shape[2]
        length = math.gcd(pixels, 1 << (PIXEL_BYTES // (4 * (x.shape[3] + grad_out.shape[3]))).bit_length())
        if length > x.shape[1] * x.shape[2] or x.shape[1] * x.shape[2] > 2 * length > 64:
            x, grad_out = x.reshape(-1, length, 1, x.shape[3]), grad_out.reshape(-1, length, 1, grad_out.shape[3])
    room = (x.shape[1] + 2 * padding[0]) * (x.shape[2] + 2 * padding[1]) * x.shape[3]
    scratch = buffers.empty((get_num_threads(), room if padding != (0, 0) else 1), x.dtype)
    _grad_weight(x, grad_out, kernel_size, stride, padding, groups, grad, scratch)
    grad = grad[:, :, :columns].reshape(groups, k_h, k_w, depth_in, columns)
    grad = grad.transpose(0, 4, 3, 1, 2)  # -> (groups, C_out / groups, C_in / groups, K_h, K_w)
    return grad.reshape(grad_out.shape[3], depth_in, k_h, k_w)


@kernel
def scatter_patches(
    patches, first, rows, out_width, n, group, depth_in, kernel_size, stride, padding, flat_grad_x, size
):  # fmt: skip
    """Add rows of grad_cols, for output pixels from `first` on of picture n, to the pixels that they came from.

    `flat_grad_x` is the memory of pictures (N, H, W, C) and `size` their (H, W, C).
    """
    height, width, channels = size
    k_h, k_w = kernel_size
    run = k_w * depth_in
    for row in range(rows):
        top = (first + row) // out_width * stride[0] - padding[0]
        left = (first + row) % out_width * stride[1] - padding[1]
        for k in range(k_h):
            place = (row * k_h + k) * run
            i = top + k
            if not 0 <= i < height:
                continue
            target = ((n * height + i) * width + left) * channels + group * depth_in
            if left >= 0 and left + k_w <= width and depth_in == channels:
                add_run(patches, place, flat_grad_x, target, run)  # the pixels of a row are neighbours
            else:
                for j in range(k_w):
                    if 0 <= left + j < width:
                        add_run(patches, place + j * depth_in, flat_grad_x, target + j * channels, depth_in)


@parallel_kernel
def _grad_input(grad_out, panels, kernel_size, stride, padding, grad_x, block):
    groups = panels.shape[0]
    c_out = grad_out.shape[3]
    depth_in, columns = grad_x.shape[3] // groups, c_out // groups
    depth = kernel_size[0] * kernel_size[1] * depth_in
    pixels = grad_out.shape[1] * grad_out.shape[2]
    lanes = VECTOR_BYTES // grad_out.itemsize
    flat_out, flat_panels, flat_grad_x = grad_out.reshape(-1), panels.reshape(-1), grad_x.reshape(-1)
    for picture_number in prange(grad_x.shape[0]):  # patches overlap within a picture only: each iteration owns one
        n = np.intp(picture_number)
        patches = np.empty(block * depth, grad_out.dtype)
        starts = c_out * np.arange(block)
        no_bias = np.zeros(depth + 2 * lanes, grad_out.dtype)
        picture = grad_x.shape[1] * grad_x.shape[2] * grad_x.shape[3]
        clear_run(flat_grad_x, n * picture, picture)
        for first in range(0, pixels, block):
            rows = min(block, pixels - first)
            for group in range(groups):
                multiply(
                    flat_out, (n * pixels + first) * c_out + group * columns, starts, rows, (1, 0, 1, 0, columns),
                    flat_panels, group * panels.shape[1], depth, no_bias, 0, False, False, patches, 0, depth,
                )  # fmt: skip
                scatter_patches(
                    patches, first, rows, grad_out.shape[2], n, group, depth_in, kernel_size, stride, padding,
                    flat_grad_x, grad_x.shape[1:],
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
