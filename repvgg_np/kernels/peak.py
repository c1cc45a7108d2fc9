"""How fast the processor can multiply and add: the yardstick that every other kernel is measured with.

A fused multiply-add (FMA) takes four or five cycles from its start to its result, and one or two can start in each
cycle. So ten or more that don't wait for one another keep a core busy without a pause. The loop below has twelve, as
many as the tile of `gemm.py` has registers, and touches no memory: what it reaches, no kernel can exceed.
"""

from numba import prange

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
