"""Compiling the kernels before they are needed, with a progress bar instead of a silent half minute.

Where nothing is compiled yet, the work is shared by two processes: see `second_process.py`.
"""

import sys
import time

import numpy as np
from tqdm import tqdm

from repvgg_np.kernels import activation, batch_norm, branches, momentum, second_process, winograd, winograd_backward
from repvgg_np.kernels.convolution import conv2d, conv2d_backward
from repvgg_np.kernels.jit import is_kept
from repvgg_np.kernels.newton_schulz import newton_schulz


def warm_up(training, dtype=np.float32, progress=True):
    """Compile the kernels that a network needs, or fetch their machine code from an earlier start.

    Parameters
    ----------
    training : bool
        Whether the backward pass is needed too.
    dtype : dtype
        float32 or float64.
    progress : bool
        Whether to show a bar on stderr, if that is a terminal, and to say there how long it took, if it took long.
    """
    started = time.perf_counter()
    here, there = _steps_here(training, dtype), _steps_there(training, dtype)
    largest = [winograd._conv2d, branches._normalise] if training else [winograd._conv2d]
    kept = all(is_kept(dispatcher, dtype) for dispatcher in largest)
    helper = None if kept else second_process.start(training, dtype)
    # tqdm: None is silent where stderr is no terminal
    bar = tqdm(total=len(here) + len(there), desc="compiling kernels", disable=None if progress else True, leave=False)
    try:
        _run(here, bar)
        if helper:
            bar.set_postfix_str(f"{', '.join(there)} (in a second process)")
            failure = second_process.wait(helper, bar.refresh)
            if failure:
                tqdm.write(f"a second process could not compile ({failure}); compiling here", file=sys.stderr)
        _run(there, bar)  # what the helper has compiled is only loaded
    finally:
        bar.close()
        if helper:
            helper.kill()  # after Ctrl-C; otherwise it has ended
            helper.communicate()
    seconds = time.perf_counter() - started
    if progress and seconds > 2:
        tqdm.write(f"compiled the kernels in {seconds:.0f} s; they are kept for the next start", file=sys.stderr)


def compile_there(training, dtype):
    """Compile the second process's part of the kernels; it is called there."""
    for compile_it in _steps_there(training, dtype).values():
        compile_it()


def _run(steps, bar):
    """Take the steps, and move the bar with each."""
    for name, compile_it in steps.items():
        bar.set_postfix_str(name)
        compile_it()
        bar.update()


def _steps_here(training, dtype):
    """Return what this process compiles: functions by their names."""
    x, kernel, column = np.zeros((1, 4, 4, 4), dtype), np.zeros((4, 4, 3, 3), dtype), np.zeros(4, dtype)
    row, flat = np.zeros((16, 4), dtype), np.zeros(64, dtype)
    steps = {
        "im2col convolution": lambda: conv2d(x, kernel, column, 2, 1, algorithm="im2col"),
        "batch norm": lambda: batch_norm.scale_and_shift(row, column, column, row),
        "ReLU": lambda: activation.relu(flat, flat),
        "average pooling": lambda: activation.global_average_pool(
            np.zeros((1, 2, 2, 4), dtype), np.zeros((1, 4), dtype)
        ),
    }
    if training:
        half, pixels = np.zeros((1, 4, 2, 2), dtype), np.zeros((1, 4, 4, 4), dtype)
        steps |= {
            "gradients of the convolution": lambda: conv2d_backward(half, x, kernel, 2, 1),
            "gradient of a kernel, by Winograd": lambda: winograd_backward.grad_weight(pixels, pixels, (1, 1), 1),
            "addition of gradients": lambda: branches.add_to(flat, [flat, flat]),
            "step of the optimizer": lambda: momentum.step(column, column, np.zeros(4, dtype), 0, 0, 0, False),
            "orthogonalisation of kernels": lambda: newton_schulz([row], steps=1),
        }
    return steps


def _steps_there(training, dtype):
    """Return what the second process compiles, about as much."""
    x, kernel, column = np.zeros((1, 4, 4, 4), dtype), np.zeros((4, 4, 3, 3), dtype), np.zeros(4, dtype)
    steps = {"Winograd convolution": lambda: conv2d(x, kernel, column, 1, 1, algorithm="winograd")}
    if training:
        flat, wide, eps = np.zeros(64, dtype), np.ones((3, 4)), np.ones(3)
        ys = [flat.copy() for _ in range(3)]
        steps |= {
            "branches of a block": lambda: branches.normalise(ys, wide, wide, eps),
            "gradients of the branches": lambda: branches.backward(flat, flat, ys, wide, wide, wide),
        }
    return steps
