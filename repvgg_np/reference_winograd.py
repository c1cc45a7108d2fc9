"""What Winograd's convolution is: `Y = A^T [ (G g G^T) . (B^T d B) ] A`, by its matrices, tile by tile.

A patch d of the input is turned into as many numbers, and so is the 3x3 kernel g; the two are multiplied number by
number and turned into a square of outputs. There are three forms:

    FOUR      4x4 outputs at stride 1, from 6x6 pixels, as in Lavin and Gray (arXiv 1509.09308, section 4.1)
    STRIDED   4x4 outputs at stride 2, from 9x9 pixels: those with an even place make a convolution with two taps (Toom
              and Cook, with the points 0, 1, -1, 2 and infinity), those with an odd place one with a single tap, which
              needs no transform
    FIVE      5x5 outputs at stride 1, from 7x7 pixels (Toom and Cook, with the points 0, 1, -1, 1/2, -1/2, 2, infinity)

Like `reference.py`, for arrays of any dtype, and exact on Python's fractions: there the result *equals* `conv2d`.
"""

from typing import NamedTuple

import numpy as np

from repvgg_np.reference import pad


class Transforms(NamedTuple):
    """The matrices for T x T outputs from patches of P x P pixels: whole numbers, each matrix over one denominator.

    Attributes
    ----------
    b_numerators : ndarray (P, P)
        `B^T = b_numerators / b_denominator`.
    g_numerators : ndarray (P, 3)
        `G = g_numerators / g_denominator`.
    g_denominator : int
    a_numerators : ndarray (T, P)
        `A^T = a_numerators / a_denominator`.
    stride : int
    b_denominator, a_denominator : int
    """

    b_numerators: np.ndarray
    g_numerators: np.ndarray
    g_denominator: int
    a_numerators: np.ndarray
    stride: int
    b_denominator: int = 1
    a_denominator: int = 1

    @property
    def a_transposed(self):
        """A^T in float64."""
        return self.a_numerators / self.a_denominator

    @property
    def b_transposed(self):
        """B^T in float64."""
        return self.b_numerators / self.b_denominator


FOUR, STRIDED, FIVE = 0, 1, 2
# At stride 2, the columns of B^T are the places 0, 1, ..., 8: even, odd, even, ...
TRANSFORMS = {
    FOUR: Transforms(
        b_numerators=np.array(
            [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
             [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
        ),
        g_numerators=np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]),
        g_denominator=24,
        a_numerators=np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
        stride=1,
    ),
    STRIDED: Transforms(
        b_numerators=np.array(
            [[2, 0, -1, 0, -2, 0, 1, 0, 0], [0, 0, -2, 0, -1, 0, 1, 0, 0], [0, 0, 2, 0, -3, 0, 1, 0, 0],
             [0, 0, -1, 0, 0, 0, 1, 0, 0], [0, 0, 2, 0, -1, 0, -2, 0, 1],
             [0, 1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0],
             [0, 0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0]]
        ),
        g_numerators=np.array(
            [[3, 0, 0], [-3, 0, -3], [-1, 0, 1], [1, 0, 2], [0, 0, 6], [0, 6, 0], [0, 6, 0], [0, 6, 0], [0, 6, 0]]
        ),
        g_denominator=6,
        a_numerators=np.array(
            [[1, 1, 1, 1, 0, 1, 0, 0, 0], [0, 1, -1, 2, 0, 0, 1, 0, 0],
             [0, 1, 1, 4, 0, 0, 0, 1, 0], [0, 1, -1, 8, 1, 0, 0, 0, 1]]
        ),
        stride=2,
    ),
    FIVE: Transforms(
        b_numerators=np.array(
            [[-2, 1, 10, -5, -8, 4, 0], [0, 2, 1, -9, -4, 4, 0], [0, -2, 3, 7, -12, 4, 0], [0, 4, 6, -8, -6, 4, 0],
             [0, -4, 10, 0, -10, 4, 0], [0, 1, 0, -5, 0, 4, 0], [0, -2, 1, 10, -5, -8, 4]]
        ),
        b_denominator=4,
        g_numerators=np.array(
            [[-90, 0, 0], [-30, -30, -30], [-10, 10, -10], [80, 40, 20], [48, -24, 12], [2, 4, 8], [0, 0, 45]]
        ),
        g_denominator=45,
        a_numerators=np.array(
            [[16, 16, 16, 16, 16, 16, 0], [0, 16, -16, 8, -8, 32, 0], [0, 16, 16, 4, 4, 64, 0],
             [0, 16, -16, 2, -2, 128, 0], [0, 16, 16, 1, 1, 256, 16]]
        ),
        a_denominator=16,
        stride=1,
    ),
}  # fmt: skip


def winograd_conv2d(x, weight, bias=None, stride=(1, 1), padding=(1, 1), groups=1, form=None):
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
    form : {FOUR, STRIDED, FIVE}, optional
        Of that stride; without it, the one with 4x4 outputs.

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
    """
    form = {1: FOUR, 2: STRIDED}[stride[0]] if form is None else form
    b, g, g_denominator, a, _, b_denominator, a_denominator = TRANSFORMS[form]
    c_out, depth_in = weight.shape[:2]
    x = pad(x, padding)
    height, width = ((size - 3) // stride[0] + 1 for size in x.shape[2:])
    tile, side = a.shape  # of the square of outputs, and of the patch
    step = tile * stride[0]  # from one patch to the next
    x = pad(x, (side, side))[:, :, side:, side:]  # patches reach over the lower and the right edge
    out = np.zeros((len(x), c_out, height + tile - 1, width + tile - 1), x.dtype)
    for o in range(c_out):
        first = o // (c_out // groups) * depth_in
        for c in range(depth_in):
            u = g.dot(weight[o, c]).dot(g.T) / g_denominator**2
            for n in range(len(x)):
                for i in range(0, height, tile):
                    for j in range(0, width, tile):
                        top, left = i // tile * step, j // tile * step
                        d = x[n, first + c, top : top + side, left : left + side]
                        v = b.dot(d).dot(b.T) / b_denominator**2
                        y = a.dot(u * v).dot(a.T) / a_denominator**2
                        out[n, o, i : i + tile, j : j + tile] += y.astype(x.dtype)
    if bias is not None:
        out = out + bias[:, None, None]
    return out[:, :, :height, :width]
