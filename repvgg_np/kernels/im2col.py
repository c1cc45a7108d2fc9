"""Convolution as a matrix product: any kernel size, stride, padding and groups.

"im2col" (image to columns) writes the K x K patch of the input behind each output pixel as one row of a matrix. The
convolution is then that matrix times the kernel, written as a matrix too:

    out[n, :, i, j] = patch(n, i, j) @ kernel_matrix + bias        patch: (K*K*C_in,), kernel_matrix: (K*K*C_in, C_out)

The whole matrix would be K*K times as large as the input. Here each thread writes a few dozen rows at a time into a
buffer that stays in its cache, multiplies them (`gemm.py`), and goes on to the next. With groups, each group has its
own patches (its slice of the channels) and its own kernel matrix.

The oracle is `reference.conv2d`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.copy import clear_run, copy_rows, copy_run
from repvgg_np.kernels.gemm import TILE_ROWS, multiply, pack_panels, round_up, row_with_room
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES

# The patches of one block should leave room in a core's second-level cache for the panel that they are multiplied by.
BLOCK_BYTES = 192 * 1024
MOST_ROWS = 96


def pack_kernel(weight, groups):
    """Pack a convolution kernel into the panels of `gemm.py`, one matrix for each group.

    Parameters
    ----------
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    groups : int

    Returns
    -------
    ndarray (groups, packed size)
        Rows of each matrix in the order of a patch in memory: kernel row, kernel column, channel.
    """
    c_out, depth_in, k_h, k_w = weight.shape
    split = weight.reshape(groups, c_out // groups, depth_in, k_h, k_w)
    matrices = split.transpose(0, 3, 4, 2, 1)  # -> (groups, K_h, K_w, C_in / groups, C_out / groups)
    matrices = matrices.reshape(groups, k_h * k_w * depth_in, c_out // groups)
    return pack_panels(matrices)


def pad_bias(bias, c_out, groups, dtype):
    """Lay the bias out as the tiles read it: each group's part followed by zeros up to two whole registers.

    Parameters
    ----------
    bias : ndarray (C_out,) or None
        None is a bias of zeros.
    c_out, groups : int
    dtype : numpy.dtype

    Returns
    -------
    ndarray (groups, C_out / groups rounded up)
    """
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    padded = np.zeros((groups, round_up(c_out // groups, 2 * lanes)), dtype)
    if bias is not None:
        padded[:, : c_out // groups] = bias.reshape(groups, -1)
    return padded


@kernel
def gather_patches(x, flat_x, first, rows, out_size, group, depth_in, kernel_size, stride, padding, patches, depth):
    """Write the patches of the output pixels `first` to `first + rows - 1`, one after the other, into `patches`.

    `x` is (N, H, W, C), `flat_x` the same memory; output pixels are numbered through all pictures, of `out_size` each;
    a patch holds `depth = K_h * K_w * depth_in` numbers.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    k_h, k_w = kernel_size
    for row in range(rows):
        n, pixel = divmod(first + row, out_size[0] * out_size[1])
        top = pixel // out_size[1] * stride[0] - padding[0]
        left = pixel % out_size[1] * stride[1] - padding[1]
        place = row * depth
        for i in range(top, top + k_h):
            start = ((n * height + i) * width + left) * channels + group * depth_in
            if 0 <= i < height and left >= 0 and left + k_w <= width and depth_in == channels:
                copy_run(flat_x, start, patches, place, k_w * depth_in)  # the pixels of a row are neighbours
                place += k_w * depth_in
            else:
                for j in range(left, left + k_w):
                    if 0 <= i < height and 0 <= j < width:
                        copy_run(flat_x, start, patches, place, depth_in)
                    else:
                        clear_run(patches, place, depth_in)
                    start += channels
                    place += depth_in


@parallel_kernel
def _conv2d(x, panels, bias, relu, kernel_size, stride, padding, out, block, workers):
    groups = panels.shape[0]
    channels, c_out = x.shape[3], out.shape[3]
    depth_in, columns = channels // groups, c_out // groups
    depth = kernel_size[0] * kernel_size[1] * depth_in
    out_size = (out.shape[1], out.shape[2])
    pixels = out.shape[0] * out.shape[1] * out.shape[2]
    blocks = (pixels + block - 1) // block
    lanes = VECTOR_BYTES // x.itemsize
    flat_x, flat_out, flat_panels, flat_bias = x.reshape(-1), out.reshape(-1), panels.reshape(-1), bias.reshape(-1)
    # With a 1x1 kernel at stride 1 the picture itself is the matrix of patches.
    is_matrix = kernel_size == (1, 1) and stride == (1, 1) and padding == (0, 0)
    fits_registers = columns % lanes == 0  # else the result goes through a buffer whose rows have room to spare
    result_stride = row_with_room(c_out, columns, lanes)
    # Every output pixel is written by one block alone, so any share of the blocks among threads gives the same bits.
    for worker in prange(workers):
        patches = np.empty(block * depth + lanes, x.dtype)
        result = np.empty(block * result_stride, x.dtype)
        for b in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            first = b * block
            rows = min(block, pixels - first)
            if fits_registers:
                target, place, target_stride = flat_out, first * c_out, c_out
            else:
                target, place, target_stride = result, 0, result_stride
            for group in range(groups):
                if is_matrix:
                    matrix, start, row_stride = flat_x, first * channels + group * depth_in, channels
                else:
                    gather_patches(
                        x, flat_x, first, rows, out_size, group, depth_in, kernel_size, stride, padding, patches, depth
                    )
                    matrix, start, row_stride = patches, 0, depth
                multiply(
                    matrix, start, row_stride, rows, depth,
                    flat_panels, group * panels.shape[1], columns, flat_bias, group * bias.shape[1], relu,
                    target, place + group * columns, target_stride,
                )  # fmt: skip
            if not fits_registers:
                copy_rows(result, 0, result_stride, flat_out, first * c_out, rows, c_out)


def conv2d(x, panels, bias, relu, kernel_size, stride, padding, out):
    """Convolve, by patches.

    Parameters
    ----------
    x : ndarray (N, H, W, C_in)
    panels : ndarray
        From `pack_kernel`.
    bias : ndarray
        From `pad_bias`.
    relu : bool
        Whether to replace what is negative by zero.
    kernel_size, stride, padding : pair of int
    out : ndarray (N, H_out, W_out, C_out)
        Is filled.
    """
    workers = get_num_threads()
    depth = kernel_size[0] * kernel_size[1] * (x.shape[3] // panels.shape[0])
    fits = max(1, BLOCK_BYTES // (depth * x.itemsize * TILE_ROWS)) * TILE_ROWS
    pixels = out.shape[0] * out.shape[1] * out.shape[2]
    share = round_up(-(-pixels // workers), TILE_ROWS)
    block = max(TILE_ROWS, min(fits, share, MOST_ROWS))  # an empty batch has no share
    _conv2d(x, panels, bias, relu, kernel_size, stride, padding, out, block, workers)
