"""The kernels are right on processors with registers of 16, 32 and 64 bytes: 4, 8 and 16 lanes of float32.

The width is read when the package is imported, so each has a process of its own. LLVM compiles a register that is wider
than the processor's into several of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repvgg_np.kernels.simd import VECTOR_BYTES

ROOT = Path(__file__).parents[2]
WIDTHS = [16, 32, 64]


def run(width, *arguments, **environment):
    """Run Python in a process whose registers have that width; give its last words if it fails."""
    environment = {**os.environ, "REPVGG_NP_VECTOR_BYTES": str(width), "PYTHONPATH": str(ROOT), **environment}
    child = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stdout[-3000:] + child.stderr[-3000:]
    return child.stdout


CONVOLVE = """
import numba, sys
import numpy as np
from repvgg_np import reference
from repvgg_np.kernels import conv2d, im2col, simd, winograd
from repvgg_np.rounding import convolution_bound
assert not numba.config.DISABLE_JIT
assert simd.VECTOR_BYTES == int(sys.argv[1])
for module in (im2col, winograd):  # the parallel shells as Python: they know no register, and take long to compile
    module._conv2d = module._conv2d.py_func
rng = np.random.default_rng(0)
for groups, depth, columns in ((1, 5, 37), (2, 3, 10)):
    x = rng.integers(-4, 5, (2, groups * depth, 11, 6)).astype(np.float32)
    weight = rng.integers(-4, 5, (groups * columns, depth, 3, 3)).astype(np.float32)
    bias = rng.integers(-4, 5, groups * columns).astype(np.float32)
    for stride in (1, 2):
        geometry = ((stride, stride), (1, 1), groups)
        exact = reference.conv2d(x, weight, bias, *geometry)
        assert (conv2d(x, weight, bias, *geometry, "im2col") == exact).all()
        bound = convolution_bound(x, weight, *geometry, "winograd", bias=np.abs(bias)[:, None, None])
        error = np.abs(conv2d(x, weight, bias, *geometry, "winograd") - exact)
        assert (error <= bound).all() and error.any()
print("right")
"""


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("width", WIDTHS)
def test_compiled_kernels_are_right_at_any_register_width(width, pytestconfig, tmp_path):
    environment = {"NUMBA_DISABLE_JIT": "0"}
    if width != VECTOR_BYTES:  # what is compiled for another width is kept apart from the code for the own
        cache = getattr(pytestconfig, "cache", None)
        environment["NUMBA_CACHE_DIR"] = str(cache.mkdir(f"kernels-of-{width}-bytes") if cache else tmp_path)
    assert run(width, "-c", CONVOLVE, str(width), **environment) == "right\n"


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("width", WIDTHS[:2])
def test_the_theorems_of_the_kernels_hold_at_narrower_registers(width):
    tests = [f"tests/kernels/test_{name}.py" for name in ("simd", "gemm", "copy", "winograd")]
    options = ["-q", "-p", "no:cacheprovider", "-k", "not many_output_channels"]
    assert " passed" in run(width, "-m", "pytest", *options, *tests, NUMBA_DISABLE_JIT="1")
