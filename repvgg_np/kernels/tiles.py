"""Register tiles: the innermost loops of every convolution and matrix product.

A core can start one or two fused multiply-adds (FMA) on whole registers in each cycle. To keep it fed, each number that
is loaded must be used several times. A *tile* of the result, 6 rows x 2 registers, stays in twelve registers while the
loop runs over the whole depth K:

    for k in range(K):                          out[0:6, 0:32] += a[0:6, k] (outer product) b[k, 0:32]
        2 loads of b, 6 numbers of a, each brought into all lanes, 12 FMA

All arrays are flat. The right-hand matrix b comes in *panels* (`gemm.pack_panels`): two registers' width of columns, K
rows deep and contiguous, from `panels[panel]` on, so that it is read strictly forward. Four shapes of tile serve all
sizes: 6 or 4 rows, 2 registers or 1.

`rows` says where each row of the left-hand matrix begins in `a`. A row is not one piece but several *runs* of `length`
numbers each, `runs = (outer, outer_step, inner, inner_step, length)`: run (i, j) begins `i outer_step + j inner_step`
behind the row's first number. A plain matrix has a single run. The patch of a picture under a 3x3 kernel has three (or
nine, with groups), and so a convolution is computed on the picture where it lies, without writing its patches down.

`bias[column:]` is added, and negative sums become zero if `relu`. Row i of the result goes to `out[targets[i]:]`; of
its last register, only the first `last` lanes are real and written. If `accumulate`, the sums go on from what stands
there, instead of from the bias: so a long K can be taken piece by piece. A row may be given twice (at the ragged end of
a matrix): it is computed twice and the same numbers are written twice.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, broadcast, fma, load, load_part, maximum, store, store_part, zeros


@kernel
def six_rows_of_two_registers(a, rows, runs, panels, panel, bias, column, accumulate, last, relu, out, targets):
    """Compute a tile of 6 rows x 2 registers: see the head of this file."""
    lanes = VECTOR_BYTES // panels.itemsize
    outer, outer_step, inner, inner_step, length = runs
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a00 = a10 = a20 = a30 = a40 = a50 = load(bias, column)
    a01 = a11 = a21 = a31 = a41 = a51 = load(bias, column + lanes)
    if accumulate:
        a00, a01 = load(out, t0), load_part(out, t0 + lanes, last)
        a10, a11 = load(out, t1), load_part(out, t1 + lanes, last)
        a20, a21 = load(out, t2), load_part(out, t2 + lanes, last)
        a30, a31 = load(out, t3), load_part(out, t3 + lanes, last)
        a40, a41 = load(out, t4), load_part(out, t4 + lanes, last)
        a50, a51 = load(out, t5), load_part(out, t5 + lanes, last)
    for i in range(outer):
        for j in range(inner):
            start = i * outer_step + j * inner_step
            for k in range(start, start + length):
                b0, b1 = load(panels, panel), load(panels, panel + lanes)
                panel += 2 * lanes
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
    if relu:
        zero = zeros(panels)
        a00, a01 = maximum(a00, zero), maximum(a01, zero)
        a10, a11 = maximum(a10, zero), maximum(a11, zero)
        a20, a21 = maximum(a20, zero), maximum(a21, zero)
        a30, a31 = maximum(a30, zero), maximum(a31, zero)
        a40, a41 = maximum(a40, zero), maximum(a41, zero)
        a50, a51 = maximum(a50, zero), maximum(a51, zero)
    if last == lanes:  # to store a part of a register takes longer
        store(out, t0, a00)
        store(out, t0 + lanes, a01)
        store(out, t1, a10)
        store(out, t1 + lanes, a11)
        store(out, t2, a20)
        store(out, t2 + lanes, a21)
        store(out, t3, a30)
        store(out, t3 + lanes, a31)
        store(out, t4, a40)
        store(out, t4 + lanes, a41)
        store(out, t5, a50)
        store(out, t5 + lanes, a51)
    else:
        store(out, t0, a00)
        store_part(out, t0 + lanes, a01, last)
        store(out, t1, a10)
        store_part(out, t1 + lanes, a11, last)
        store(out, t2, a20)
        store_part(out, t2 + lanes, a21, last)
        store(out, t3, a30)
        store_part(out, t3 + lanes, a31, last)
        store(out, t4, a40)
        store_part(out, t4 + lanes, a41, last)
        store(out, t5, a50)
        store_part(out, t5 + lanes, a51, last)


@kernel
def four_rows_of_two_registers(a, rows, runs, panels, panel, bias, column, accumulate, last, relu, out, targets):
    """Compute a tile of 4 rows x 2 registers: see the head of this file."""
    lanes = VECTOR_BYTES // panels.itemsize
    outer, outer_step, inner, inner_step, length = runs
    r0, r1, r2, r3 = rows
    t0, t1, t2, t3 = targets
    a00 = a10 = a20 = a30 = load(bias, column)
    a01 = a11 = a21 = a31 = load(bias, column + lanes)
    if accumulate:
        a00, a01 = load(out, t0), load_part(out, t0 + lanes, last)
        a10, a11 = load(out, t1), load_part(out, t1 + lanes, last)
        a20, a21 = load(out, t2), load_part(out, t2 + lanes, last)
        a30, a31 = load(out, t3), load_part(out, t3 + lanes, last)
    for i in range(outer):
        for j in range(inner):
            start = i * outer_step + j * inner_step
            for k in range(start, start + length):
                b0, b1 = load(panels, panel), load(panels, panel + lanes)
                panel += 2 * lanes
                x = broadcast(a, r0 + k)
                a00, a01 = fma(a00, x, b0), fma(a01, x, b1)
                x = broadcast(a, r1 + k)
                a10, a11 = fma(a10, x, b0), fma(a11, x, b1)
                x = broadcast(a, r2 + k)
                a20, a21 = fma(a20, x, b0), fma(a21, x, b1)
                x = broadcast(a, r3 + k)
                a30, a31 = fma(a30, x, b0), fma(a31, x, b1)
    if relu:
        zero = zeros(panels)
        a00, a01 = maximum(a00, zero), maximum(a01, zero)
        a10, a11 = maximum(a10, zero), maximum(a11, zero)
        a20, a21 = maximum(a20, zero), maximum(a21, zero)
        a30, a31 = maximum(a30, zero), maximum(a31, zero)
    if last == lanes:  # to store a part of a register takes longer
        store(out, t0, a00)
        store(out, t0 + lanes, a01)
        store(out, t1, a10)
        store(out, t1 + lanes, a11)
        store(out, t2, a20)
        store(out, t2 + lanes, a21)
        store(out, t3, a30)
        store(out, t3 + lanes, a31)
    else:
        store(out, t0, a00)
        store_part(out, t0 + lanes, a01, last)
        store(out, t1, a10)
        store_part(out, t1 + lanes, a11, last)
        store(out, t2, a20)
        store_part(out, t2 + lanes, a21, last)
        store(out, t3, a30)
        store_part(out, t3 + lanes, a31, last)


@kernel
def six_rows_of_one_register(a, rows, runs, panels, panel, bias, column, accumulate, last, relu, out, targets):
    """Compute a tile of 6 rows x 1 register: see the head of this file."""
    lanes = VECTOR_BYTES // panels.itemsize
    outer, outer_step, inner, inner_step, length = runs
    r0, r1, r2, r3, r4, r5 = rows
    t0, t1, t2, t3, t4, t5 = targets
    a0 = a1 = a2 = a3 = a4 = a5 = load(bias, column)
    if accumulate:
        a0 = load_part(out, t0, last)
        a1 = load_part(out, t1, last)
        a2 = load_part(out, t2, last)
        a3 = load_part(out, t3, last)
        a4 = load_part(out, t4, last)
        a5 = load_part(out, t5, last)
    for i in range(outer):
        for j in range(inner):
            start = i * outer_step + j * inner_step
            for k in range(start, start + length):
                b = load(panels, panel)
                panel += lanes
                x = broadcast(a, r0 + k)
                a0 = fma(a0, x, b)
                x = broadcast(a, r1 + k)
                a1 = fma(a1, x, b)
                x = broadcast(a, r2 + k)
                a2 = fma(a2, x, b)
                x = broadcast(a, r3 + k)
                a3 = fma(a3, x, b)
                x = broadcast(a, r4 + k)
                a4 = fma(a4, x, b)
                x = broadcast(a, r5 + k)
                a5 = fma(a5, x, b)
    if relu:
        zero = zeros(panels)
        a0 = maximum(a0, zero)
        a1 = maximum(a1, zero)
        a2 = maximum(a2, zero)
        a3 = maximum(a3, zero)
        a4 = maximum(a4, zero)
        a5 = maximum(a5, zero)
    if last == lanes:  # to store a part of a register takes longer
        store(out, t0, a0)
        store(out, t1, a1)
        store(out, t2, a2)
        store(out, t3, a3)
        store(out, t4, a4)
        store(out, t5, a5)
    else:
        store_part(out, t0, a0, last)
        store_part(out, t1, a1, last)
        store_part(out, t2, a2, last)
        store_part(out, t3, a3, last)
        store_part(out, t4, a4, last)
        store_part(out, t5, a5, last)


@kernel
def four_rows_of_one_register(a, rows, runs, panels, panel, bias, column, accumulate, last, relu, out, targets):
    """Compute a tile of 4 rows x 1 register: see the head of this file."""
    lanes = VECTOR_BYTES // panels.itemsize
    outer, outer_step, inner, inner_step, length = runs
    r0, r1, r2, r3 = rows
    t0, t1, t2, t3 = targets
    a0 = a1 = a2 = a3 = load(bias, column)
    if accumulate:
        a0 = load_part(out, t0, last)
        a1 = load_part(out, t1, last)
        a2 = load_part(out, t2, last)
        a3 = load_part(out, t3, last)
    for i in range(outer):
        for j in range(inner):
            start = i * outer_step + j * inner_step
            for k in range(start, start + length):
                b = load(panels, panel)
                panel += lanes
                x = broadcast(a, r0 + k)
                a0 = fma(a0, x, b)
                x = broadcast(a, r1 + k)
                a1 = fma(a1, x, b)
                x = broadcast(a, r2 + k)
                a2 = fma(a2, x, b)
                x = broadcast(a, r3 + k)
                a3 = fma(a3, x, b)
    if relu:
        zero = zeros(panels)
        a0 = maximum(a0, zero)
        a1 = maximum(a1, zero)
        a2 = maximum(a2, zero)
        a3 = maximum(a3, zero)
    if last == lanes:  # to store a part of a register takes longer
        store(out, t0, a0)
        store(out, t1, a1)
        store(out, t2, a2)
        store(out, t3, a3)
    else:
        store_part(out, t0, a0, last)
        store_part(out, t1, a1, last)
        store_part(out, t2, a2, last)
        store_part(out, t3, a3, last)
