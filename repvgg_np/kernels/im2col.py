"""Convolution as a matrix product: any kernel size, stride, padding and groups.

"im2col" (image to columns) makes the K x K patch of the input behind each output pixel one row of a matrix. The
convolution is then that matrix times the kernel, written as a matrix too:

    out[n, :, i, j] = patch(n, i, j) @ kernel_matrix + bias        patch: (K*K*C_in,), kernel_matrix: (K*K*C_in, C_out)

Here the matrix is never written down. A patch is K runs of the picture's memory, one for each row of pixels (channels
last, K neighbouring pixels are K*C_in neighbouring numbers), and the tiles of `tiles.py` read rows that lie in runs.
All that is copied is a band of the picture, with its border of zeros, into a buffer that stays in the core's cache.

With groups, each group has its own slice of the channels, so that its patches are K*K runs, and its own kernel matrix.

The oracle is `reference.conv2d`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.copy import copy_padded_rows
from repvgg_np.kernels.gemm import multiply, round_up
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.layout import plain_memory
from repvgg_np.kernels.simd import VECTOR_BYTES

# A band should leave room in a core's second-level cache for the panel that it is multiplied by.
BAND_BYTES = 256 * 1024


def pack_kernel(weight, groups, turned=False):
    """Pack a convolution kernel into the panels of `gemm.py`, one matrix for each group.

    Parameters
    ----------
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    groups : int
    turned : bool
        Whether to pack the kernel of the transposed convolution instead, which makes the gradient of the input: turned
        by 180 degrees, its two channel axes exchanged in each group.

    Returns
    -------
    ndarray (groups, packed size)
        Rows of each matrix in the order of a patch in memory: kernel row, kernel column, channel.
    """
    c_out, depth_in, k_h, k_w = weight.shape
    taps = k_h * k_w
    # How many channels there are on each side, and how far one is from the next in memory.
    inputs, outputs = (depth_in, taps), (c_out // groups, depth_in * taps)
    (depth, depth_step), (columns, column_step) = (outputs, inputs) if turned else (inputs, outputs)
    first, tap_step = (taps - 1, -1) if turned else (0, 1)
    panels = buffers.empty((groups, taps * depth * round_up(columns, VECTOR_BYTES // weight.itemsize)), weight.dtype)
    flat = plain_memory(weight).reshape(-1)
    _pack(flat, first, taps, tap_step, depth, depth_step, columns, column_step, panels)
    return panels


@kernel
def _pack(flat, first, taps, tap_step, depth, depth_step, columns, column_step, panels):
    """Write a matrix for each group into its panels, as `gemm.pack_panels` does.

    The number of tap k, channel c (row k * depth + c of the matrix) and column n lies at
    `flat[first + k * tap_step + c * depth_step + n * column_step]`, and `taps * depth * columns` further on in each
    further group.
    """
    lanes = VECTOR_BYTES // flat.itemsize
    for group in range(panels.shape[0]):
        place, start = 0, first + group * taps * depth * columns
        for panel in range(0, columns, 2 * lanes):
            width = min(round_up(columns - panel, lanes), 2 * lanes)
            real = min(columns - panel, width)
            for c in range(depth):  # the taps of a channel are neighbours in memory
                for k in range(taps):
                    row = place + (k * depth + c) * width
                    source = start + k * tap_step + c * depth_step + panel * column_step
                    for n in range(real):
                        panels[group, row + n] = flat[source + n * column_step]
                    for n in range(real, width):
                        panels[group, row + n] = 0
            place += taps * depth * width


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
def convolve_share(x, panels, bias, relu, kernel_size, stride, padding, out, band, parts, share, picture):
    """Compute the items of work `share[0]` to `share[1] - 1`, on one thread.

    An item is a band of `band` rows of output pixels of one picture, for one of `parts` parts of the output channels.
    `picture` is room for a band of the padded picture.
    """
    size, channels, c_out = x.shape[1:], x.shape[3], out.shape[3]
    height, width = out.shape[1], out.shape[2]
    groups = panels.shape[0]
    depth_in, columns = channels // groups, c_out // groups
    k_h, k_w = kernel_size
    in_place = padding == (0, 0)  # without a border, the picture is read where it lies
    row_length = (size[1] + 2 * padding[1]) * channels
    # With one group, the K pixels of a row are a single run.
    inner, length = (1, k_w * channels) if groups == 1 else (k_w, depth_in)
    runs = (k_h, row_length, inner, channels, length)
    depth = k_h * k_w * depth_in
    flat_x, flat_out, flat_panels, flat_bias = x.reshape(-1), out.reshape(-1), panels.reshape(-1), bias.reshape(-1)
    starts = np.empty(band * width, np.intp)  # where the patch of each pixel of a band begins
    for pixel in range(band * width):
        starts[pixel] = pixel // width * stride[0] * row_length + pixel % width * stride[1] * channels
    bands = (height + band - 1) // band
    part_columns = part_width(columns, parts, VECTOR_BYTES // x.itemsize)
    for item in range(share[0], share[1]):
        part, n, first = item // (x.shape[0] * bands), item // bands % x.shape[0], item % bands * band
        rows = min(band, height - first)
        column = part * part_columns
        top = first * stride[0] - padding[0]
        if in_place:
            source, offset = flat_x, (n * size[0] + top) * row_length
        else:
            copy_padded_rows(flat_x, n, size, top, (rows - 1) * stride[0] + k_h, padding[1], picture)
            source, offset = picture, 0
        for group in range(groups):
            multiply(
                source, offset + group * depth_in, starts, rows * width, runs,
                flat_panels, group * panels.shape[1] + column * depth, min(part_columns, columns - column),
                flat_bias, group * bias.shape[1] + column, False, relu,
                flat_out, (n * height + first) * width * c_out + group * columns + column, c_out,
            )  # fmt: skip


@kernel
def part_width(columns, parts, lanes):
    """Return how many columns, in whole panels, each of `parts` parts of the output channels has."""
    return columns if parts == 1 else round_up((columns + parts - 1) // parts, 2 * lanes)


@parallel_kernel
def _conv2d(x, panels, bias, relu, kernel_size, stride, padding, out, band, parts, scratch):
    workers = scratch.shape[0]
    items = x.shape[0] * ((out.shape[1] + band - 1) // band) * parts
    # Every output is computed by one item alone, so any share of them among threads gives the same bits.
    for worker in prange(workers):
        number = np.intp(worker)
        share = (items * number // workers, items * (number + 1) // workers)
        convolve_share(x, panels, bias, relu, kernel_size, stride, padding, out, band, parts, share, scratch[number])


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
    workers, lanes = get_num_threads(), VECTOR_BYTES // x.itemsize
    if kernel_size == (1, 1) and stride == (1, 1) and padding == (0, 0):
        # Every pixel is a patch of its own: a batch is one tall picture.
        x, out = x.reshape(1, -1, 1, x.shape[3]), out.reshape(1, -1, 1, out.shape[3])
    pictures, height = out.shape[:2]
    row_bytes = (x.shape[2] + 2 * padding[1]) * x.shape[3] * x.itemsize
    band = max(1, min((BAND_BYTES // row_bytes - kernel_size[0]) // stride[0] + 1, height))
    parts, panels_across = 1, -(-out.shape[3] // panels.shape[0] // (2 * lanes))
    if pictures * -(-height // band) < 4 * workers:  # too few bands to keep all threads busy to the end:
        if panels_across % workers == 0:
            parts = workers  # each thread takes a part of the channels, and reads that part of the kernel alone
        else:
            band = max(1, min(band, pictures * height // (2 * workers)))
    room = ((band - 1) * stride[0] + kernel_size[0]) * row_bytes // x.itemsize
    scratch = buffers.empty((workers, 1 if padding == (0, 0) else room), x.dtype)
    _conv2d(x, panels, bias, relu, kernel_size, stride, padding, out, band, parts, scratch)
