"""How far rounding can carry a convolution from its exact value: bounds that are proven, and computed from the data.

The model of floating-point arithmetic: every operation returns the exact result times (1 + d) with |d| <= u, the *unit
roundoff* (2^-24 for float32, 2^-53 for float64). A number that went through n operations carries n such factors, and

    |(1 + d_1) ... (1 + d_n) - 1|  <=  gamma_n = n u / (1 - n u)          (Higham, Accuracy and Stability, lemma 3.1)

So a sum of products that takes n roundings for each term is off by at most gamma_n times *the same sum over absolute
values* (Higham, section 3.1). That is a statement about the data at hand, and holds for any order of summation.

**im2col, depthwise.** An output is the sum of K_h K_w C_in / groups products, added one by one to the bias: n is their
number and one more (for a product that is rounded before it is added), and the sum is the convolution of |x| with |w|.

**Winograd** computes Y = A^T [ U . V ] A with V = B^T d B and U = G g G^T, and every step has its own error:

    V is off by at most  dV = gamma_v |B^T| |d| |B|
    U is off by at most  dU = gamma_n T + (gamma_2 + gamma'_4) (|U| + gamma_n T),       T = |G| |g| |G^T|
    M is off by at most  dM = gamma_C P + sum (dV (|U| + dU) + (|V| + dV) dU),     P = sum (|V| + dV) (|U| + dU)
    Y is off by at most  |A^T| (dM + gamma_y (P + dM)) |A|

with C = C_in / groups, over which the sums run, and v, n, y by the form: 6, 4, 7 for F(4x4) at stride 1, 6, 2, 7 at
stride 2, and 8, 4, 9 for F(5x5). The roundings, counted in `winograd_transforms.py`, `winograd_strided.py`,
`winograd_five.py` and `winograd_kernel.py`, along the longest way of a term:

    V   two passes of three: 4 d0 + (d4 - 5 d2), where the product with 5 is rounded only if `fma` is plain Python; for
        F(5x5), two of four: (d5 + (d1 - 5/4 d3) / 4) - 2 (...), likewise
    U   two passes on whole numbers: of two (g1 + (g0 + g2)), at stride 2 of one (g0 + g2). Then two: the product with
        the scale, and the scale, which was rounded from float64. There it had gone through three roundings (two factors
        and their product); gamma' is gamma in float64, and the fourth makes up for gamma_2 gamma'_3
    M   C, one for each product that is added; as plain Python the first is not added to anything
    Y   two passes of three: m0 + ((m1 + m2) + (m3 + m4)), and at stride 2 (m0 + odd0) + ((m1 + m2) + m3); for F(5x5)
        two of four: m6 + (m5 + 16 ((m3 + m4) + (m1 + m2) / 16)). Then the bias

In F(5x5), some rows of B^T d are sums of two that share pixels: row 1 has d2 / 2 - d2 / 4, and what was rounded is
relative to 3/4 |d2|, not to the 1/4 that is left. There |B^T| means the sum over absolute values before anything
cancels, `BEFORE_CANCELLING`.

Every quantity on the right is computed from the data. That is much sharper than absolute values all through: V, made of
differences of neighbours, is far smaller than |B^T| |d| |B|. Multiplying by powers of two
rounds nothing.

Underflow is the one case in which an operation is not exact times (1 + d): it loses up to u times the smallest normal
number, call that number t. Adding sqrt(t), which is about 1e-19 in float32, to every factor makes each product at
least t larger, and covers it.
"""

import numpy as np

from repvgg_np.kernels import conv2d
from repvgg_np.kernels.convolution import output_size
from repvgg_np.kernels.winograd import form_of
from repvgg_np.reference_winograd import FIVE, FOUR, STRIDED, TRANSFORMS

PICTURES_AT_ONCE = 8  # the 36, 49 or 81 numbers of every tile and channel, in float64, take memory
# By the form of Winograd's convolution: v, n and y in the text above.
PATCH_TRANSFORM_ROUNDINGS = {FOUR: 6, STRIDED: 6, FIVE: 8}
KERNEL_TRANSFORM_ROUNDINGS = {FOUR: 4, STRIDED: 2, FIVE: 4}
OUTPUT_TRANSFORM_ROUNDINGS = {FOUR: 7, STRIDED: 7, FIVE: 9}
# |B^T|, and where terms cancel within a row, the sum over their absolute values.
BEFORE_CANCELLING = {form: np.abs(transforms.b_transposed) for form, transforms in TRANSFORMS.items()}
BEFORE_CANCELLING[FIVE][1:5] = np.array(
    [[0, 2, 3, 9, 12, 4, 0], [0, 2, 3, 9, 12, 4, 0], [0, 4, 10, 8, 10, 4, 0], [0, 4, 10, 8, 10, 4, 0]]
) / 4  # fmt: skip


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


def absolute_convolution(x, weight, stride, padding, groups):
    """Compute the convolution of |x| with |weight|: the sum over absolute values.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
    stride, padding : int or pair of int
    groups : int

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
        Not smaller than the exact sum: its own rounding is made up for.
    """
    guard = underflow_guard(x.dtype)
    total = conv2d(np.abs(x) + guard, np.abs(weight) + guard, None, stride, padding, groups, "im2col")
    return total * x.dtype.type(1 + 2 * gamma(weight[0].size + 4, x.dtype))


def convolution_bound(
    x, weight, stride, padding, groups, algorithm, *, magnitude=None, weight_roundings=0, bias=0, bias_roundings=0
):
    """Bound the error of a convolution: of its own rounding, and of a kernel and a bias that were rounded before.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, K_h, K_w)
        The kernel as it is.
    stride, padding : pair of int
    groups : int
    algorithm : {"im2col", "winograd", "depthwise"}
    magnitude : ndarray, optional
        Of the kernel's shape, and not below |weight|: the sum over absolute values of what was added up to make it.
    weight_roundings : int
        Through how many roundings the terms of that sum went.
    bias : ndarray (C_out, 1, 1) or 0
        Likewise for the bias: the sum over absolute values.
    bias_roundings : int

    Returns
    -------
    ndarray (N, C_out, H_out, W_out) float64
    """
    magnitude = np.abs(weight) if magnitude is None else magnitude
    bias = bias + float(underflow_guard(x.dtype))
    if algorithm == "winograd":
        # The form depends on the whole batch, as it does in `conv2d`; the bound needs few pictures at a time.
        form = form_of(stride, output_size(x.shape[2:], weight.shape[2:], stride, padding), len(x))
        own = np.concatenate(
            [
                _winograd_bound(x[i : i + PICTURES_AT_ONCE], weight, form, padding, groups, magnitude, weight_roundings)
                for i in range(0, len(x), PICTURES_AT_ONCE)
            ]
        )
        return own + gamma(bias_roundings + 1, x.dtype) * bias
    n = weight[0].size + 1
    total = absolute_convolution(x, magnitude, stride, padding, groups).astype(np.float64)
    return gamma(n + weight_roundings, x.dtype) * total + gamma(n + bias_roundings, x.dtype) * bias


def _winograd_bound(x, weight, form, padding, groups, magnitude, weight_roundings):
    """Bound the error of a form of Winograd's convolution, step by step as in the text above."""
    dtype, guard = x.dtype, float(underflow_guard(x.dtype))
    transforms = TRANSFORMS[form]
    b, a, stride = transforms.b_transposed, transforms.a_transposed, transforms.stride
    g, (tile, side) = transforms.g_numerators / transforms.g_denominator, a.shape
    step = tile * stride
    n, _, height, width = x.shape
    c_out, depth_in = weight.shape[:2]
    out_height, out_width = (height + 2 * padding[0] - 3) // stride + 1, (width + 2 * padding[1] - 3) // stride + 1
    down, across = -(-out_height // tile), -(-out_width // tile)
    borders = [(0, 0), (0, 0), *((border, border + step) for border in padding)]  # and room for whole tiles
    padded = np.pad(x.astype(float), borders)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))
    patches = patches[:, :, ::step, ::step][:, :, :down, :across]

    def transformed_patches(matrix, patches):
        v = np.einsum("ik,nchwkl,jl->ijnhwc", matrix, patches, matrix, optimize=True)
        return v.reshape(side * side, -1, groups, depth_in).swapaxes(1, 2)  # -> (P^2, groups, tiles, C_in / groups)

    def transformed_kernel(matrix, kernel):
        u = np.einsum("ik,ockl,jl->ijco", matrix, kernel.astype(float), matrix, optimize=True)
        return u.reshape(side * side, depth_in, groups, -1).swapaxes(1, 2)  # -> (P^2, groups, C_in / g, C_out / g)

    v, u = np.abs(transformed_patches(b, patches)) + guard, np.abs(transformed_kernel(g, weight)) + guard
    v_error = transformed_patches(BEFORE_CANCELLING[form], np.abs(patches) + guard)
    v_error *= gamma(PATCH_TRANSFORM_ROUNDINGS[form], dtype)
    u_error = transformed_kernel(np.abs(g), np.abs(weight) + guard)
    u_error *= gamma(KERNEL_TRANSFORM_ROUNDINGS[form], dtype)
    u_error += (gamma(2, dtype) + gamma(4, np.float64)) * (u + u_error)
    u_error += gamma(weight_roundings, dtype) * transformed_kernel(np.abs(g), magnitude + guard)
    products = (v + v_error) @ (u + u_error)
    m_error = gamma(depth_in, dtype) * products + v_error @ (u + u_error) + (v + v_error) @ u_error
    total = m_error + gamma(OUTPUT_TRANSFORM_ROUNDINGS[form], dtype) * (products + m_error)
    total = total.swapaxes(1, 2).reshape(side, side, n, down, across, c_out)
    y = np.einsum("ik,klnhwo,jl->nohiwj", np.abs(a), total, np.abs(a), optimize=True)
    y = y.reshape(n, c_out, tile * down, tile * across)[:, :, :out_height, :out_width]
    return y * (1 + gamma(5 * depth_in + 100, np.float64))  # what computing the bound, V and U included, may have lost
