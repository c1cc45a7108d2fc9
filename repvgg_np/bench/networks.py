"""The speed of many networks in one run: each is built for its turn, and gone after it, so that the largest fit too."""

import numpy as np

from repvgg_np.bench.contest import PEAK, check_positive, statistics
from repvgg_np.bench.machine import Peak
from repvgg_np.bench.plain import random_pictures
from repvgg_np.bench.timing import time_one_at_a_time
from repvgg_np.kernels import buffers, get_num_threads, warm_up

DRAWN = 1 << 16  # numbers that are drawn; weights repeat them


def time_networks(makers, batch, size=None, rounds=5, seed=0, title="timing"):
    """Time the forward passes of networks in inference mode, in interleaved rounds, one network alive at a time.

    Parameters
    ----------
    makers : dict of str to callable
        Each returns a new network, in whatever form is to be timed; its weights may be zero.
    batch : int
        Pictures in a batch.
    size : int, optional
        Their height and width; without it, what each network is made for.
    rounds : int
    seed : int
        Draws weights and pictures.
    title : str
        For the progress bar.

    Returns
    -------
    dict
        "networks": for each by its name the `statistics` of a batch's time, and "images_per_second"; "slowdown" as
        `run_contest` has it; "batch", "rounds".

    Raises
    ------
    ValueError
        If a number is out of range, or a picture is too small for a network.
    """
    check_positive(batch=batch, rounds=rounds)
    if size is not None:
        check_positive(size=size)
    warm_up(training=False)
    peak = Peak(get_num_threads())

    def builder(make):
        def build():
            buffers.release()  # what the last network had
            model = make().eval()
            fill(model, seed)
            x = random_pictures(batch, 3, model.config.input_size if size is None else size, seed)
            return lambda: model(x)

        return build

    builders = {name: builder(make) for name, make in makers.items()} | {PEAK: lambda: peak}
    times = time_one_at_a_time(builders, rounds, title=title)
    buffers.release()
    loops = times.pop(PEAK)
    networks = {name: statistics(seconds) for name, seconds in times.items()}
    for row in networks.values():
        row["images_per_second"] = batch / row["median"]
    return {
        "networks": networks,
        "slowdown": float(np.median(loops)) / min(loops),
        "batch": batch,
        "rounds": rounds,
    }


def fill(model, seed):
    """Give all kernels numbers with which activations neither vanish nor overflow; quicker than drawing every one.

    What a network computes does not change its time, but numbers that are no ordinary ones would.

    Parameters
    ----------
    model : Network
        Is changed: kernels get the variance of He's rule for fan_in. Batch norms and biases stay as they are.
    seed : int
    """
    drawn = np.random.default_rng(seed).standard_normal(DRAWN, np.float32)
    for _, parameter in model.named_parameters():
        shape = parameter.peek().shape
        if len(shape) > 1:
            deviation = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            parameter.replace(np.resize(drawn * deviation, shape).astype(model.dtype, copy=False))
