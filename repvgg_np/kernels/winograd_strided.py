"""Winograd's idea at stride 2: F(4x4, 3x3, stride 2), 81 multiplications instead of 144.

In one dimension, y[i] = g0 d[2i] + g1 d[2i+1] + g2 d[2i+2]. The numbers d with an even place, e[i] = d[2i], meet only
g0 and g2, those with an odd place only g1:

    y[i] = (g0 e[i] + g2 e[i+1])  +  g1 d[2i+1]

The first part is a convolution with two taps at stride 1. Four of its outputs take five multiplications instead of
eight (Toom and Cook, with the points 0, 1, -1, 2 and infinity); the second part takes four. That is again

    y = A^T [ (G g) . (B^T d) ]              g: 3 numbers, d: 9 numbers, y: 4 outputs, 5 + 4 = 9 multiplications

and, rows after columns, 9 * 9 = 81 in two dimensions. The last four rows of G are the same, so that of the 81 matrices
U only 36 differ. `reference_winograd.py` has the three matrices.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, load_part, store, subtract
from repvgg_np.kernels.winograd_transforms import read_patch, store_outputs


@kernel
def times_g_strided(g0, g1, g2):
    """Multiply three registers by the six different rows of G, without what is common to a row's numbers."""
    return g0, add(g0, g2), subtract(g0, g2), fma(g0, 2, g2), g2, g1


@kernel
def different_matrix(p):
    """Return which of the 36 different matrices U belongs to number p of the 81."""
    return 6 * min(p // 9, 5) + min(p % 9, 5)


@kernel
def times_b_strided(e0, e1, e2, e3, e4):
    """Multiply five registers, those with an even place, by the first five rows of B^T."""
    slope = subtract(e3, e1)
    return (
        fma(slope, 2, subtract(e0, e2)),
        fma(subtract(e3, e2), -2, e1),
        fma(fma(e3, -3, e2), 2, e1),
        slope,
        fma(subtract(e4, e2), -2, slope),
    )


@kernel
def times_a_strided(m0, m1, m2, m3, m4, odd0, odd1, odd2, odd3):
    """Multiply nine registers by A^T: four registers."""
    sum12, difference12 = add(m1, m2), subtract(m1, m2)
    return (
        add(add(m0, odd0), add(sum12, m3)),
        add(fma(difference12, 2, m3), odd1),
        add(fma(sum12, 4, m3), odd2),
        add(fma(difference12, 8, m3), add(m4, odd3)),
    )


@kernel
def transform_patch_strided(flat_x, size, n, top, left, channel, depth, v, place, position, columns):
    """Write V = B^T d B of the 9x9 patch of picture n that begins at row `top` and column `left`.

    As `winograd_transforms.transform_patch`, with 81 numbers; `columns` has room for 81 registers.
    """
    height, width, channels = size
    lanes = VECTOR_BYTES // flat_x.itemsize
    row = width * channels
    corner = (n * height + top) * row + left * channels + channel
    inside = top >= 0 and top + 9 <= height and left >= 0 and left + 9 <= width
    for c in range(0, depth, lanes):
        count = depth - c
        whole = inside and count >= lanes
        for j in range(9):  # B^T d, column by column
            start = corner + j * channels + c
            five = times_b_strided(
                read_patch(flat_x, start, top, left + j, size, count, whole),
                read_patch(flat_x, start + 2 * row, top + 2, left + j, size, count, whole),
                read_patch(flat_x, start + 4 * row, top + 4, left + j, size, count, whole),
                read_patch(flat_x, start + 6 * row, top + 6, left + j, size, count, whole),
                read_patch(flat_x, start + 8 * row, top + 8, left + j, size, count, whole),
            )
            store_five(columns, j * lanes, 9 * lanes, five)
            for i in range(1, 9, 2):
                odd = read_patch(flat_x, start + i * row, top + i, left + j, size, count, whole)
                store(columns, (9 * (5 + i // 2) + j) * lanes, odd)
        for i in range(9):  # (B^T d) B, row by row
            here, there = 9 * i * lanes, place + 9 * i * position + c
            five = times_b_strided(
                load(columns, here),
                load(columns, here + 2 * lanes),
                load(columns, here + 4 * lanes),
                load(columns, here + 6 * lanes),
                load(columns, here + 8 * lanes),
            )
            store_five(v, there, position, five)
            for j in range(1, 9, 2):
                store(v, there + (5 + j // 2) * position, load(columns, here + j * lanes))


@kernel
def store_five(a, place, step, five):
    """Store five registers, `step` numbers apart."""
    store(a, place, five[0])
    store(a, place + step, five[1])
    store(a, place + 2 * step, five[2])
    store(a, place + 3 * step, five[3])
    store(a, place + 4 * step, five[4])


@kernel
def transform_nine(m, place, step):
    """Load nine registers, `step` numbers apart, and multiply them by A^T."""
    return times_a_strided(
        load(m, place),
        load(m, place + step),
        load(m, place + 2 * step),
        load(m, place + 3 * step),
        load(m, place + 4 * step),
        load(m, place + 5 * step),
        load(m, place + 6 * step),
        load(m, place + 7 * step),
        load(m, place + 8 * step),
    )


@kernel
def transform_back_strided(m, place, position, count, bias, column, relu, flat_out, size, n, top, left, columns):
    """Write Y = A^T M A + bias, then ReLU if `relu`, to the 4x4 outputs of picture n from row `top`, column `left` on.

    As `winograd_transforms.transform_back`, with 81 numbers; `columns` has room for 36 registers.
    """
    lanes = VECTOR_BYTES // flat_out.itemsize
    for c in range(0, count, lanes):
        for j in range(9):  # A^T M, column by column
            y0, y1, y2, y3 = transform_nine(m, place + j * position + c, 9 * position)
            store(columns, j * lanes, y0)
            store(columns, (9 + j) * lanes, y1)
            store(columns, (18 + j) * lanes, y2)
            store(columns, (27 + j) * lanes, y3)
        b = load_part(bias, column + c, count - c)
        for i in range(4):  # (A^T M) A, row by row
            four = transform_nine(columns, 9 * i * lanes, lanes)
            store_outputs(four, b, relu, flat_out, size, n, top + i, left, column + c, count - c)
