"""Timings side by side with peers: every number is a median from one interleaved run, after the outputs agreed.

Begin with `timing.py` (the stopwatch) and `agreement.py` (who may take part), then `contest.py`, in which they meet.
"""

from repvgg_np.bench.gemm import bench_gemm
from repvgg_np.bench.inference import bench_inference
from repvgg_np.bench.layers import bench_layers
from repvgg_np.bench.machine import describe_machine
from repvgg_np.bench.memory import bench_memory
from repvgg_np.bench.plain import random_statistics
from repvgg_np.bench.scaling import bench_scaling
from repvgg_np.bench.timing import time_side_by_side
from repvgg_np.bench.training import bench_training

__all__ = [
    "bench_gemm",
    "bench_inference",
    "bench_layers",
    "bench_memory",
    "bench_scaling",
    "bench_training",
    "describe_machine",
    "random_statistics",
    "time_side_by_side",
]
