"""The kernels: functions on arrays, compiled by Numba. They know no class, and each has a plain twin in `reference.py`.

Begin with `gemm.py` (how a matrix product reaches the processor's peak), then `im2col.py` (a convolution is a matrix
product), then `winograd.py` (one with a quarter of the multiplications). Only `simd.py` needs any knowledge of LLVM.
"""

from repvgg_np.kernels.convolution import ALGORITHMS, choose_algorithm, conv2d, conv2d_backward, prepare_kernel
from repvgg_np.kernels.jit import get_num_threads, set_num_threads
from repvgg_np.kernels.warm_up import warm_up

__all__ = [
    "ALGORITHMS",
    "choose_algorithm",
    "conv2d",
    "conv2d_backward",
    "get_num_threads",
    "prepare_kernel",
    "set_num_threads",
    "warm_up",
]
