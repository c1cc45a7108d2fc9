"""Winograd's convolution F(4x4, 3x3): a 3x3 convolution with a quarter of the multiplications.

Sixteen outputs in a 4x4 square depend on a 6x6 patch d of the input. Directly, that takes 16 * 9 = 144
multiplications for each pair of channels. Winograd's identity (Lavin and Gray, arXiv 1509.09308) takes 36:

    Y = A^T [ (G g G^T) . (B^T d B) ] A          g: 3x3 kernel, d: 6x6 patch, Y: 4x4 outputs, ".": number by number

U = G g G^T is made once for each kernel. V = B^T d B and the final A^T [...] A need only additions, and
multiplications by small constants, once for each channel, not for each pair. Between them, each of the 36 numbers of
a patch is a matrix product of its own over the channels: M[p] = V[p] @ U[p], (tiles, C_in) @ (C_in, C_out), done by
`gemm.py`.

A thread takes a block of tiles through all three steps, so that V and M stay in its cache.

The matrices are exact, the arithmetic is not: see `verify.py` for the rounding bound. The oracles are
`reference.winograd_conv2d`, step by step, and `reference.conv2d`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.copy import clear_run, copy_rows, copy_run
from repvgg_np.kernels.gemm import TILE_ROWS, multiply, round_up, row_with_room
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.layout import plain_memory
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, maximum, store, subtract, zeros

# V and M of a block should stay in a core's second-level cache, with room for the panels that pass through.
BLOCK_BYTES = 640 * 1024


@kernel
def kernel_transform(g0, g1, g2):
    """Multiply three numbers by G: one column (or row) of G g G^T."""
    outer, inner = g0 + g2, g0 / 24 + g2 / 6
    return g0 / 4, -(outer + g1) / 6, (g1 - outer) / 6, inner + g1 / 12, inner - g1 / 12, g2


@parallel_kernel
def _transform_kernel(weight, panels):
    groups = panels.shape[1]
    c_out, depth_in = weight.shape[0], weight.shape[1]
    columns = c_out // groups
    lanes = VECTOR_BYTES // weight.itemsize
    for c in prange(depth_in):  # each iteration writes row c of every matrix
        # In float64, rounded once at the end: every rounding here would be seen in each output.
        halfway, u = np.empty((6, 3), np.float64), np.empty((6, 6), np.float64)
        for o in range(c_out):
            g = weight[o, c].astype(np.float64)
            for j in range(3):  # G g, column by column
                t = kernel_transform(g[0, j], g[1, j], g[2, j])
                for i in range(6):
                    halfway[i, j] = t[i]
            for i in range(6):  # (G g) G^T, row by row
                t = kernel_transform(halfway[i, 0], halfway[i, 1], halfway[i, 2])
                for j in range(6):
                    u[i, j] = t[j]
            group, column = o // columns, o % columns
            panel = column // (2 * lanes) * 2 * lanes  # the first column of the panel that this one is in
            width = 2 * lanes if columns - panel > lanes else lanes
            place = panel * depth_in + c * width + column - panel
            for p in range(36):
                panels[p, group, place] = u[p // 6, p % 6]


def transform_kernel(weight, groups):
    """Transform a 3x3 kernel, U = G g G^T, and pack the 36 matrices into panels.

    Parameters
    ----------
    weight : ndarray (C_out, C_in / groups, 3, 3)
    groups : int

    Returns
    -------
    ndarray (36, groups, packed size)
        `[p, group]` is the packed (C_in / groups, C_out / groups) matrix of position p = 6 * row + column, as
        `gemm.pack_panels` would pack it.
    """
    c_out, depth_in = weight.shape[:2]
    lanes = VECTOR_BYTES // weight.itemsize
    panels = np.zeros((36, groups, depth_in * round_up(c_out // groups, lanes)), weight.dtype)
    _transform_kernel(plain_memory(weight), panels)
    return panels


@kernel
def input_transform(d, place, step, out, target, out_step):
    """Multiply six registers by B^T: one column (or row) of B^T d B."""
    d0, d1, d2 = load(d, place), load(d, place + step), load(d, place + 2 * step)
    d3, d4, d5 = load(d, place + 3 * step), load(d, place + 4 * step), load(d, place + 5 * step)
    even, odd = fma(d4, -4, d2), fma(d3, -4, d1)
    store(out, target, fma(fma(d4, -5, d2), 4, d0))
    store(out, target + out_step, add(even, odd))
    store(out, target + 2 * out_step, subtract(even, odd))
    even, odd = subtract(d4, d2), subtract(d3, d1)
    store(out, target + 3 * out_step, fma(even, 2, odd))
    store(out, target + 4 * out_step, fma(even, -2, odd))
    store(out, target + 5 * out_step, fma(fma(d5, -5, d3), 4, d1))


@kernel
def output_transform(m, place, step):
    """Multiply six registers by A^T: one column (or row) of A^T M A, four registers."""
    m0, m1, m2 = load(m, place), load(m, place + step), load(m, place + 2 * step)
    m3, m4, m5 = load(m, place + 3 * step), load(m, place + 4 * step), load(m, place + 5 * step)
    sum12, difference12 = add(m1, m2), subtract(m1, m2)
    sum34, difference34 = add(m3, m4), subtract(m3, m4)
    return (
        add(m0, add(sum12, sum34)),
        fma(difference12, 2, difference34),
        fma(sum12, 4, sum34),
        add(m5, fma(difference12, 8, difference34)),
    )


@kernel
def transform_patch(x, flat_x, n, top, left, v, flat_v, tile, patch, columns):
    """Write V = B^T d B of one tile, whose 6x6 patch of picture n begins at row `top` and column `left`.

    `x` is (N, H, W, C) and `flat_x` the same memory; V is `v[36, tiles, C padded]`, and `flat_v` the same memory;
    `patch` (36 pixels and a register) and `columns` (36 registers) are room to work in. The channels of V behind the
    real ones are never read: whatever lies behind a pixel's channels may get there.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    lanes = VECTOR_BYTES // x.itemsize
    padded = v.shape[2]
    position = v.shape[1] * padded  # from one of the 36 positions to the next
    corner = ((n * height + top) * width + left) * channels
    end = corner + (5 * width + 5) * channels + padded
    inside = top >= 0 and top + 6 <= height and left >= 0 and left + 6 <= width and end <= x.size
    if inside:
        source, row_step, step = flat_x, width * channels, channels
    else:  # a patch over the border: make a copy with zeros around it
        source, row_step, step = patch, 6 * channels, channels
        for i in range(6):
            for j in range(6):
                pixel = corner + (i * width + j) * channels
                if 0 <= top + i < height and 0 <= left + j < width:
                    copy_run(flat_x, pixel, patch, (6 * i + j) * channels, channels)
                else:
                    clear_run(patch, (6 * i + j) * channels, channels)
        corner = 0
    for c in range(0, padded, lanes):
        for j in range(6):  # B^T d, column by column
            input_transform(source, corner + j * step + c, row_step, columns, j * lanes, 6 * lanes)
        for i in range(6):  # (B^T d) B, row by row
            input_transform(columns, 6 * i * lanes, lanes, flat_v, 6 * i * position + tile * padded + c, position)


@kernel
def transform_back(flat_m, tiles, padded, tile, bias, relu, out, flat_out, n, top, left, columns, square):
    """Write Y = A^T M A + bias of one tile to the 4x4 outputs of picture n that begin at row `top`, column `left`.

    M is (36, tiles, padded), as a flat array; `out` is (N, H, W, C) and `flat_out` the same memory; `bias` has zeros
    behind it; `columns` (24 registers) and `square` (16 pixels) are room to work in.
    """
    height, width, channels = out.shape[1], out.shape[2], out.shape[3]
    lanes = VECTOR_BYTES // out.itemsize
    position = tiles * padded  # from one of the 36 positions to the next
    corner = ((n * height + top) * width + left) * channels
    whole = top + 4 <= height and left + 4 <= width and channels % lanes == 0
    if whole:
        target, place, row_step, step = flat_out, corner, width * channels, channels
    else:  # over the border, or with a last register that is not full: through a buffer
        target, place, row_step, step = square, 0, 4 * padded, padded
    zero = zeros(columns)
    for c in range(0, channels, lanes):
        for j in range(6):  # A^T M, column by column
            y0, y1, y2, y3 = output_transform(flat_m, j * position + tile * padded + c, 6 * position)
            store(columns, j * lanes, y0)
            store(columns, (6 + j) * lanes, y1)
            store(columns, (12 + j) * lanes, y2)
            store(columns, (18 + j) * lanes, y3)
        b = load(bias, c)
        for i in range(4):  # (A^T M) A, row by row
            y0, y1, y2, y3 = output_transform(columns, 6 * i * lanes, lanes)
            y0, y1, y2, y3 = add(y0, b), add(y1, b), add(y2, b), add(y3, b)
            if relu:
                y0, y1, y2, y3 = maximum(y0, zero), maximum(y1, zero), maximum(y2, zero), maximum(y3, zero)
            here = place + i * row_step + c
            store(target, here, y0)
            store(target, here + step, y1)
            store(target, here + 2 * step, y2)
            store(target, here + 3 * step, y3)
    if not whole:
        for i in range(min(4, height - top)):
            row = corner + i * width * channels
            copy_rows(square, 4 * i * padded, padded, flat_out, row, min(4, width - left), channels)


@parallel_kernel
def _conv2d(x, panels, bias, relu, padding, out, block, workers):
    groups = panels.shape[1]
    c_in, c_out = x.shape[3], out.shape[3]
    lanes = VECTOR_BYTES // x.itemsize
    tiles_down, tiles_across = (out.shape[1] + 3) // 4, (out.shape[2] + 3) // 4
    tiles = x.shape[0] * tiles_down * tiles_across
    blocks = (tiles + block - 1) // block
    padded_in, padded_out = round_up(c_in, lanes), row_with_room(c_out, c_out // groups, lanes)
    flat_x, flat_out, flat_panels = x.reshape(-1), out.reshape(-1), panels.reshape(-1)
    # Every tile is computed by one block alone, so any share of the blocks among threads gives the same bits.
    for worker in prange(workers):
        v = np.empty((36, block, padded_in), x.dtype)
        flat_v = v.reshape(-1)
        m = np.empty(36 * block * padded_out, x.dtype)
        patch = np.zeros(36 * c_in + lanes, x.dtype)
        if padded_out > c_out:
            m[:] = 0  # the lanes to spare are computed with, though never looked at: let them hold numbers
        columns = np.empty(36 * lanes, x.dtype)
        square = np.empty(16 * padded_out, x.dtype)
        no_bias = np.zeros(c_out + 2 * lanes, x.dtype)
        for b in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            first = b * block
            count = min(block, tiles - first)
            for t in range(count):
                n, down, across = split_tile(first + t, tiles_down, tiles_across)
                top, left = 4 * down - padding[0], 4 * across - padding[1]
                transform_patch(x, flat_x, n, top, left, v, flat_v, t, patch, columns)
            for p in range(36):
                for group in range(groups):
                    multiply(
                        flat_v, p * block * padded_in + group * (c_in // groups), padded_in, count, c_in // groups,
                        flat_panels, (p * groups + group) * panels.shape[2], c_out // groups, no_bias, 0, False,
                        m, p * block * padded_out + group * (c_out // groups), padded_out,
                    )  # fmt: skip
            for t in range(count):
                n, down, across = split_tile(first + t, tiles_down, tiles_across)
                transform_back(
                    m, block, padded_out, t, bias, relu, out, flat_out, n, 4 * down, 4 * across, columns, square
                )


@kernel
def split_tile(tile, tiles_down, tiles_across):
    """Return the picture, the row and the column of a tile, from its number through all pictures."""
    return tile // (tiles_down * tiles_across), tile // tiles_across % tiles_down, tile % tiles_across


def conv2d(x, panels, bias, relu, padding, out):
    """Convolve with a 3x3 kernel at stride 1, by Winograd's F(4x4, 3x3).

    Parameters
    ----------
    x : ndarray (N, H, W, C_in)
    panels : ndarray
        From `transform_kernel`.
    bias : ndarray (C_out rounded up to whole registers,)
        Zeros behind the real ones.
    relu : bool
        Whether to replace what is negative by zero.
    padding : pair of int
    out : ndarray (N, H_out, W_out, C_out)
        Is filled.
    """
    workers = get_num_threads()
    lanes = VECTOR_BYTES // x.itemsize
    tile_bytes = 36 * x.itemsize * (round_up(x.shape[3], lanes) + round_up(out.shape[3], lanes))
    fits = max(1, BLOCK_BYTES // (tile_bytes * TILE_ROWS)) * TILE_ROWS
    tiles = out.shape[0] * -(-out.shape[1] // 4) * -(-out.shape[2] // 4)
    share = -(-tiles // workers)
    block = max(1, min(fits, share, 48))
    _conv2d(x, panels, bias, relu, padding, out, block, workers)
