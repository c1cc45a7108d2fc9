"""What Winograd's convolution is: `Y = A^T [ (G g G^T) . (B^T d B) ] A`, by its matrices, tile by tile.

A patch d of the input is turned into as many numbers, and so is the 3x3 kernel g; the two are multiplied number by
number and turned into 4x4 outputs. The three matrices for stride 1 are those of Lavin and Gray (arXiv 1509.09308,
section 4.1). For stride 2, the pixels with an even place make a convolution with two taps (Toom and Cook, with the
points 0, 1, -1, 2 and infinity), those with an odd place one with a single tap, which needs no transform.

Like `reference.py`, for arrays of any dtype, and exact on Python's fractions: there the result *equals* `conv2d`.
"""

from typing import NamedTuple

import numpy as np

from repvgg_np.reference import pad


class Transforms(NamedTuple):
    """The matrices for 4x4 outputs from patches of P x P pixels; all are whole numbers.

    Attributes
    ----------
    b_transposed : ndarray (P, P)
    g_numerators : ndarray (P, 3)
    g_denominator : int
        `G = g_numerators / g_denominator`.
    a_transposed : ndarray (4, P)
    """

    b_transposed: np.ndarray
    g_numerators: np.ndarray
    g_denominator: int
    a_transposed: np.ndarray


# By stride. At stride 2, P = 9 and the columns of B^T are the places 0, 1, ..., 8: even, odd, even, ...
TRANSFORMS = {
    1: Transforms(
        b_transposed=np.array(
            [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
             [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
        ),
        g_numerators=np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]),
        g_denominator=24,
        a_transposed=np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
    ),
    2: Transforms(
        b_transposed=np.array(
            [[2, 0, -1, 0, -2, 0, 1, 0, 0], [0, 0, -2, 0, -1, 0, 1, 0, 0], [0, 0, 2, 0, -3, 0, 1, 0, 0],
             [0, 0, -1, 0, 0, 0, 1, 0, 0], [0, 0, 2, 0, -1, 0, -2, 0, 1],
             [0, 1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0],
             [0, 0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0]]
        ),
        g_numerators=np.array(
            [[3, 0, 0], [-3, 0, -3], [-1, 0, 1], [1, 0, 2], [0, 0, 6], [0, 6, 0], [0, 6, 0], [0, 6, 0], [0, 6, 0]]
        ),
        g_denominator=6,
        a_transposed=np.array(
            [[1, 1, 1, 1, 0, 1, 0, 0, 0], [0, 1, -1, 2, 0, 0, 1, 0, 0],
             [0, 1, 1, 4, 0, 0, 0, 1, 0], [0, 1, -1, 8, 1, 0, 0, 0, 1]]
        ),
    ),
}  # fmt: skip


def winograd_conv2d(x, weight, bias=None, stride=(1, 1), padding=(1, 1), groups=1):
    """Convolve with a 3x3 kernel at stride 1 or 2 as Winograd does.

    On exact fractions this equals `reference.conv2d`, number for number.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, 3, 3)
    bias : ndarray (C_out,), optional
    stride : pair of int
        (1, 1) or (2, 2).
    padding : pair of int
    groups : int

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
    """
    b_transposed, g, denominator, a_transposed = TRANSFORMS[stride[0]]
    c_out, depth_in = weight.shape[:2]
    x = pad(x, padding)
    height, width = ((size - 3) // stride[0] + 1 for size in x.shape[2:])
    side, step = len(b_transposed), 4 * stride[0]  # of a patch, and from one patch to the next
    x = pad(x, (side, side))[:, :, side:, side:]  # patches reach over the lower and the right edge
    out = np.zeros((len(x), c_out, height + 3, width + 3), x.dtype)
    for o in range(c_out):
        first = o // (c_out // groups) * depth_in
        for c in range(depth_in):
            u = g.dot(weight[o, c]).dot(g.T) / denominator**2
            for n in range(len(x)):
                for i in range(0, height, 4):
                    for j in range(0, width, 4):
                        top, left = i // 4 * step, j // 4 * step
                        d = x[n, first + c, top : top + side, left : left + side]
                        v = b_transposed.dot(d).dot(b_transposed.T)
                        y = a_transposed.dot(u * v).dot(a_transposed.T)
                        out[n, o, i : i + 4, j : j + 4] += y.astype(x.dtype)
    if bias is not None:
        out = out + bias[:, None, None]
    return out[:, :, :height, :width]
