"""The micro-kernel of `kernels/gemm.py` by itself: which share of the processor's peak it reaches, by the depth K."""

import numpy as np

from repvgg_np.bench.agreement import check_difference
from repvgg_np.bench.contest import check_positive, statistics
from repvgg_np.bench.machine import Peak
from repvgg_np.bench.timing import time_side_by_side
from repvgg_np.kernels import buffers
from repvgg_np.kernels.gemm import pack_panels
from repvgg_np.kernels.peak import multiply_again_and_again
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.rounding import gamma

# As a block of im2col has them: 96 rows, and two panels of columns. Both stay in a core's caches.
ROWS, PANELS = 96, 2
FLOPS = 2 * 10**8  # of a timed call: a few milliseconds, beside which calling it is nothing


def bench_gemm(depths=(64, 128, 192, 256, 384, 512), repeats=15, seed=0):
    """Time the product of a block of rows and a packed matrix on one thread, for several depths.

    Parameters
    ----------
    depths : sequence of int
        K: the columns of the left-hand matrix, and the rows of the right-hand one.
    repeats : int
        Rounds of the interleaved run.
    seed : int

    Returns
    -------
    dict
        "rows", "columns", "peak_gflops" (of one core, from the same run), "slowdown" (as in `run_contest`), and
        "depths": for each the `statistics` of one product, with "depth", "gflops", "percent_of_peak", "difference" from
        the product in float64 and "tolerance", Higham's bound for it.

    Raises
    ------
    ValueError
        If an argument is out of range, or the product is wrong.
    """
    for depth in depths:
        check_positive(depths=depth)
    check_positive(repeats=repeats)
    columns = PANELS * 2 * VECTOR_BYTES // 4
    peak, rng = Peak(threads=1), np.random.default_rng(seed)
    functions, facts = {"peak": peak}, {}
    for depth in dict.fromkeys(depths):
        flops = 2 * ROWS * columns * depth
        times = max(1, FLOPS // flops)
        multiply, found, expected, bound = _product(depth, columns, rng)
        multiply(1)
        difference, tolerance = check_difference(f"the product of depth {depth}", found, expected, bound)
        functions[depth] = lambda multiply=multiply, times=times: multiply(times)
        facts[depth] = {"flops": flops, "times": times, "difference": difference, "tolerance": tolerance}
    seconds = time_side_by_side(functions, repeats, title="GEMM")
    peak_gflops = peak.flops / min(seconds["peak"]) / 1e9
    slowdown = float(np.median(seconds["peak"])) / min(seconds["peak"])
    rows = []
    for depth, fact in facts.items():
        row = {"depth": depth} | fact | statistics([second / fact["times"] for second in seconds[depth]])
        row["gflops"] = fact["flops"] / row["median"] / 1e9
        row["percent_of_peak"] = 100 * row["gflops"] / peak_gflops
        rows.append(row)
    facts = {"rows": ROWS, "columns": columns, "repeats": repeats, "peak_gflops": peak_gflops, "slowdown": slowdown}
    return facts | {"depths": rows}


def _product(depth, columns, rng):
    """Return a function that multiplies so many times, its result, what is expected there, and the rounding bound."""
    a = rng.standard_normal((ROWS, depth), np.float32)
    b = rng.standard_normal((depth, columns), np.float32)
    panels, flat = pack_panels(b), a.reshape(-1)
    bias = np.zeros(2 * columns, np.float32)
    out = buffers.empty((ROWS * columns,), np.float32)

    def multiply(times):
        multiply_again_and_again(flat, ROWS, depth, panels, columns, bias, out, times)

    exact, double = a.astype(np.float64), b.astype(np.float64)
    # depth products and as many additions; and the definition's own rounding, in float64
    bound = (gamma(depth + 1, np.float32) + gamma(depth, np.float64)) * (np.abs(exact) @ np.abs(double))
    return multiply, out.reshape(ROWS, columns), exact @ double, bound
