"""PyTorch, eager: each operation by itself, in both memory formats."""

from functools import partial

import numpy as np

FORMATS = ("contiguous", "channels_last")  # the second one usually wins


def inference(network, x, threads):
    """Build the variants of an inference network.

    Parameters
    ----------
    network : PlainNetwork
    x : ndarray (N, C, H, W)
    threads : int

    Returns
    -------
    list of (str, callable)
        What distinguishes each, and what builds it: a function that returns a function that returns the outputs.
    """
    return [(name, partial(_eager, network, x, threads, name)) for name in FORMATS]


def _eager(network, x, threads, memory_format):
    """Return the function of one memory format."""
    import torch

    module, pictures = module_and_input(network, x, threads, memory_format)

    def run():
        with torch.inference_mode():
            return module(pictures).numpy()

    return run


def module_and_input(network, x, threads, memory_format):
    """Build a network of PyTorch's layers in a memory format, and the batch in the same.

    Returns
    -------
    torch.nn.Module, torch.Tensor
    """
    import torch

    torch.set_num_threads(threads)
    layers = []
    for part in network.convolutions:
        convolution = torch.nn.Conv2d(part.in_channels, len(part.weight), 3, part.stride, 1, groups=part.groups)
        layers += [_filled(convolution, part.weight, part.bias), torch.nn.ReLU(inplace=True)]
    if network.classifier is not None:
        weight, bias = network.classifier
        pooling = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        layers += [*pooling, _filled(torch.nn.Linear(weight.shape[1], len(weight)), weight, bias)]
    order = as_format(torch, memory_format)
    module = torch.nn.Sequential(*layers).eval().to(memory_format=order)
    return module, torch.from_numpy(np.ascontiguousarray(x)).contiguous(memory_format=order)


def as_format(torch, memory_format):
    """Return PyTorch's constant for a memory format."""
    return torch.channels_last if memory_format == "channels_last" else torch.contiguous_format


def _filled(layer, weight, bias):
    """Give a layer its numbers; return it."""
    import torch

    layer.weight.data = torch.from_numpy(weight.copy())
    layer.bias.data = torch.from_numpy(bias.copy())
    return layer


def training(model, x, labels, settings, threads):
    """Build the variants of a training step, each with a network of its own.

    Parameters
    ----------
    model : RepVGG
        In training form; its numbers are copied.
    x : ndarray (N, 3, H, W)
    labels : ndarray (N,)
    settings : Settings
    threads : int

    Returns
    -------
    list of (str, callable)
        What distinguishes each, and what builds its `Trainer`.
    """
    import torch

    from repvgg_np.bench.peers.torch_training import Trainer

    steps = (model, x, labels, settings, threads)
    return [(name, partial(Trainer, *steps, as_format(torch, name))) for name in FORMATS]
