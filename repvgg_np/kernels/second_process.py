"""A second process that compiles some of the kernels, while this one compiles the others.

Numba's compiler holds Python's lock: threads would take turns. A process of its own compiles about a half, and leaves
the machine code where Numba keeps it (`jit.py`); this process then loads it. It is help and no more: where it cannot be
started, or fails, everything is compiled here.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

CHILD = """
import sys
from repvgg_np.kernels.warm_up import compile_there
compile_there(sys.argv[1] == "True", sys.argv[2])
"""


def start(training, dtype):
    """Start the second process.

    Parameters
    ----------
    training : bool
    dtype : dtype
        As in `warm_up`.

    Returns
    -------
    subprocess.Popen or None
        None if there is no second processor for it, or no way to start a process.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processors < 2:
        return None
    # It must find the package that runs here, wherever this process found it.
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", CHILD, str(bool(training)), np.dtype(dtype).name]
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError:
        return None


def wait(process, tick):
    """Wait for the second process.

    Parameters
    ----------
    process : subprocess.Popen
    tick : callable
        Is called several times a second, so that a progress bar can show the time.

    Returns
    -------
    str or None
        What went wrong, in one line, if something did.
    """
    while True:
        try:
            _, errors = process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            tick()
    if process.returncode == 0:
        return None
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it ended with {process.returncode}"
