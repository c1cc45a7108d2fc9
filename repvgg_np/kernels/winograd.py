"""Winograd's convolution F(4x4, 3x3): a 3x3 convolution with a quarter of the multiplications.

Sixteen outputs in a 4x4 square depend on a 6x6 patch d of the input. Directly, that takes 16 * 9 = 144
multiplications for each pair of channels. Winograd's identity (Lavin and Gray, arXiv 1509.09308) takes 36:

    Y = A^T [ (G g G^T) . (B^T d B) ] A          g: 3x3 kernel, d: 6x6 patch, Y: 4x4 outputs, ".": number by number

The transforms U = G g G^T, V = B^T d B and A^T [...] A need only additions, and multiplications by small constants,
once for each channel, not for each pair. Between them, each of the 36 numbers of a patch is a matrix product of its own
over the channels: M[p] = V[p] @ U[p], (tiles, C_in) @ (C_in, C_out), done by `gemm.py`. The transforms are in
`winograd_transforms.py` and `winograd_kernel.py`. At stride 2 the same idea takes 81 multiplications
(`winograd_strided.py`), and where 4x4 tiles fit a picture badly, tiles of 5x5 take fewer (`winograd_five.py`).

Each thread takes a block of tiles at a time through the other steps, so that V and M stay near. Where there are many
tiles, all threads make U together before; if U is too large for the cache that they share, for some output channels
after others. Where there are fewer, fetching U from there takes longer than making it: then each thread makes it for
itself, piece by piece, for a panel of output channels and as many input channels as its own cache holds, and the
products of the pieces add up in M.

The matrices are exact, the arithmetic is not: see `rounding.py` for the bound. The oracles are
`reference_winograd.winograd_conv2d`, step by step, and `reference.conv2d`.
"""

import functools

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.gemm import multiply, round_up
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.kernels.winograd_five import transform_back_five, transform_patch_five
from repvgg_np.kernels.winograd_kernel import FACTORS, FIVE, FOUR, STRIDED, transform_kernel
from repvgg_np.kernels.winograd_strided import different_matrix, transform_back_strided, transform_patch_strided
from repvgg_np.kernels.winograd_transforms import transform_back, transform_patch

# What U may take of the cache that the threads share (32 MB where this was measured), and a piece of it of a thread's
# own (1 MB); with how many tiles for each thread U is shared; and how many tiles a block has.
U_BYTES, OWN_U_BYTES = 10 * 1024 * 1024, 448 * 1024
TILES_TO_SHARE_U = 80
LEAST_TILES, MOST_TILES = 24, 64


@kernel
def sizes_of(form):
    """Return the side of a patch, the side of its tile of outputs, and from one patch to the next."""
    return (9, 4, 8) if form == STRIDED else (7, 5, 5) if form == FIVE else (6, 4, 4)


@kernel
def different_matrices(form):
    """Return how many different matrices U there are."""
    return 49 if form == FIVE else 36


@functools.lru_cache(maxsize=4096)
def form_of(stride, out_size, pictures):
    """Return the form that is the quickest for a batch.

    Parameters
    ----------
    stride : pair of int
        (1, 1) or (2, 2).
    out_size : pair of int
        Height and width of the output.
    pictures : int

    Returns
    -------
    int
        `STRIDED`, `FOUR`, or, where it takes fewer multiplications, `FIVE`. Making and reading U is counted as a dozen
        tiles, as measured: for a single picture, the larger U of `FIVE` costs more than its fewer multiplications save.
    """
    if tuple(stride) == (2, 2):
        return STRIDED
    four, five = (pictures * multiplications(form, out_size) + 12 * different_matrices(form) for form in (FOUR, FIVE))
    return FIVE if five < four else FOUR


def multiplications(form, out_size):
    """Return how many numbers the patches of a picture have: multiplications for each pair of channels.

    Parameters
    ----------
    form : int
    out_size : pair of int
        Height and width of the output.

    Returns
    -------
    int
    """
    side, tile, _ = sizes_of(form)
    return -(-out_size[0] // tile) * -(-out_size[1] // tile) * side * side


@kernel
def split_tile(tile, tiles_down, tiles_across):
    """Return the picture, the row and the column of a tile, from its number through all pictures."""
    return tile // (tiles_down * tiles_across), tile // tiles_across % tiles_down, tile % tiles_across


@kernel
def transform_share(panels, depth, columns, first, count, form, scales, u, worker, workers):
    """Make one worker's share of U, for `count` output channels of each group from `first` on."""
    lanes = VECTOR_BYTES // panels.itemsize
    rows = (count + 2 * lanes - 1) // (2 * lanes) * depth
    share = (rows * worker // workers, rows * (worker + 1) // workers)
    flat_panels, flat_u = panels.reshape(-1), u.reshape(-1)
    for group in range(panels.shape[0]):
        place, target = group * panels.shape[1], group * depth * round_up(count, lanes)
        transform_kernel(
            flat_panels,
            place,
            depth,
            columns,
            first,
            count,
            (0, depth),
            form,
            scales,
            flat_u,
            target,
            u.shape[1],
            share,
        )


@kernel
def convolve_share(
    x, panels, bias, relu, form, padding, scales, out, block, first, channels, part, piece, own_u, u, share, scratch
):
    """Compute the items of work `share[0]` to `share[1] - 1`, on one thread.

    An item is a block of `block` tiles, for one group, and for `part` of the group's output channels `first` to
    `first + channels - 1`. U of all these channels is `u`; or, if `own_u`, that is room for U of one item and `piece`
    input channels. `scratch` is room for V and M.
    """
    in_size, out_size, groups = x.shape[1:], out.shape[1:], panels.shape[0]
    depth, columns = x.shape[3] // groups, out.shape[3] // groups
    lanes = VECTOR_BYTES // x.itemsize
    side, tile_size, tile_step = sizes_of(form)
    tiles_down, tiles_across = (out.shape[1] + tile_size - 1) // tile_size, (out.shape[2] + tile_size - 1) // tile_size
    tiles = x.shape[0] * tiles_down * tiles_across
    parts = (channels + part - 1) // part
    flat_x, flat_out, flat_u, flat_panels = x.reshape(-1), out.reshape(-1), u.reshape(-1), panels.reshape(-1)
    row_v, row_m = round_up(depth, lanes), round_up(part, lanes)
    # A register between two of the matrices: at a distance of a large power of two, they would be kept in the same few
    # places of the cache, and throw each other out.
    position_v, position_m = block * row_v + lanes, block * row_m + lanes
    v, m = scratch[: side * side * position_v], scratch[side * side * position_v :]
    room, no_bias = np.empty(side * side * lanes, x.dtype), np.zeros(part + 2 * lanes, x.dtype)
    starts = np.empty(block, np.intp)
    for t in range(block):
        starts[t] = t * row_v
    v_of = -1  # of which block and group V is
    for item in range(share[0], share[1]):
        tile, group, column = item // (groups * parts) * block, item // parts % groups, item % parts * part
        count, real = min(block, tiles - tile), min(part, channels - column)
        if v_of != item // parts:
            for t in range(count):
                n, i, j = split_tile(tile + t, tiles_down, tiles_across)
                top, left = tile_step * i - padding[0], tile_step * j - padding[1]
                channel, to = group * depth, t * row_v
                if form == STRIDED:
                    transform_patch_strided(flat_x, in_size, n, top, left, channel, depth, v, to, position_v, room)
                elif form == FIVE:
                    transform_patch_five(flat_x, in_size, n, top, left, channel, depth, v, to, position_v, room)
                else:
                    transform_patch(flat_x, in_size, n, top, left, channel, depth, v, to, position_v, room)
            v_of = item // parts
        for k in range(0, depth, piece):
            length = min(piece, depth - k)
            kernel_place = group * depth * round_up(channels, lanes) + column * depth
            if own_u:
                kernel_place, start = 0, np.intp(0)
                rows = (start, (real + 2 * lanes - 1) // (2 * lanes) * length)
                place, channel = group * panels.shape[1], first + column
                transform_kernel(
                    flat_panels, place, depth, columns, channel, real, (k, length), form, scales, flat_u, start,
                    u.shape[1], rows,
                )  # fmt: skip
            for p in range(side * side):
                matrix = different_matrix(p) if form == STRIDED else p
                # Whole registers of M are written, so that the transform back never computes with what was left there.
                multiply(
                    v, p * position_v + k, starts, count, (1, 0, 1, 0, length), flat_u,
                    matrix * u.shape[1] + kernel_place, round_up(real, lanes), no_bias, 0, k > 0, False, m,
                    p * position_m, row_m,
                )  # fmt: skip
        channel = group * columns + first + column
        for t in range(count):
            n, i, j = split_tile(tile + t, tiles_down, tiles_across)
            top, left, at = tile_size * i, tile_size * j, t * row_m
            if form == STRIDED:
                transform_back_strided(
                    m, at, position_m, real, bias, channel, relu, flat_out, out_size, n, top, left, room
                )
            elif form == FIVE:
                transform_back_five(
                    m, at, position_m, real, bias, channel, relu, flat_out, out_size, n, top, left, room
                )
            else:
                transform_back(m, at, position_m, real, bias, channel, relu, flat_out, out_size, n, top, left)


@parallel_kernel
def _conv2d(x, panels, bias, relu, form, padding, scales, out, block, width, part, piece, own_u, u, scratch):
    workers, groups = scratch.shape[0], panels.shape[0]
    depth, columns = x.shape[3] // groups, out.shape[3] // groups
    _, tile, _ = sizes_of(form)
    tiles = x.shape[0] * ((out.shape[1] + tile - 1) // tile) * ((out.shape[2] + tile - 1) // tile)
    for first in range(0, columns, width):
        channels = min(width, columns - first)
        if not own_u:
            for worker in prange(workers):
                transform_share(panels, depth, columns, first, channels, form, scales, u[0], np.intp(worker), workers)
        items = (tiles + block - 1) // block * groups * ((channels + part - 1) // part)
        # Every output is computed by one item alone, so any share of them among threads gives the same bits.
        for worker in prange(workers):
            number = np.intp(worker)
            share = (items * number // workers, items * (number + 1) // workers)
            convolve_share(
                x, panels, bias, relu, form, padding, scales, out, block, first, channels, part, piece, own_u,
                u[number * own_u], share, scratch[number],
            )  # fmt: skip


def equal_parts(whole, most):
    """Return how large equal parts of a whole are, of as few parts as there can be if none exceeds `most`."""
    return -(-whole // -(-whole // most))


@functools.cache
def scales_of(form, dtype):
    """Return by what each number of U is still to be multiplied: the products of two factors of G's rows."""
    return np.outer(FACTORS[form], FACTORS[form]).ravel().astype(dtype)


def whole_panels(columns, lanes):
    """Round a number of columns down to whole panels, of which there is at least one."""
    return max(1, columns // (2 * lanes)) * 2 * lanes


def conv2d(x, panels, bias, relu, form, padding, out):
    """Convolve with a 3x3 kernel at stride 1 or 2, by one of the forms of Winograd's convolution.

    Parameters
    ----------
    x : ndarray (N, H, W, C_in)
    panels : ndarray (groups, packed size)
        From `im2col.pack_kernel`.
    bias : ndarray (at least C_out,)
    relu : bool
        Whether to replace what is negative by zero.
    form : int
        From `form_of`.
    padding : pair of int
    out : ndarray (N, H_out, W_out, C_out)
        Is filled.
    """
    workers, lanes, groups = get_num_threads(), VECTOR_BYTES // x.itemsize, panels.shape[0]
    depth, columns = x.shape[3] // groups, out.shape[3] // groups
    side, tile, _ = sizes_of(form)
    numbers, different = side * side, different_matrices(form)
    tiles = out.shape[0] * -(-out.shape[1] // tile) * -(-out.shape[2] // tile)
    # Blocks of more tiles read U less often, but then V leaves the thread's cache.
    most = min(max(depth * columns // (depth + columns), LEAST_TILES), MOST_TILES)
    share = -(-tiles // workers)
    own_u = share < TILES_TO_SHARE_U and tiles > 0
    if own_u:  # the threads share the items of all blocks and parts
        share, width, part = tiles, columns, min(columns, 2 * lanes)
        piece = equal_parts(depth, max(1, OWN_U_BYTES // (different * x.itemsize * round_up(part, lanes))))
    else:
        piece, width = depth, min(columns, whole_panels(U_BYTES // (different * x.itemsize * depth * groups), lanes))
        part = min(width, 4 * lanes)  # so that M is small enough to stay in a thread's cache
    block = equal_parts(share, most) if share else 1
    room = numbers * (block * (round_up(depth, lanes) + round_up(part, lanes)) + 2 * lanes)
    scratch = buffers.empty((workers, room), x.dtype)
    copies, size = (workers, piece * round_up(part, lanes)) if own_u else (1, groups * depth * round_up(width, lanes))
    u = buffers.empty((copies, different, size + lanes), x.dtype)
    scales = scales_of(form, x.dtype)
    _conv2d(x, panels, bias, relu, form, padding, scales, out, block, width, part, piece, own_u, u, scratch)
