"""Timings side by side: ratios of medians from one process, interleaved, after checking that the outputs agree."""

import platform
import time

import numpy as np

from repvgg_np.fuse import fuse
from repvgg_np.kernels import get_num_threads, warm_up
from repvgg_np.models import RepVGG, create_model


def time_side_by_side(functions, repeats):
    """Time several functions in turn, so that whatever else the machine does hits all of them alike.

    Parameters
    ----------
    functions : dict of str to callable
        Called without arguments; each once before the clock runs.
    repeats : int

    Returns
    -------
    dict of str to list of float
        Seconds, one for each repetition.
    """
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return times


def machine():
    """Return one line on the processor and the versions that were measured."""
    import numba

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux: the platform's own word for it has to do
    return (
        f"{model}, {get_num_threads()} threads, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, Numba {numba.__version__}"
    )


def torch_network(fused):
    """Build the same network of PyTorch's layers, in its best memory format for a CPU.

    Parameters
    ----------
    fused : Network
        In inference form.

    Returns
    -------
    callable or None
        Maps pictures (N, 3, H, W) to logits; None where PyTorch is not installed, or the network is no RepVGG.
    """
    if not isinstance(fused, RepVGG):
        return None
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(get_num_threads())
    layers = []
    for _, block in fused.blocks():
        conv = torch.nn.Conv2d(block.in_channels, block.out_channels, 3, block.stride, 1, groups=block.groups)
        layers += [_filled(torch, conv, block.reparam), torch.nn.ReLU(inplace=True)]
    linear = torch.nn.Linear(fused.linear.weight.peek().shape[1], fused.num_classes)
    pooling = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    network = torch.nn.Sequential(*layers, *pooling, _filled(torch, linear, fused.linear))
    network = network.eval().to(memory_format=torch.channels_last)

    def run(x):
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return run


def _filled(torch, layer, ours):
    """Give a PyTorch layer our weights; return it."""
    layer.weight.data = torch.from_numpy(ours.weight.peek().copy())
    layer.bias.data = torch.from_numpy(ours.bias.peek().copy())
    return layer


def random_statistics(model, seed):
    """Give every batch norm statistics and parameters as after a training, so that outputs are not trivial.

    Parameters
    ----------
    model : RepVGG
        In training form; is changed.
    seed : int
    """
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    for name, array in state.items():
        if name.endswith("running_mean") or name.endswith("bias"):
            state[name] = rng.normal(0, 0.1, array.shape).astype(array.dtype)
        elif name.endswith("running_var") or (name.endswith("weight") and array.ndim == 1):
            state[name] = rng.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    model.load_state_dict(state)


def bench_inference(name, batch, size=None, repeats=15, seed=0):
    """Time a network before and after fusion, and PyTorch's fused network where it is installed.

    Parameters
    ----------
    name : str
        A model's name.
    batch : int
        Pictures in a batch.
    size : int, optional
        Their height and width; without it, what the model is made for.
    repeats : int
    seed : int

    Returns
    -------
    dict
        "model", "batch", "size", "machine", "milliseconds" (median, for each contestant), "spread" (quartiles),
        "ratio_to_fused" and "largest_difference" of the logits from the fused ones.

    Raises
    ------
    ValueError
        If an argument is out of range, or the outputs don't agree.
    """
    for label, value in (("batch", batch), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{label} must be at least 1, got {value}")
    model = create_model(name, seed=seed)
    random_statistics(model, seed)
    model.eval()
    fused = fuse(model)
    size = model.config.input_size if size is None else size
    warm_up(training=False)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, size, size, 3)).astype(np.float32).transpose(0, 3, 1, 2)  # channels-last in memory
    before = "three branches" if isinstance(model, RepVGG) else "unfused"
    contestants = {before: lambda: model(x), "fused": lambda: fused(x)}
    peer = torch_network(fused)
    if peer is not None:
        contestants["PyTorch, fused"] = lambda: peer(x)
    logits = fused(x)
    differences = {label: float(np.abs(run() - logits).max()) for label, run in contestants.items()}
    scale = float(np.abs(logits).max())
    for label, difference in differences.items():
        if not difference <= 1e-3 * scale:
            raise ValueError(f"the outputs don't agree: {label} differs by {difference:.2g} of {scale:.2g}")
    times = time_side_by_side(contestants, repeats)
    medians = {label: float(np.median(seconds)) for label, seconds in times.items()}
    return {
        "model": model.name,
        "batch": batch,
        "size": size,
        "repeats": repeats,
        "machine": machine(),
        "milliseconds": {label: 1e3 * median for label, median in medians.items()},
        "spread": {label: [float(1e3 * np.quantile(s, q)) for q in (0.25, 0.75)] for label, s in times.items()},
        "ratio_to_fused": {label: median / medians["fused"] for label, median in medians.items()},
        "largest_difference": differences,
    }
