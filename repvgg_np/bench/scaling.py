"""Scaling: how the time grows with the batch, the size of the picture, the width of a layer, and the threads.

Along an axis everything else stays the same. If the time is proportional to value^s, the points lie on a straight line
of slope s in a figure whose axes are both logarithmic. In theory s is 1 for the batch, 2 for the height and width of
the picture, 2 for the width of a layer (input and output channels) and -1 for the threads.
"""

import numpy as np

from repvgg_np.bench.agreement import convolution_tolerance
from repvgg_np.bench.contest import Contestant, check_positive, run_contest
from repvgg_np.bench.inference import FUSED, agreeing, bench_inference
from repvgg_np.bench.peers import build, check_peers
from repvgg_np.bench.plain import PlainConvolution, PlainNetwork, make_model, random_pictures
from repvgg_np.blocks import FusedRepVGGBlock
from repvgg_np.kernels import get_num_threads, set_num_threads, warm_up

AXES = {
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "size": (32, 64, 112, 160, 224, 320, 448),
    "width": (16, 32, 64, 128, 256, 512),
    "threads": (1, 2),
}
THREADS_BATCH, WIDTH_SIZE = 8, 28  # what is kept the same along the axes of threads and width


def bench_scaling(model="RepVGG-A0", axes=None, repeats=7, seed=0, peers=None):
    """Time inference along one or several axes.

    The fused network at batch 1 (along "threads" at batch 8) is what is timed; along "width" a single 3x3 convolution
    with as many input as output channels, of one picture of 28x28.

    Parameters
    ----------
    model : str
        A model's name.
    axes : dict of str to sequence of int, optional
        The values along "batch", "size", "width" and "threads"; without it `AXES`, as far as there are threads.
    repeats : int
        Rounds of each point's interleaved run.
    seed : int
        Draws weights and pictures.
    peers : sequence of str, optional
        Which peers; without it all that are installed but `torch.compile`, which compiles for every point anew.

    Returns
    -------
    dict
        "model" and "axes": for each a dict with "points" (what `run_contest` returns, and "value") and "slopes" (the
        fitted exponent s of each contestant).

    Raises
    ------
    ValueError
        If an argument is out of range, or the outputs of ours don't agree.
    """
    check_positive(repeats=repeats)
    peers = [name for name in check_peers(peers) if peers is not None or name != "torch.compile"]
    axes = AXES | {"threads": _threads()} if axes is None else axes
    for axis, values in axes.items():
        if axis not in AXES:
            raise ValueError(f"axes must be of {', '.join(AXES)}, got {axis!r}")
        for value in values:
            check_positive(**{axis: value})
    network = make_model(model, seed=seed)

    def at(axis, value):
        if axis == "width":
            return _layer(value, repeats, seed, peers)
        arguments = {"batch": 1, "size": None, "repeats": repeats, "seed": seed, "peers": peers, "branches": False}
        if axis == "threads":
            return _with_threads(value, lambda: bench_inference(network, **arguments | {"batch": THREADS_BATCH}))
        return bench_inference(network, **arguments | {axis: value})

    result = {}
    for axis, values in axes.items():
        points = [{"value": value} | at(axis, value) for value in sorted(set(values))]
        result[axis] = {"points": points, "slopes": slopes(points)}
    return {"model": network.name, "axes": result}


def slopes(points):
    """Fit the exponent s of `time = c value^s` for each contestant, by least squares on logarithms.

    Parameters
    ----------
    points : list of dict
        With "value" and "contestants".

    Returns
    -------
    dict of str to float
        Without those who have fewer than two points.
    """
    found = {}
    for name in dict.fromkeys(name for point in points for name in point["contestants"]):
        mine = [(p["value"], p["contestants"][name]["median"]) for p in points if name in p["contestants"]]
        if len(mine) >= 2:
            values, medians = np.log(np.array(mine)).T
            found[name] = float(np.polyfit(values, medians, 1)[0])
    return found


def _threads():
    """Return the numbers of threads that there are."""
    return tuple(n for n in AXES["threads"] if n <= get_num_threads())


def _with_threads(threads, measure):
    """Measure with another number of threads."""
    before = get_num_threads()
    set_num_threads(threads)
    try:
        return measure()
    finally:
        set_num_threads(before)


def _layer(width, repeats, seed, peers):
    """Time a convolution of so many channels to as many."""
    rng = np.random.default_rng([seed, width])
    weight = rng.standard_normal((width, width, 3, 3), np.float32) / np.float32(np.sqrt(9 * width))
    bias = rng.standard_normal(width, np.float32)
    block = FusedRepVGGBlock(weight, bias).eval()
    x = random_pictures(1, width, WIDTH_SIZE, seed)
    warm_up(training=False)
    network, left_out = PlainNetwork([PlainConvolution(weight, bias, 1, 1)], None), {}
    built = build(peers, lambda peer, threads: peer.inference(network, x, threads), left_out)
    contestants = [Contestant(FUSED, lambda: block(x), ours=True)]
    contestants += [Contestant(name, run, note) for name, (note, run) in built.items()]
    contestants = agreeing(contestants, block(x), convolution_tolerance(x, weight, bias, 1, 1), left_out)
    flops = 2 * WIDTH_SIZE**2 * weight.size
    return {"left_out": left_out} | run_contest(contestants, repeats, flops, title=f"width {width}")
