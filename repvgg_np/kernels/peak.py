"""How fast the processor can multiply and add, and read and write: the yardsticks for every other kernel.

A fused multiply-add (FMA) takes four or five cycles from its start to its result, and one or two can start in each
cycle. So ten or more that don't wait for one another keep a core busy without a pause. The loop below has twelve, as
many as the tile of `gemm.py` has registers, and touches no memory: what it reaches, no kernel can exceed.

Copying an array that is larger than every cache shows the other limit, the memory's. A kernel that does F operations
for each byte that it reads or writes cannot exceed F times that speed (the *roofline*: Williams, Waterman and
Patterson, 2009).
"""

import numpy as np
from numba import prange

from repvgg_np.kernels.copy import copy_run
from repvgg_np.kernels.gemm import multiply
from repvgg_np.kernels.jit import kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES, add, fma, load, store

CHAINS = 12


@kernel
def _twelve_chains(source, scalar, steps, out, place):
    """Add `scalar * source` to twelve registers, `steps` times; store their sum at `out[place:]`."""
    v = load(source, 0)
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = v
    for _ in range(steps):
        a0, a1, a2 = fma(a0, scalar, v), fma(a1, scalar, v), fma(a2, scalar, v)
        a3, a4, a5 = fma(a3, scalar, v), fma(a4, scalar, v), fma(a5, scalar, v)
        a6, a7, a8 = fma(a6, scalar, v), fma(a7, scalar, v), fma(a8, scalar, v)
        a9, a10, a11 = fma(a9, scalar, v), fma(a10, scalar, v), fma(a11, scalar, v)
    left = add(add(add(a0, a1), add(a2, a3)), add(a4, a5))
    right = add(add(add(a6, a7), add(a8, a9)), add(a10, a11))
    store(out, place, add(left, right))


@parallel_kernel
def _on_all_threads(source, scalar, steps, out, workers):
    lanes = VECTOR_BYTES // source.itemsize
    # Every thread works on its own registers, and stores into its own part of `out`.
    for worker in prange(workers):
        _twelve_chains(source, scalar, steps, out, worker * lanes)


def multiply_add(source, scalar, steps, out):
    """Run nothing but fused multiply-adds, on as many threads as `out` has rows.

    Parameters
    ----------
    source : ndarray (lanes,)
        One register's width of float32 or float64.
    scalar : scalar
        Of the same dtype.
    steps : int
        How often each of the twelve chains is continued.
    out : ndarray (threads, lanes)
        Is filled with the sum of the chains: `12 (1 + steps scalar) source` in exact arithmetic.

    Returns
    -------
    int
        How many floating-point operations that took, a multiply-add counted as two.
    """
    _on_all_threads(source, scalar, steps, out.reshape(-1), len(out))
    return 2 * CHAINS * steps * out.size


@parallel_kernel
def _copy(source, out, workers):
    # Every thread copies its own part.
    for worker in prange(workers):
        first, end = source.size * worker // workers, source.size * (worker + 1) // workers
        copy_run(source, first, out, first, end - first)


def copy(source, out, threads):
    """Copy an array, on several threads.

    Parameters
    ----------
    source, out : ndarray (n,)
        Of the same dtype.
    threads : int

    Returns
    -------
    int
        How many bytes were read and written.
    """
    _copy(source, out, threads)
    return source.nbytes + out.nbytes


@kernel
def multiply_again_and_again(a, rows, depth, panels, columns, bias, out, times):
    """Compute the product of `gemm.multiply` several times over, on one thread, as a convolution's blocks do.

    Parameters
    ----------
    a : ndarray (rows * depth,)
    rows, depth : int
    panels : ndarray
        From `pack_panels`, of a matrix (depth, columns).
    columns : int
    bias : ndarray (columns and a panel's width,)
    out : ndarray (rows * columns,)
        Is filled.
    times : int
    """
    starts = depth * np.arange(rows)
    for _ in range(times):
        multiply(a, 0, starts, rows, (1, 0, 1, 0, depth), panels, 0, columns, bias, 0, False, False, out, 0, columns)
