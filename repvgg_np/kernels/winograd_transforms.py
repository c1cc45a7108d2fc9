"""The three transforms of Winograd's F(4x4, 3x3), and the first gradient's, on registers of sixteen channels.

    U = G g G^T      6x6 from a 3x3 kernel            V = B^T d B      6x6 from a 6x6 patch of the input
    Y = A^T M A      4x4 outputs from 6x6             dM = A dY A^T    6x6 from the gradient of 4x4 outputs

Each is made of one-dimensional transforms: all columns first, then all rows. The matrices (Lavin and Gray, arXiv
1509.09308) are written out here as the few additions and constants that they are; `reference_winograd.py` has them as
matrices.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, load_part, maximum, store, store_part, subtract, zeros


@kernel
def times_g(g0, g1, g2):
    """Multiply three registers by 24 G, its rows divided by what they have in common: see `winograd_kernel.py`."""
    near, far = add(g0, g2), fma(g0, 4, g2)
    return g0, add(near, g1), subtract(near, g1), fma(far, 2, g1), fma(far, -2, g1), g2


@kernel
def times_b(d0, d1, d2, d3, d4, d5):
    """Multiply six registers by B^T: one column (or row) of B^T d B."""
    even, odd = fma(d4, -4, d2), fma(d3, -4, d1)
    even2, odd2 = subtract(d4, d2), subtract(d3, d1)
    return (
        fma(fma(d4, -5, d2), 4, d0),
        add(even, odd),
        subtract(even, odd),
        fma(even2, 2, odd2),
        fma(even2, -2, odd2),
        fma(fma(d5, -5, d3), 4, d1),
    )


@kernel
def times_a(m0, m1, m2, m3, m4, m5):
    """Multiply six registers by A^T: one column (or row) of A^T M A, four registers."""
    sum12, difference12 = add(m1, m2), subtract(m1, m2)
    sum34, difference34 = add(m3, m4), subtract(m3, m4)
    return (
        add(m0, add(sum12, sum34)),
        fma(difference12, 2, difference34),
        fma(sum12, 4, sum34),
        add(m5, fma(difference12, 8, difference34)),
    )


@kernel
def times_a_transposed(y0, y1, y2, y3):
    """Multiply four registers by A: one column (or row) of A dY A^T, six registers."""
    near_even, near_odd = add(y0, y2), add(y1, y3)
    far_even, far_odd = fma(y0, 4, y2), fma(y1, 4, y3)
    return (
        y0,
        add(near_even, near_odd),
        subtract(near_even, near_odd),
        fma(far_even, 2, far_odd),
        fma(far_even, -2, far_odd),
        y3,
    )


@kernel
def is_inside(i, j, size):
    """Return whether row i, column j lies in a picture of that size."""
    return 0 <= i < size[0] and 0 <= j < size[1]


@kernel
def read(flat_x, start, i, j, size, count):
    """Load a register of the pixel in row i, column j, the first `count` lanes of it; zeros outside of the picture."""
    return load_part(flat_x, start, count) if is_inside(i, j, size) else zeros(flat_x)


@kernel
def read_patch(flat_x, start, i, j, size, count, whole):
    """Load a register of a patch's pixel: `whole` patches lie inside of the picture, of others parts may be outside."""
    return load(flat_x, start) if whole else read(flat_x, start, i, j, size, count)


@kernel
def transform_patch(flat_x, size, n, top, left, channel, depth, v, place, position, columns):
    """Write V = B^T d B of the 6x6 patch of picture n that begins at row `top` and column `left`.

    `flat_x` is the memory of pictures (N, H, W, C) and `size` their (H, W, C); of the channels, the `depth` from
    `channel` on are wanted. Number p of the 36, channel c of these, goes to `v[place + p * position + c]`, with zeros
    up to a whole register. `columns` (36 registers) is room to work in.
    """
    height, width, channels = size
    lanes = VECTOR_BYTES // flat_x.itemsize
    row = width * channels
    corner = (n * height + top) * row + left * channels + channel
    inside = top >= 0 and top + 6 <= height and left >= 0 and left + 6 <= width
    for c in range(0, depth, lanes):
        count = depth - c
        for j in range(6):  # B^T d, column by column
            start, x = corner + j * channels + c, left + j
            if inside and count >= lanes:
                six = times_b(*load_six(flat_x, start, row))
            else:
                six = times_b(
                    read(flat_x, start, top, x, size, count),
                    read(flat_x, start + row, top + 1, x, size, count),
                    read(flat_x, start + 2 * row, top + 2, x, size, count),
                    read(flat_x, start + 3 * row, top + 3, x, size, count),
                    read(flat_x, start + 4 * row, top + 4, x, size, count),
                    read(flat_x, start + 5 * row, top + 5, x, size, count),
                )
            store_six(columns, j * lanes, 6 * lanes, six)
        for i in range(6):  # (B^T d) B, row by row
            six = times_b(*load_six(columns, 6 * i * lanes, lanes))
            store_six(v, place + 6 * i * position + c, position, six)


@kernel
def load_six(a, place, step):
    """Load six registers, `step` numbers apart."""
    return (
        load(a, place),
        load(a, place + step),
        load(a, place + 2 * step),
        load(a, place + 3 * step),
        load(a, place + 4 * step),
        load(a, place + 5 * step),
    )


@kernel
def store_six(a, place, step, six):
    """Store six registers, `step` numbers apart."""
    store(a, place, six[0])
    store(a, place + step, six[1])
    store(a, place + 2 * step, six[2])
    store(a, place + 3 * step, six[3])
    store(a, place + 4 * step, six[4])
    store(a, place + 5 * step, six[5])


@kernel
def store_output(y, bias, relu, flat_out, size, n, i, j, channel, count):
    """Add the bias to one output, apply ReLU if `relu`, and store it if it lies inside of the picture.

    It belongs to row i, column j of picture n; `count` channels from `channel` on are real.
    """
    height, width, channels = size
    if not is_inside(i, j, size):
        return
    y = add(y, bias)
    if relu:
        y = maximum(y, zeros(flat_out))
    start = ((n * height + i) * width + j) * channels + channel
    if count >= VECTOR_BYTES // flat_out.itemsize:
        store(flat_out, start, y)
    else:
        store_part(flat_out, start, y, count)


@kernel
def store_outputs(four, bias, relu, flat_out, size, n, i, left, channel, count):
    """Do so with four outputs, of columns `left` to `left + 3`."""
    store_output(four[0], bias, relu, flat_out, size, n, i, left, channel, count)
    store_output(four[1], bias, relu, flat_out, size, n, i, left + 1, channel, count)
    store_output(four[2], bias, relu, flat_out, size, n, i, left + 2, channel, count)
    store_output(four[3], bias, relu, flat_out, size, n, i, left + 3, channel, count)


@kernel
def transform_back(m, place, position, count, bias, column, relu, flat_out, size, n, top, left):
    """Write Y = A^T M A + bias, then ReLU if `relu`, to the 4x4 outputs of picture n from row `top`, column `left` on.

    Number p of the 36, channel c, lies at `m[place + p * position + c]`; the `count` channels are the outputs' channels
    `column` and following. `flat_out` is the memory of pictures (N, H, W, C) and `size` their (H, W, C).
    """
    for c in range(0, count, VECTOR_BYTES // flat_out.itemsize):
        here, step = place + c, 6 * position
        # A^T M, column by column: 24 registers
        c0 = times_a(*load_six(m, here, step))
        c1 = times_a(*load_six(m, here + position, step))
        c2 = times_a(*load_six(m, here + 2 * position, step))
        c3 = times_a(*load_six(m, here + 3 * position, step))
        c4 = times_a(*load_six(m, here + 4 * position, step))
        c5 = times_a(*load_six(m, here + 5 * position, step))
        b = load_part(bias, column + c, count - c)
        # (A^T M) A, row by row
        row0 = times_a(c0[0], c1[0], c2[0], c3[0], c4[0], c5[0])
        row1 = times_a(c0[1], c1[1], c2[1], c3[1], c4[1], c5[1])
        row2 = times_a(c0[2], c1[2], c2[2], c3[2], c4[2], c5[2])
        row3 = times_a(c0[3], c1[3], c2[3], c3[3], c4[3], c5[3])
        store_outputs(row0, b, relu, flat_out, size, n, top, left, column + c, count - c)
        store_outputs(row1, b, relu, flat_out, size, n, top + 1, left, column + c, count - c)
        store_outputs(row2, b, relu, flat_out, size, n, top + 2, left, column + c, count - c)
        store_outputs(row3, b, relu, flat_out, size, n, top + 3, left, column + c, count - c)
