"""What was measured on: the processor, the versions, and the highest speed that this processor reaches."""

import importlib.metadata
import os
import platform
import time

import numpy as np

from repvgg_np.kernels import get_num_threads
from repvgg_np.kernels.peak import copy, multiply_add
from repvgg_np.kernels.simd import VECTOR_BYTES

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "onnxruntime", "openvino", "onnx")


def describe_machine():
    """Describe the processor and everything whose version may matter.

    Returns
    -------
    dict
        "processor", "processors" (how many this process may use), "threads" (how many the kernels use),
        "vector_bytes", "system", "python", and "versions" of the packages that are installed.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return {
        "processor": _processor(),
        "processors": len(affinity(0)) if affinity else os.cpu_count(),
        "threads": get_num_threads(),
        "vector_bytes": VECTOR_BYTES,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def machine_line(machine):
    """Write the result of `describe_machine` as one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name != "llvmlite")
    return (
        f"{machine['processor']}, {machine['threads']} of {machine['processors']} processors, "
        f"{8 * machine['vector_bytes']}-bit registers; Python {machine['python']}, {versions}"
    )


def _processor():
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform's own word for it has to do
    return platform.processor() or platform.machine()


class Peak:
    """A contestant that does nothing but fused multiply-adds in float32: its speed is the processor's peak.

    Its work is chosen so that a call takes some milliseconds; then it can take its turn among the others.

    Parameters
    ----------
    threads : int
    least_seconds : float
        How long a call must take at least.
    """

    def __init__(self, threads, least_seconds=0.005):
        lanes = VECTOR_BYTES // 4
        self._source = np.linspace(0.5, 1, lanes, dtype=np.float32)
        self._out = np.empty((threads, lanes), np.float32)
        self._steps = 16
        self()  # compiles
        seconds, enough = self._shortest(), False
        while not enough:
            self._steps *= 2
            before, seconds = seconds, self._shortest()
            # Where the threads have to wait for others who are busy, twice the work takes as long as the work.
            enough = seconds >= least_seconds and seconds > 1.5 * before

    def __call__(self):
        """Run once; return how many floating-point operations that took."""
        return multiply_add(self._source, np.float32(1e-6), self._steps, self._out)

    def _shortest(self):
        """Return the shortest time of three calls: one may be slow because others are busy."""
        return min(self._seconds() for _ in range(3))

    def _seconds(self):
        """Return how long a call takes."""
        start = time.perf_counter()
        self()
        return time.perf_counter() - start

    @property
    def flops(self):
        """The floating-point operations of a call, a multiply-add counted as two."""
        return self()


def memory_bandwidth(threads, megabytes=64, repeats=7):
    """Measure how fast the memory is read and written, by copying an array that no cache holds.

    Parameters
    ----------
    threads : int
    megabytes : float
        Of the array.
    repeats : int

    Returns
    -------
    float
        Bytes a second, read and written together; the highest, because it is a limit.
    """
    source = np.ones(int(megabytes * 2**20) // 4, np.float32)  # not zeros: those lie in memory only once written
    out = np.ones_like(source)
    copy(source, out, threads)
    speeds = []
    for _ in range(repeats):
        start = time.perf_counter()
        moved = copy(source, out, threads)
        speeds.append(moved / (time.perf_counter() - start))
    return max(speeds)
