"""Register tiles of a weight's gradient: products of a transposed matrix.

The gradient of a matrix product `out = a @ w` with respect to w is `a^T @ grad_out`: a sum over the pixels (or, in
Winograd's domain, over the tiles), to which each adds one number of `a` times one row of `grad_out`. A tile of the
result, 6 rows x 2 registers, stays in registers while the loop walks over all of them:

    for each pixel:           grad[0:6, 0:32] += a[pixel, 0:6] (outer product) b[pixel, 0:32]

All arrays are flat. `rows` says where in `a` each of six rows has its number for the first pixel; `walk = (outer,
outer_step, inner, inner_step, b_step)`: the pixels are `outer` lines of `inner` each, from pixel to pixel the place in
`a` moves by `inner_step` and from line to line by `outer_step`, while the place in `b`, from `place` on, moves by
`b_step` with every pixel. Of the last register of `b`, the first `last` lanes are real. Row i is added to
`grad[targets[i]:]`, which has room for whole registers. A row may be given twice: the same numbers are stored twice.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, broadcast, fma, load, load_part, store, zeros

TILE_ROWS = 6


@kernel
def gradient_tile_of_two_registers(a, rows, b, place, walk, last, grad, targets):
    """Add to a tile of 6 rows x 2 registers of the gradient: see the head of this file."""
    lanes = VECTOR_BYTES // b.itemsize
    outer, outer_step, inner, inner_step, b_step = walk
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a00 = a10 = a20 = a30 = a40 = a50 = zeros(b)
    a01 = a11 = a21 = a31 = a41 = a51 = zeros(b)
    for i in range(outer):
        k = i * outer_step
        for _ in range(inner):
            b0, b1 = load(b, place), load_part(b, place + lanes, last)
            x = broadcast(a, r0 + k)
            a00, a01 = fma(a00, x, b0), fma(a01, x, b1)
            x = broadcast(a, r1 + k)
            a10, a11 = fma(a10, x, b0), fma(a11, x, b1)
            x = broadcast(a, r2 + k)
            a20, a21 = fma(a20, x, b0), fma(a21, x, b1)
            x = broadcast(a, r3 + k)
            a30, a31 = fma(a30, x, b0), fma(a31, x, b1)
            x = broadcast(a, r4 + k)
            a40, a41 = fma(a40, x, b0), fma(a41, x, b1)
            x = broadcast(a, r5 + k)
            a50, a51 = fma(a50, x, b0), fma(a51, x, b1)
            k += inner_step
            place += b_step
    # All loads before all stores: a row that is given twice must not be added twice.
    a00, a01 = add(a00, load(grad, t0)), add(a01, load(grad, t0 + lanes))
    a10, a11 = add(a10, load(grad, t1)), add(a11, load(grad, t1 + lanes))
    a20, a21 = add(a20, load(grad, t2)), add(a21, load(grad, t2 + lanes))
    a30, a31 = add(a30, load(grad, t3)), add(a31, load(grad, t3 + lanes))
    a40, a41 = add(a40, load(grad, t4)), add(a41, load(grad, t4 + lanes))
    a50, a51 = add(a50, load(grad, t5)), add(a51, load(grad, t5 + lanes))
    store(grad, t0, a00)
    store(grad, t0 + lanes, a01)
    store(grad, t1, a10)
    store(grad, t1 + lanes, a11)
    store(grad, t2, a20)
    store(grad, t2 + lanes, a21)
    store(grad, t3, a30)
    store(grad, t3 + lanes, a31)
    store(grad, t4, a40)
    store(grad, t4 + lanes, a41)
    store(grad, t5, a50)
    store(grad, t5 + lanes, a51)


@kernel
def gradient_tile_of_one_register(a, rows, b, place, walk, last, grad, targets):
    """Add to a tile of 6 rows x 1 register of the gradient: see the head of this file."""
    outer, outer_step, inner, inner_step, b_step = walk
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a0 = a1 = a2 = a3 = a4 = a5 = zeros(b)
    for i in range(outer):
        k = i * outer_step
        for _ in range(inner):
            b0 = load_part(b, place, last)
            x = broadcast(a, r0 + k)
            a0 = fma(a0, x, b0)
            x = broadcast(a, r1 + k)
            a1 = fma(a1, x, b0)
            x = broadcast(a, r2 + k)
            a2 = fma(a2, x, b0)
            x = broadcast(a, r3 + k)
            a3 = fma(a3, x, b0)
            x = broadcast(a, r4 + k)
            a4 = fma(a4, x, b0)
            x = broadcast(a, r5 + k)
            a5 = fma(a5, x, b0)
            k += inner_step
            place += b_step
    # All loads before all stores: a row that is given twice must not be added twice.
    a0 = add(a0, load(grad, t0))
    a1 = add(a1, load(grad, t1))
    a2 = add(a2, load(grad, t2))
    a3 = add(a3, load(grad, t3))
    a4 = add(a4, load(grad, t4))
    a5 = add(a5, load(grad, t5))
    store(grad, t0, a0)
    store(grad, t1, a1)
    store(grad, t2, a2)
    store(grad, t3, a3)
    store(grad, t4, a4)
    store(grad, t5, a5)
