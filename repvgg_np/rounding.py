"""How far rounding can carry a convolution from its exact value: bounds that are proven, and computed from the data.

The model of floating-point arithmetic: every operation returns the exact result times (1 + d) with |d| <= u, the *unit
roundoff* (2^-24 for float32, 2^-53 for float64). A number that went through n operations carries n such factors, and

    |(1 + d_1) ... (1 + d_n) - 1|  <=  gamma_n = n u / (1 - n u)          (Higham, Accuracy and Stability, lemma 3.1)

So a sum of products that takes n roundings for each term is off by at most gamma_n times *the same sum over absolute
values* (Higham, section 3.1). That is a statement about the data at hand, and holds for any order of summation.

* im2col and the depthwise kernel add the K_h K_w C_in / groups products of an output one by one: n is their number and
  one more (for a product that is rounded before it is added), and the sum is the convolution of |x| with |w|.
* Winograd rounds at each step of Y = A^T [(G g G^T) . (B^T d B)] A. Taking absolute values in all three transforms, the
  sum is |A^T| [(|G| |g| |G^T|) . (|B^T| |d| |B|)] |A|, and n counts: B^T twice (2 + 2 roundings in `winograd.py`), G
  twice (at most 12), the sum over C_in / groups channels, A^T twice (3 + 3), the bias (1).

Underflow is the one case in which an operation is not exact times (1 + d): it loses up to u times the smallest normal
number, call that number t. Adding sqrt(t), which is about 1e-19 in float32, to every factor makes each product at
least t larger, and covers it.
"""

import numpy as np

from repvgg_np.kernels import conv2d
from repvgg_np.reference import WINOGRAD_A_TRANSPOSED, WINOGRAD_B_TRANSPOSED, WINOGRAD_G_TIMES_24

WINOGRAD_ROUNDINGS = 2 + 2 + 12 + 3 + 3 + 1


def gamma(operations, dtype):
    """Return Higham's gamma_n: how far n roundings can carry a number, relative to it.

    Parameters
    ----------
    operations : int
        n.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If n u is not below 1: nothing can be said then.
    """
    roundoff = float(np.finfo(dtype).eps) / 2
    if operations * roundoff >= 1:
        raise ValueError(f"operations must be below {1 / roundoff:.0f} for {np.dtype(dtype)}, got {operations}")
    return operations * roundoff / (1 - operations * roundoff)


def underflow_guard(dtype):
    """Return sqrt(t), t the smallest normal number: added to both factors of a product, it covers an underflow."""
    return np.dtype(dtype).type(np.sqrt(np.finfo(dtype).tiny))


def roundings(weight_shape, algorithm):
    """Return n for one output of a convolution: how many roundings lie between a product and the result, at most.

    Parameters
    ----------
    weight_shape : tuple
        (C_out, C_in / groups, K_h, K_w)
    algorithm : {"im2col", "winograd", "depthwise"}

    Returns
    -------
    int
    """
    _, depth_in, k_h, k_w = weight_shape
    return depth_in + WINOGRAD_ROUNDINGS if algorithm == "winograd" else k_h * k_w * depth_in + 1


def absolute_convolution(x, weight, stride, padding, groups, algorithm):
    """Compute the sum over absolute values that the bound of a convolution is a multiple of.

    All terms are positive, so that its own rounding makes it too small by a factor of 1 - gamma_n at most.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    stride, padding : int or pair of int
    groups : int
    algorithm : {"im2col", "winograd", "depthwise"}
        The one whose error is bounded.

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
    """
    guard = underflow_guard(x.dtype)
    x, weight = np.abs(x) + guard, np.abs(weight) + guard
    if algorithm == "winograd":
        return _absolute_winograd(x, weight, padding, groups)
    return conv2d(x, weight, None, stride, padding, groups, "im2col")


def _absolute_winograd(x, weight, padding, groups):
    """Compute `|A^T| [(|G| g |G^T|) . (|B^T| d |B|)] |A|` for positive g and d, all tiles at once."""
    kind = x.dtype.type
    b = np.abs(WINOGRAD_B_TRANSPOSED).astype(x.dtype)
    g = np.abs(WINOGRAD_G_TIMES_24).astype(x.dtype) / kind(24)
    a = np.abs(WINOGRAD_A_TRANSPOSED).astype(x.dtype)
    n, c_in, height, width = x.shape
    c_out, depth_in = weight.shape[:2]
    height, width = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    down, across = -(-height // 4), -(-width // 4)
    padded = np.zeros((n, c_in, 4 * down + 2, 4 * across + 2), x.dtype)
    rows, columns = slice(padding[0], padding[0] + x.shape[2]), slice(padding[1], padding[1] + x.shape[3])
    padded[:, :, rows, columns] = x
    patches = np.lib.stride_tricks.sliding_window_view(padded, (6, 6), axis=(2, 3))[:, :, ::4, ::4]
    v = np.einsum("ik,nchwkl,jl->ijnhwc", b, patches, b, optimize=True)
    u = np.einsum("ik,ockl,jl->ijco", g, weight, g, optimize=True)
    v = v.reshape(36, -1, groups, depth_in)
    u = u.reshape(36, depth_in, groups, c_out // groups)
    m = np.einsum("ptgc,pcgo->ptgo", v, u, optimize=True).reshape(6, 6, n, down, across, c_out)
    y = np.einsum("ik,klnhwo,jl->nohiwj", a, m, a, optimize=True)
    return y.reshape(n, c_out, 4 * down, 4 * across)[:, :, :height, :width]
