"""By how much two correct programs may differ: rounding, times what the function makes of small changes.

A stable algorithm returns what exact arithmetic would return for slightly different numbers: each off by at most n u,
relative to itself, with n the roundings that it went through and u the unit roundoff (Higham, Accuracy and Stability,
section 1.5). How much that moves a result depends on the function alone, and is measured: every number of the data,
what every layer returns, and the gradient that comes back to it are moved by a relative `STEP`, up or down at random.
The largest change of each result, divided by the step, is its *sensitivity*. Each of two programs is then off by about
n u times the sensitivity at most.
"""

from contextlib import contextmanager

import numpy as np

from repvgg_np.kernels import choose_algorithm
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma
from repvgg_np.verify import fusion_bound
from tests.peers.twin import torch

# Small enough that changes are proportional to it, and far above float64's roundoff, which would blur them.
STEP = 2.0**-26
DRAWS = 4


@contextmanager
def layers_moved(rng):
    """Multiply what every module of PyTorch returns, and the gradient that comes back to it, by 1 +- STEP."""

    def noise(tensor):
        return tensor.detach() * torch.from_numpy(STEP * rng.choice([-1.0, 1.0], tuple(tensor.shape)))

    def move(module, inputs, out):
        # Each by signs of its own: where output and gradient are orthogonal, the same signs would cancel.
        moved = out + noise(out)
        if moved.requires_grad:
            moved.register_hook(lambda grad: grad + noise(grad))
        return moved

    hook = torch.nn.modules.module.register_module_forward_hook(move)
    try:
        yield
    finally:
        hook.remove()


def sensitivities(function, data):
    """Measure how much each result of `function` changes, per relative change of the numbers that it works on.

    `data` and the results are dicts of arrays; `function` computes in float64, with PyTorch. Integers are left alone.
    """
    rng = np.random.default_rng(1)
    expected = function(data)
    largest = dict.fromkeys(expected, 0.0)
    for _ in range(DRAWS):
        moved = {
            name: array * (1 + STEP * rng.choice([-1.0, 1.0], array.shape)) if array.dtype.kind == "f" else array
            for name, array in data.items()
        }
        with layers_moved(rng):
            results = function(moved)
        for name, result in results.items():
            largest[name] = max(largest[name], float(np.abs(result - expected[name]).max()) / STEP)
    return largest


def assert_same_results(ours, theirs, sensitivity, roundings, dtype=np.float64):
    """Compare two dicts of results: names, shapes, dtypes, and numbers within the tolerance. Integers must be equal."""
    assert set(ours) == set(theirs) == set(sensitivity)
    for name, mine in ours.items():
        other = theirs[name]
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
        if mine.dtype.kind == "f":
            tolerance = 2 * gamma(roundings, dtype) * sensitivity[name]  # both programs round
            np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(mine, other, err_msg=name)


def block_roundings(block, x):
    """Count the roundings of the longest sum of a block's convolutions, from the bounds of `rounding.py`.

    A bound divided by the unit roundoff and by the sum over absolute values is a number of roundings; Winograd's steps
    are counted by it, too.
    """
    longest = 0
    for kernel, _ in block.convolutions():
        geometry = ((block.stride, block.stride), (kernel.shape[2] // 2,) * 2, block.groups)
        bound = convolution_bound(x, kernel, *geometry, choose_algorithm(x.shape, kernel.shape, *geometry))
        longest = max(longest, bound.max() / (gamma(1, x.dtype) * absolute_convolution(x, kernel, *geometry).max()))
    return int(longest) + 1


def network_roundings(model, x):
    """Count the roundings of a network's longest sum: that of a convolution, or over all pixels of the batch.

    Statistics and gradients of kernels are sums over pixels. A dozen more are for batch norm.
    """
    model.eval()
    longest = 0
    for _, block in model.blocks():
        convolution = block_roundings(block, x)
        x = block(x)
        longest = max(longest, convolution + x[:, 0].size)
    model.train()
    return longest + 12


def block_bound(block, x):
    """Bound how far a block of ours, in either form, may be from another program's, in either form.

    Ours: `verify.fusion_bound`, the sum of both forms' bounds. Theirs: plain sums of products, so at most
    `gamma_n` of the sum over absolute values S of `verify.py`, with a 3x3 kernel's terms, the bias, and 12 roundings
    more for the batch norms and the addition of branches (or for making the fused kernel, which takes fewer).
    """
    magnitude, constants = absolute_kernel_and_bias(block)
    total = absolute_convolution(x, magnitude, (block.stride, block.stride), (1, 1), block.groups)
    theirs = gamma(magnitude[0].size + 13, x.dtype) * (total + constants[:, None, None])
    return fusion_bound(block, x)[0] + theirs


def absolute_kernel_and_bias(block):
    """Return the sums over the branches of |s W| (as a 3x3 kernel) and of |beta| + |mu s|, with s = gamma / sigma."""
    kernel = np.zeros(
        (block.out_channels, block.in_channels // block.groups, 3, 3), block.dense.conv.weight.peek().dtype
    )
    bias = np.zeros(block.out_channels, kernel.dtype)
    for weight, norm in block.convolutions():
        scale = np.abs(norm.gamma.peek()) / np.sqrt(norm.running_var + kernel.dtype.type(norm.eps))
        middle = kernel if weight.shape[2:] == (3, 3) else kernel[:, :, 1:2, 1:2]
        middle += np.abs(weight) * scale[:, None, None, None]
        bias += np.abs(norm.beta.peek()) + np.abs(norm.running_mean) * scale
    return kernel, bias
