"""The rounding bound of a kernel's gradient in Winograd's domain, derived as those of `repvgg_np/rounding.py` are.

With V = B^T d B and dM = A dY A^T of each tile, dU = sum over the tiles of V . dM, and dg = G^T dU G,

    V is off by at most   dV = gamma_6 |B^T| |d| |B|
    dM is off by at most  e  = gamma_4 |A| |dY| |A^T|
    dU is off by at most  f  = gamma_n P + sum (dV (|dM| + e) + |V| e),            P = sum (|V| + dV) (|dM| + e)
    dg is off by at most  |G^T| (f + (gamma_8 + gamma'_2) (P + f)) |G|

The roundings, along the longest way of a term:

    V   two passes of three, as in the forward pass
    dM  two passes of two: (y0 + 4 y2) + 2 (y1 + 4 y3)
    dU  one for each product that is added to a block of tiles (as plain Python the first is rounded, but added to
        nothing), and one for each further block: n = tiles of a block + blocks - 1
    dg  two passes of three on 24 G^T: u0 + ..., (u3 + u4) - 4 (u1 + u2). Then the product with 1/576, and that number,
        which was rounded to float64 and then to the dtype: gamma' is gamma in float64, and the second makes up for
        gamma_8 gamma'_1
"""

import numpy as np

from repvgg_np.kernels.winograd_backward import MOST_TILES
from repvgg_np.reference_winograd import FOUR, TRANSFORMS
from repvgg_np.rounding import gamma, underflow_guard


def tiles_of(pictures, border, side, counts):
    """Cut pictures (N, C, H, W) into squares that begin 4 pixels apart: (N, C, down, across, side, side)."""
    bordered = np.pad(pictures.astype(np.float64), ((0, 0), (0, 0), *((width, width + 4) for width in border)))
    windows = np.lib.stride_tricks.sliding_window_view(bordered, (side, side), axis=(2, 3))
    return windows[:, :, ::4, ::4][:, :, : counts[0], : counts[1]]


def weight_gradient_bound(x, grad_out, padding, groups, most_tiles=MOST_TILES):
    """Bound the error of `winograd_backward.grad_weight`.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    grad_out : ndarray (N, C_out, H_out, W_out)
    padding : pair of int
    groups, most_tiles : int

    Returns
    -------
    ndarray (C_out, C_in / groups, 3, 3) float64
    """
    dtype, guard = x.dtype, float(underflow_guard(x.dtype))
    transforms = TRANSFORMS[FOUR]
    b, a, g = transforms.b_transposed, transforms.a_transposed.T, transforms.g_numerators / transforms.g_denominator
    counts = [-(-size // 4) for size in grad_out.shape[2:]]
    patches, squares = tiles_of(x, padding, 6, counts), tiles_of(grad_out, (0, 0), 4, counts)
    tiles = len(x) * counts[0] * counts[1]
    block = min(tiles, most_tiles)

    def transformed(matrix, squares):
        numbers = np.einsum("ik,nchwkl,jl->ijnhwc", matrix, squares, matrix, optimize=True)
        return numbers.reshape(36, tiles, groups, -1).swapaxes(1, 2)  # -> (36, groups, tiles, C / groups)

    v, m = np.abs(transformed(b, patches)) + guard, np.abs(transformed(a, squares)) + guard
    v_error = gamma(6, dtype) * transformed(np.abs(b), np.abs(patches) + guard)
    m_error = gamma(4, dtype) * transformed(np.abs(a), np.abs(squares) + guard)
    v, v_error = v.swapaxes(2, 3), v_error.swapaxes(2, 3)
    products = (v + v_error) @ (m + m_error)  # (36, groups, C_in / groups, C_out / groups)
    u_error = gamma(block + -(-tiles // block) - 1, dtype) * products + v_error @ (m + m_error) + v @ m_error
    total = u_error + (gamma(8, dtype) + gamma(2, np.float64)) * (products + u_error)
    total = total.reshape(6, 6, *total.shape[1:])
    bound = np.einsum("ki,klqco,lj->qocij", np.abs(g), total, np.abs(g), optimize=True)
    return bound.reshape(grad_out.shape[1], -1, 3, 3) * (1 + gamma(tiles + 100, np.float64))  # computing it rounds, too
