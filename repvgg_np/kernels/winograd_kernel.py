"""Winograd's transform of the kernel, U = G g G^T: sixteen kernels at a time.

U has four times as many numbers as the kernel, 36 (or 49) for 9. It is made anew whenever a convolution is computed, in
a buffer that all convolutions use in turn and that so stays in the processor's cache: these few additions take less
time than reading four times as much from memory would.

Each row of G is a row of whole numbers times one factor,

    stride 1:  G = diag(1/4, -1/6, -1/6, 1/24, 1/24, 1) [1 0 0;  1 1 1;  1 -1 1;  1 2 4;  1 -2 4;  0 0 1]
    stride 2:  G = diag(1/2, -1/2, -1/6, 1/6, 1, 1)     [1 0 0;  1 0 1;  1 0 -1;  1 0 2;  0 0 1;  0 1 0]
    F(5x5):    G = diag(-2, -2/3, -2/9, 4/9, 4/15, 2/45, 1) [1 0 0;  1 1 1;  1 -1 1;  4 2 1;  4 -2 1;  1 2 4;  0 0 1]

so the transforms work with whole numbers, and each of the 36 (49) results is multiplied by the product of its two
factors.

The kernels come in the panels of `im2col.pack_kernel`: sixteen neighbours there belong to sixteen output channels.
"""

import numpy as np

from repvgg_np.kernels.gemm import round_up
from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, load, times
from repvgg_np.kernels.winograd_five import store_seven, times_g_five
from repvgg_np.kernels.winograd_strided import times_g_strided
from repvgg_np.kernels.winograd_transforms import store_six, times_g

# The three forms of Winograd's convolution: F(4x4) at stride 1, F(4x4) at stride 2, F(5x5) at stride 1.
FOUR, STRIDED, FIVE = 0, 1, 2
FACTORS = (
    np.array([1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24, 1]),
    np.array([1 / 2, -1 / 2, -1 / 6, 1 / 6, 1, 1]),
    np.array([-2, -2 / 3, -2 / 9, 4 / 9, 4 / 15, 2 / 45, 1]),
)


@kernel
def store_scaled(u, place, position, scales, p, six):
    """Store six registers, each multiplied by its scale: one row of U, from number p on."""
    scaled = (
        times(scales[p], six[0]),
        times(scales[p + 1], six[1]),
        times(scales[p + 2], six[2]),
        times(scales[p + 3], six[3]),
        times(scales[p + 4], six[4]),
        times(scales[p + 5], six[5]),
    )
    store_six(u, place + p * position, position, scaled)


@kernel
def load_column(panels, place, step):
    """Load a column of a register of 3x3 kernels: its three numbers lie three places of nine apart."""
    return load(panels, place), load(panels, place + 3 * step), load(panels, place + 6 * step)


@kernel
def transform_register(panels, place, step, scales, u, target, position):
    """Write U = G g G^T, for stride 1, of a register of kernels, one kernel in each lane.

    Number k of the nine lies at `panels[place + k * step:]`; number p of the 36 goes to `u[target + p * position:]`,
    multiplied by `scales[p]`.
    """
    # G g, column by column: 18 registers
    c0 = times_g(*load_column(panels, place, step))
    c1 = times_g(*load_column(panels, place + step, step))
    c2 = times_g(*load_column(panels, place + 2 * step, step))
    # (G g) G^T, row by row
    store_scaled(u, target, position, scales, 0, times_g(c0[0], c1[0], c2[0]))
    store_scaled(u, target, position, scales, 6, times_g(c0[1], c1[1], c2[1]))
    store_scaled(u, target, position, scales, 12, times_g(c0[2], c1[2], c2[2]))
    store_scaled(u, target, position, scales, 18, times_g(c0[3], c1[3], c2[3]))
    store_scaled(u, target, position, scales, 24, times_g(c0[4], c1[4], c2[4]))
    store_scaled(u, target, position, scales, 30, times_g(c0[5], c1[5], c2[5]))


@kernel
def transform_register_strided(panels, place, step, scales, u, target, position):
    """Do the same for stride 2."""
    c0 = times_g_strided(*load_column(panels, place, step))
    c1 = times_g_strided(*load_column(panels, place + step, step))
    c2 = times_g_strided(*load_column(panels, place + 2 * step, step))
    store_scaled(u, target, position, scales, 0, times_g_strided(c0[0], c1[0], c2[0]))
    store_scaled(u, target, position, scales, 6, times_g_strided(c0[1], c1[1], c2[1]))
    store_scaled(u, target, position, scales, 12, times_g_strided(c0[2], c1[2], c2[2]))
    store_scaled(u, target, position, scales, 18, times_g_strided(c0[3], c1[3], c2[3]))
    store_scaled(u, target, position, scales, 24, times_g_strided(c0[4], c1[4], c2[4]))
    store_scaled(u, target, position, scales, 30, times_g_strided(c0[5], c1[5], c2[5]))


@kernel
def store_scaled_five(u, place, position, scales, p, seven):
    """Do the same with seven registers."""
    scaled = (
        times(scales[p], seven[0]),
        times(scales[p + 1], seven[1]),
        times(scales[p + 2], seven[2]),
        times(scales[p + 3], seven[3]),
        times(scales[p + 4], seven[4]),
        times(scales[p + 5], seven[5]),
        times(scales[p + 6], seven[6]),
    )
    store_seven(u, place + p * position, position, scaled)


@kernel
def transform_register_five(panels, place, step, scales, u, target, position):
    """Do the same for F(5x5): 49 numbers."""
    c0 = times_g_five(*load_column(panels, place, step))
    c1 = times_g_five(*load_column(panels, place + step, step))
    c2 = times_g_five(*load_column(panels, place + 2 * step, step))
    store_scaled_five(u, target, position, scales, 0, times_g_five(c0[0], c1[0], c2[0]))
    store_scaled_five(u, target, position, scales, 7, times_g_five(c0[1], c1[1], c2[1]))
    store_scaled_five(u, target, position, scales, 14, times_g_five(c0[2], c1[2], c2[2]))
    store_scaled_five(u, target, position, scales, 21, times_g_five(c0[3], c1[3], c2[3]))
    store_scaled_five(u, target, position, scales, 28, times_g_five(c0[4], c1[4], c2[4]))
    store_scaled_five(u, target, position, scales, 35, times_g_five(c0[5], c1[5], c2[5]))
    store_scaled_five(u, target, position, scales, 42, times_g_five(c0[6], c1[6], c2[6]))


@kernel
def transform_kernel(panels, place, depth, columns, first, count, piece, form, scales, u, target, position, share):
    """Write U = G g G^T of the kernels of `count` output channels from `first` on, packed as `gemm.py` wants them.

    The packed kernel of a group begins at `panels[place]`; it has `depth` input and `columns` output channels. Of the
    input channels, `piece[1]` from `piece[0]` on are wanted. Matrix p of the 36 (49), (piece[1], count), begins at
    `u[target + p * position]`. Of the rows of its panels, those numbered `share[0]` to `share[1] - 1` are written.
    """
    lanes = VECTOR_BYTES // panels.itemsize
    for row in range(share[0], share[1]):  # forward through the memory of all 36 matrices at once
        panel, c = row // piece[1] * 2 * lanes, row % piece[1]
        width = min(round_up(count - panel, lanes), 2 * lanes)
        from_panel = (first + panel) // (2 * lanes) * 2 * lanes
        from_width = min(round_up(columns - from_panel, lanes), 2 * lanes)
        here = place + 9 * depth * from_panel + (piece[0] + c) * from_width
        there = target + piece[1] * panel + c * width
        for column in range(0, width, lanes):
            source, to, step = here + column, there + column, depth * from_width
            if form == STRIDED:
                transform_register_strided(panels, source, step, scales, u, to, position)
            elif form == FIVE:
                transform_register_five(panels, source, step, scales, u, to, position)
            else:
                transform_register(panels, source, step, scales, u, to, position)
