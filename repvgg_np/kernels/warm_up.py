"""Compiling the kernels before they are needed, with a progress bar instead of a silent half minute."""

import sys
import time

import numpy as np
from tqdm import tqdm

from repvgg_np.kernels import activation, batch_norm, branches, winograd_backward
from repvgg_np.kernels.convolution import conv2d, conv2d_backward


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
    x, kernel, column = np.zeros((1, 4, 4, 4), dtype), np.zeros((4, 4, 3, 3), dtype), np.zeros(4, dtype)
    row, flat = np.zeros((16, 4), dtype), np.zeros(64, dtype)
    steps = {
        "Winograd convolution": lambda: conv2d(x, kernel, column, 1, 1, algorithm="winograd"),
        "im2col convolution": lambda: conv2d(x, kernel, column, 2, 1, algorithm="im2col"),
        "batch norm": lambda: batch_norm.scale_and_shift(row, column, column, row),
        "ReLU": lambda: activation.relu(flat, flat),
        "average pooling": lambda: activation.global_average_pool(
            np.zeros((1, 2, 2, 4), dtype), np.zeros((1, 4), dtype)
        ),
    }
    if training:
        ys, wide, eps = [flat.copy() for _ in range(3)], np.ones((3, 4)), np.ones(3)
        half, pixels = np.zeros((1, 4, 2, 2), dtype), np.zeros((1, 4, 4, 4), dtype)
        steps |= {
            "gradients of the convolution": lambda: conv2d_backward(half, x, kernel, 2, 1),
            "gradient of a kernel, by Winograd": lambda: winograd_backward.grad_weight(pixels, pixels, (1, 1), 1),
            "branches of a block": lambda: branches.normalise(ys, wide, wide, eps),
            "gradients of the branches": lambda: branches.backward(flat, flat, ys, wide, wide, wide),
            "addition of gradients": lambda: branches.add_to(flat, ys[1:]),
        }
    # tqdm: None is silent where stderr is no terminal
    bar = tqdm(steps.items(), desc="compiling kernels", disable=None if progress else True, leave=False)
    for name, compile_it in bar:
        bar.set_postfix_str(name)
        compile_it()
    seconds = time.perf_counter() - started
    if progress and seconds > 2:
        tqdm.write(f"compiled the kernels in {seconds:.0f} s; they are kept for the next start", file=sys.stderr)
