"""The gradient of a 3x3 kernel in Winograd's domain: a quarter of the multiplications here, too.

With Y = A^T [ (G g G^T) . V ] A and V = B^T d B, the chain rule gives, for one tile and one pair of channels,

    dM = A dY A^T,      dU = V . dM,      dg = G^T dU G          (".": number by number)

dU is summed over all tiles of all pictures, so each of its 36 numbers is a matrix product over the tiles,
dU[p] = V[p]^T @ dM[p], (C_in, tiles) @ (tiles, C_out), and the last step is done once at the end.

The threads transform a block of tiles together; then each takes some of the 36 products. Every sum is made by one
thread, in the order of the tiles, so that the bits do not depend on how many threads there are.

(The gradient of the input needs no kernel of its own: it is a convolution again, see `convolution.py`.)

The oracle is `reference.conv2d_backward`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.gemm import round_up
from repvgg_np.kernels.gradient_tiles import (
    TILE_ROWS,
    gradient_tile_of_one_register,
    gradient_tile_of_two_registers,
)
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, store, subtract, times
from repvgg_np.kernels.winograd import split_tile
from repvgg_np.kernels.winograd_transforms import load_six, read, store_six, times_a_transposed, transform_patch

MOST_TILES = 128  # in a block: V and dM of a block stay in the cache that the threads share


@kernel
def times_g_transposed(u0, u1, u2, u3, u4, u5):
    """Multiply six registers by 24 G^T: one column (or row) of G^T dU G, three registers."""
    sum12, sum34 = add(u1, u2), add(u3, u4)
    return (
        fma(fma(sum34, -4, sum12), 6, u0),
        fma(times(2, subtract(u3, u4)), -4, subtract(u1, u2)),
        fma(times(4, subtract(sum34, sum12)), 24, u5),
    )


@kernel
def transform_gradient(flat_grad, size, n, top, left, channel, count, m, place, position, columns):
    """Write dM = A dY A^T of the 4x4 gradients of picture n that begin at row `top`, column `left`.

    As `winograd_transforms.transform_patch`. What lies outside of the picture is zero. `columns`: 24 registers.
    """
    height, width, channels = size
    lanes = VECTOR_BYTES // flat_grad.itemsize
    row = width * channels
    corner = (n * height + top) * row + left * channels + channel
    for c in range(0, count, lanes):
        for j in range(4):  # A dY, column by column
            start, x = corner + j * channels + c, left + j
            six = times_a_transposed(
                read(flat_grad, start, top, x, size, count - c),
                read(flat_grad, start + row, top + 1, x, size, count - c),
                read(flat_grad, start + 2 * row, top + 2, x, size, count - c),
                read(flat_grad, start + 3 * row, top + 3, x, size, count - c),
            )
            store_six(columns, j * lanes, 4 * lanes, six)
        for i in range(6):  # (A dY) A^T, row by row
            here = 4 * i * lanes
            six = times_a_transposed(
                load(columns, here),
                load(columns, here + lanes),
                load(columns, here + 2 * lanes),
                load(columns, here + 3 * lanes),
            )
            store_six(m, place + 6 * i * position + c, position, six)


@kernel
def transform_share(x, grad_out, padding, group, groups, first, share, v, m, position_v, position_m):
    """Write V and dM of the tiles `share[0]` to `share[1] - 1` of the block that begins with tile `first`."""
    in_size, out_size = x.shape[1:], grad_out.shape[1:]
    depth, columns = x.shape[3] // groups, grad_out.shape[3] // groups
    lanes = VECTOR_BYTES // x.itemsize
    tiles_down, tiles_across = (grad_out.shape[1] + 3) // 4, (grad_out.shape[2] + 3) // 4
    flat_x, flat_grad = x.reshape(-1), grad_out.reshape(-1)
    row_v, row_m = round_up(depth, lanes), round_up(columns, lanes)
    room = np.empty(36 * lanes, x.dtype)
    for t in range(share[0], share[1]):
        n, i, j = split_tile(first + t, tiles_down, tiles_across)
        top, left = 4 * i - padding[0], 4 * j - padding[1]
        transform_patch(flat_x, in_size, n, top, left, group * depth, depth, v, t * row_v, position_v, room)
        transform_gradient(
            flat_grad, out_size, n, 4 * i, 4 * j, group * columns, columns, m, t * row_m, position_m, room
        )


@kernel
def add_products(v, place_v, row_v, depth, m, place_m, row_m, columns, tiles, grad, target):
    """Add `V^T @ dM` of one of the 36 numbers to its matrix (depth, columns in whole registers) in `grad`."""
    lanes = VECTOR_BYTES // v.itemsize
    walk = (np.intp(1), np.intp(0), tiles, row_v, row_m)
    for column in range(0, columns, 2 * lanes):
        for row in range(0, depth, TILE_ROWS):
            last = depth - 1
            r0, r1, r2 = row, min(row + 1, last), min(row + 2, last)
            r3, r4, r5 = min(row + 3, last), min(row + 4, last), min(row + 5, last)
            rows = (place_v + r0, place_v + r1, place_v + r2, place_v + r3, place_v + r4, place_v + r5)
            start = target + column
            targets = (
                start + r0 * row_m, start + r1 * row_m, start + r2 * row_m,
                start + r3 * row_m, start + r4 * row_m, start + r5 * row_m,
            )  # fmt: skip
            if columns - column > lanes:
                gradient_tile_of_two_registers(v, rows, m, place_m + column, walk, lanes, grad, targets)
            else:
                gradient_tile_of_one_register(v, rows, m, place_m + column, walk, lanes, grad, targets)


@kernel
def transform_row(u, place, position, grad, target, step, registers):
    """Write dg = G^T dU G for one input channel and all output channels: nine numbers, `step` apart."""
    lanes = VECTOR_BYTES // u.itemsize
    for column in range(0, registers * lanes, lanes):
        here = place + column
        # G^T dU, column by column: 18 registers
        c0 = times_g_transposed(*load_six(u, here, 6 * position))
        c1 = times_g_transposed(*load_six(u, here + position, 6 * position))
        c2 = times_g_transposed(*load_six(u, here + 2 * position, 6 * position))
        c3 = times_g_transposed(*load_six(u, here + 3 * position, 6 * position))
        c4 = times_g_transposed(*load_six(u, here + 4 * position, 6 * position))
        c5 = times_g_transposed(*load_six(u, here + 5 * position, 6 * position))
        for i in range(3):  # (G^T dU) G, row by row, and the two factors of 1/24
            row = times_g_transposed(c0[i], c1[i], c2[i], c3[i], c4[i], c5[i])
            there = target + 3 * i * step + column
            store(grad, there, times(1 / 576, row[0]))
            store(grad, there + step, times(1 / 576, row[1]))
            store(grad, there + 2 * step, times(1 / 576, row[2]))


@parallel_kernel
def _grad_weight(x, grad_out, padding, group, groups, v, m, u, grad, block, workers):
    depth, columns = x.shape[3] // groups, grad_out.shape[3] // groups
    lanes = VECTOR_BYTES // x.itemsize
    row_v, row_m = round_up(depth, lanes), round_up(columns, lanes)
    position_v, position_m = block * row_v + lanes, block * row_m + lanes
    position_u = depth * row_m
    tiles = x.shape[0] * ((grad_out.shape[1] + 3) // 4) * ((grad_out.shape[2] + 3) // 4)
    for worker in prange(workers):
        for i in range(u.size * worker // workers, u.size * (worker + 1) // workers):
            u[i] = 0
    for first in range(0, tiles, block):
        count = min(block, tiles - first)
        for worker in prange(workers):
            number = np.intp(worker)
            share = (count * number // workers, count * (number + 1) // workers)
            transform_share(x, grad_out, padding, group, groups, first, share, v, m, position_v, position_m)
        for product in prange(36):  # each has a sum of its own
            p = np.intp(product)
            add_products(v, p * position_v, row_v, depth, m, p * position_m, row_m, columns, count, u, p * position_u)
    for channel in prange(depth):
        c = np.intp(channel)
        transform_row(u, c * row_m, position_u, grad, c * row_m, position_u, row_m // lanes)


def grad_weight(x, grad_out, padding, groups):
    """Compute the gradient of a 3x3 kernel at stride 1.

    Parameters
    ----------
    x : ndarray (N, H, W, C_in)
        The input of the forward pass.
    grad_out : ndarray (N, H_out, W_out, C_out)
        The gradient of its output.
    padding : pair of int
    groups : int

    Returns
    -------
    ndarray (C_out, C_in / groups, 3, 3)
    """
    depth, columns = x.shape[3] // groups, grad_out.shape[3] // groups
    lanes = VECTOR_BYTES // x.itemsize
    row_v, row_m = round_up(depth, lanes), round_up(columns, lanes)
    tiles = x.shape[0] * -(-grad_out.shape[1] // 4) * -(-grad_out.shape[2] // 4)
    block = max(1, min(tiles, MOST_TILES))
    v = buffers.empty((36 * (block * row_v + lanes),), x.dtype)
    m = buffers.empty((36 * (block * row_m + lanes),), x.dtype)
    u = buffers.empty((36 * depth * row_m,), x.dtype)
    grad = buffers.empty((groups, 3, 3, depth, row_m), x.dtype)
    for group in range(groups):
        _grad_weight(x, grad_out, padding, group, groups, v, m, u, grad[group].reshape(-1), block, get_num_threads())
    grad = grad[..., :columns].transpose(0, 4, 3, 1, 2)  # -> (groups, C_out / groups, C_in / groups, 3, 3)
    return grad.reshape(grad_out.shape[3], depth, 3, 3)
