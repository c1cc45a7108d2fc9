"""How much memory activations take at most: computed from a graph, and measured while it runs (section 3.1, figure 3).

Two numbers, both in bytes:

- *Held* is what must be kept from one operation to the next. It is the paper's number: a residual block that keeps the
  size of its picture holds its input for the addition at the end, so twice the input; a plain chain holds it once.
- *Alive* is what lies in memory while an operation runs: its inputs, its output, and what waits for later. It is what a
  program needs that writes every output into memory of its own, as this package does: one activation more.

Parameters are not counted, and nobody but the graph holds the input.
"""

import math
import tracemalloc
from dataclasses import dataclass

import numpy as np

from repvgg_np.analysis.dataflow import operations
from repvgg_np.kernels.buffers import without_reuse
from repvgg_np.layers import BatchNorm2d, Concatenate, Conv2d, MaxPool2d, ReLU, Residual, Sequential


@dataclass(frozen=True)
class MemoryStep:
    """The memory around one operation, of one picture.

    Attributes
    ----------
    name : str
        Of the operation; "input" before the first.
    alive, held : int
        Numbers (not bytes) that lie in memory while it runs, and that are kept after it.
    """

    name: str
    alive: int
    held: int


def memory_steps(layer, shape):
    """Follow what is in memory through a layer, operation by operation.

    Parameters
    ----------
    layer : Layer
        In inference mode.
    shape : tuple
        Of its input, without the batch.

    Returns
    -------
    list of MemoryStep
        First the input alone.
    """
    graph = operations(layer, shape)
    sizes = {0: math.prod(shape)} | {operation.output: math.prod(operation.out_shape) for operation in graph}
    steps = [MemoryStep("input", sizes[0], sizes[0])]
    here = {0}
    for operation, gone in zip(graph, last_readings(graph), strict=True):
        here.add(operation.output)
        alive = sum(sizes[value] for value in here)
        here -= gone
        steps.append(MemoryStep(operation.name, alive, sum(sizes[value] for value in here)))
    return steps


def last_readings(graph):
    """Return, for each operation, the set of activations that nobody reads after it."""
    last = {value: number for number, operation in enumerate(graph) for value in operation.inputs}
    gone = [set() for _ in graph]
    for value, number in last.items():
        gone[number].add(value)
    return gone


def measure_peak(layer, shape, batch):
    """Run a layer, letting go of each activation after its last reading, and measure the most memory in use.

    What is counted is every array that NumPy makes, the kernels' own working memory included, of which each thread has
    some that does not grow with the batch.

    Parameters
    ----------
    layer : Layer
        In inference mode, float32.
    shape : tuple
        Of its input, without the batch.
    batch : int

    Returns
    -------
    int
        Bytes, the input included.
    """
    graph = operations(layer, shape)
    gone = last_readings(graph)
    with without_reuse():
        _run(graph, gone, shape, batch)  # packs kernels, which then stay
        running = tracemalloc.is_tracing()
        tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            _run(graph, gone, shape, batch)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            if not running:
                tracemalloc.stop()


def _run(graph, gone, shape, batch):
    """Run the operations on a batch of ones, channels-last in memory."""
    channels, *size = shape
    values = {0: np.ones((batch, *size, channels), np.float32).transpose(0, 3, 1, 2)}
    for operation, those in zip(graph, gone, strict=True):
        values[operation.output] = operation.run(*[values[value] for value in operation.inputs])
        for value in those:
            del values[value]


def example_blocks():
    """Make the blocks whose memory is compared, in inference mode.

    Returns
    -------
    dict of str to (Sequential, tuple)
        By what it is: the block, and the shape of its input without the batch.
    """
    wide = 64
    plain = {"conv1": _conv(wide, wide), "relu1": ReLU(), "conv2": _conv(wide, wide)}
    bottleneck = {"conv1": _conv(4 * wide, wide, 1), "relu1": ReLU(), "conv2": _conv(wide, wide), "relu2": ReLU()}
    dense, channels, growth = {}, wide, 32
    for number in range(1, 7):  # norm, ReLU and convolution, as DenseNet has them; the batch norm between is folded
        added = {"norm": BatchNorm2d(channels), "relu1": ReLU(), "conv1": _conv(channels, 4 * growth, 1)}
        added |= {"relu2": ReLU(), "conv2": _conv(4 * growth, growth)}
        dense[f"layer{number}"] = Concatenate(Sequential(), Sequential(**added))
        channels += growth
    three_branches = Residual(
        Residual(
            Sequential(conv=_conv(wide, wide), bn=BatchNorm2d(wide)),
            Sequential(conv=_conv(wide, wide, 1), bn=BatchNorm2d(wide)),
        ),
        Sequential(bn=BatchNorm2d(wide)),
        relu=True,
    )
    inception = Concatenate(
        Sequential(conv=_conv(192, 64, 1), relu=ReLU()),
        Sequential(conv1=_conv(192, 96, 1), relu1=ReLU(), conv2=_conv(96, 128), relu2=ReLU()),
        Sequential(conv1=_conv(192, 16, 1), relu1=ReLU(), conv2=_conv(16, 32), relu2=ReLU()),
        Sequential(pool=MaxPool2d(3, 1, 1), conv=_conv(192, 32, 1), relu=ReLU()),
    )
    picture = (wide, 56, 56)
    blocks = {
        "plain, two 3x3": (Sequential(**plain, relu2=ReLU()), picture),
        "residual, two 3x3 (ResNet-18)": (Residual(Sequential(**plain), relu=True), picture),
        "residual, bottleneck (ResNet-50)": (
            Residual(Sequential(**bottleneck, conv3=_conv(wide, 4 * wide, 1)), relu=True),
            (4 * wide, 56, 56),
        ),
        "dense, six layers (DenseNet-121)": (Sequential(**dense), picture),
        "inception (GoogLeNet, 3a)": (inception, (192, 28, 28)),
        "RepVGG, three branches": (three_branches, picture),
        "RepVGG, fused": (Sequential(conv=_conv(wide, wide), relu=ReLU()), picture),
    }
    return {name: (Sequential(block).eval(), shape) for name, (block, shape) in blocks.items()}


def _conv(in_channels, out_channels, size=3):
    """Make a convolution that keeps the size of the picture, with a bias."""
    return Conv2d(in_channels, out_channels, size, 1, size // 2, rng=np.random.default_rng(0))
