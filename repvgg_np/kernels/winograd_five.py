"""Winograd's F(5x5, 3x3): 49 multiplications for 25 outputs, for pictures that 4x4 tiles fit badly.

A picture of 14x14, as the longest stage of RepVGG has, takes 16 tiles of 4x4 outputs, which cover 16x16: a quarter of
the work is for nothing. It takes 9 tiles of 5x5, which cover 15x15, and 9 * 49 = 441 multiplications instead of
16 * 36 = 576. The price is accuracy: the error is about 1.6 times that of F(4x4, 3x3).

The matrices come from Toom and Cook's construction with the points 0, 1, -1, 1/2, -1/2, 2 and infinity. Row p of B^T
has the coefficients of the product of (x - q) over all other points q; rows of opposite points are the sum and the
difference of the same two numbers. `reference_winograd.py` has the matrices.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, load_part, store, subtract
from repvgg_np.kernels.winograd_transforms import read_patch, store_output


@kernel
def times_g_five(g0, g1, g2):
    """Multiply three registers by the whole-number part of G: see `winograd_kernel.py`."""
    near, low, high = add(g0, g2), fma(g2, 4, g0), fma(g0, 4, g2)
    return g0, add(near, g1), subtract(near, g1), fma(low, 2, g1), fma(low, -2, g1), fma(high, 2, g1), g2


@kernel
def times_b_five(d0, d1, d2, d3, d4, d5, d6):
    """Multiply seven registers by B^T: one column (or row) of B^T d B."""
    # (x^2 - 1)(x^2 - 1/4) = x^4 - 5/4 x^2 + 1/4, from three places on
    even0 = fma(fma(d4, -1.25, d2), 0.25, d0)
    odd = fma(fma(d5, -1.25, d3), 0.25, d1)
    even2 = fma(fma(d6, -1.25, d4), 0.25, d2)
    low1, low2 = fma(d4, -2, d3), fma(d5, -2, d4)
    # x (x - 2)(x^2 - 1/4) and x (x - 2)(x^2 - 1), from two places on
    one1, one2 = fma(fma(low1, -0.25, d2), 0.5, d1), fma(fma(low2, -0.25, d3), 0.5, d2)
    half1, half2 = fma(subtract(low1, d2), 2, d1), fma(subtract(low2, d3), 2, d2)
    return (
        fma(odd, -2, even0),
        add(one2, one1),
        subtract(one2, one1),
        fma(half2, 0.5, half1),
        fma(half2, -0.5, half1),
        odd,
        fma(even2, -2, odd),
    )


@kernel
def times_a_five(m0, m1, m2, m3, m4, m5, m6):
    """Multiply seven registers by A^T: one column (or row) of A^T M A, five registers."""
    sum12, difference12 = add(m1, m2), subtract(m1, m2)
    sum34, difference34 = add(m3, m4), subtract(m3, m4)
    return (
        add(add(m0, m5), add(sum12, sum34)),
        fma(fma(difference12, 0.5, difference34), 2, m5),
        fma(fma(sum12, 0.25, sum34), 4, m5),
        fma(fma(difference12, 0.125, difference34), 8, m5),
        add(m6, fma(fma(sum12, 0.0625, sum34), 16, m5)),
    )


@kernel
def load_seven(a, place, step):
    """Load seven registers, `step` numbers apart."""
    return (
        load(a, place),
        load(a, place + step),
        load(a, place + 2 * step),
        load(a, place + 3 * step),
        load(a, place + 4 * step),
        load(a, place + 5 * step),
        load(a, place + 6 * step),
    )


@kernel
def store_seven(a, place, step, seven):
    """Store seven registers, `step` numbers apart."""
    store(a, place, seven[0])
    store(a, place + step, seven[1])
    store(a, place + 2 * step, seven[2])
    store(a, place + 3 * step, seven[3])
    store(a, place + 4 * step, seven[4])
    store(a, place + 5 * step, seven[5])
    store(a, place + 6 * step, seven[6])


@kernel
def transform_patch_five(flat_x, size, n, top, left, channel, depth, v, place, position, columns):
    """Write V = B^T d B of the 7x7 patch of picture n that begins at row `top` and column `left`.

    As `winograd_transforms.transform_patch`, with 49 numbers; `columns` has room for 49 registers.
    """
    height, width, channels = size
    lanes = VECTOR_BYTES // flat_x.itemsize
    row = width * channels
    corner = (n * height + top) * row + left * channels + channel
    inside = top >= 0 and top + 7 <= height and left >= 0 and left + 7 <= width
    for c in range(0, depth, lanes):
        count = depth - c
        whole = inside and count >= lanes
        for j in range(7):  # B^T d, column by column
            start, x = corner + j * channels + c, left + j
            seven = times_b_five(
                read_patch(flat_x, start, top, x, size, count, whole),
                read_patch(flat_x, start + row, top + 1, x, size, count, whole),
                read_patch(flat_x, start + 2 * row, top + 2, x, size, count, whole),
                read_patch(flat_x, start + 3 * row, top + 3, x, size, count, whole),
                read_patch(flat_x, start + 4 * row, top + 4, x, size, count, whole),
                read_patch(flat_x, start + 5 * row, top + 5, x, size, count, whole),
                read_patch(flat_x, start + 6 * row, top + 6, x, size, count, whole),
            )
            store_seven(columns, j * lanes, 7 * lanes, seven)
        for i in range(7):  # (B^T d) B, row by row
            seven = times_b_five(*load_seven(columns, 7 * i * lanes, lanes))
            store_seven(v, place + 7 * i * position + c, position, seven)


@kernel
def transform_back_five(m, place, position, count, bias, column, relu, flat_out, size, n, top, left, columns):
    """Write Y = A^T M A + bias, then ReLU if `relu`, to the 5x5 outputs of picture n from row `top`, column `left` on.

    As `winograd_transforms.transform_back`, with 49 numbers; `columns` has room for 35 registers.
    """
    lanes = VECTOR_BYTES // flat_out.itemsize
    for c in range(0, count, lanes):
        for j in range(7):  # A^T M, column by column
            y0, y1, y2, y3, y4 = times_a_five(*load_seven(m, place + j * position + c, 7 * position))
            store(columns, j * lanes, y0)
            store(columns, (7 + j) * lanes, y1)
            store(columns, (14 + j) * lanes, y2)
            store(columns, (21 + j) * lanes, y3)
            store(columns, (28 + j) * lanes, y4)
        b = load_part(bias, column + c, count - c)
        for i in range(5):  # (A^T M) A, row by row
            y0, y1, y2, y3, y4 = times_a_five(*load_seven(columns, 7 * i * lanes, lanes))
            channel, real, row = column + c, count - c, top + i
            store_output(y0, b, relu, flat_out, size, n, row, left, channel, real)
            store_output(y1, b, relu, flat_out, size, n, row, left + 1, channel, real)
            store_output(y2, b, relu, flat_out, size, n, row, left + 2, channel, real)
            store_output(y3, b, relu, flat_out, size, n, row, left + 3, channel, real)
            store_output(y4, b, relu, flat_out, size, n, row, left + 4, channel, real)
