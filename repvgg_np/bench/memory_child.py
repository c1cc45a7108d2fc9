"""The process that `memory.py` starts: it measures its own memory, prints it as JSON, and ends."""

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import sys

import numpy as np

from repvgg_np.bench import peers
from repvgg_np.bench.contest import OURS
from repvgg_np.bench.plain import NOT_PLAIN, make_model, make_pair, plain_network, random_pictures
from repvgg_np.bench.training import SETTINGS, Trainer
from repvgg_np.kernels import set_num_threads, warm_up
from repvgg_np.models import CONFIGS, RepVGGConfig, find_model

CALLS, SMALL = 3, "RepVGG-tiny"


def measure(work):
    """Measure what `memory.py` explains, in this process.

    Parameters
    ----------
    work : dict
        "who", "task", "model", "batch", "size", "seed" and "threads".

    Returns
    -------
    dict
        "bytes", "baseline", "peak", "exact" and "note"; or "error".
    """
    who, training = work["who"], work["task"] == "training"
    set_num_threads(work["threads"])
    peer = None
    if who == OURS:
        warm_up(training=training, progress=False)
    else:
        package, peer = peers.PEERS[who]
        if importlib.util.find_spec(package) is None:
            return {"error": "not installed"}
        if not isinstance(CONFIGS[find_model(work["model"])], RepVGGConfig):
            return {"error": NOT_PLAIN}
        importlib.import_module(package)
    prepare = _training_step if training else _inference
    # Machine code counts as resident when it first runs: a small network brings it in before the baseline.
    _run(prepare(*_network_and_batch(SMALL, 2, None, 0), peer, work))
    build = prepare(*_network_and_batch(work["model"], work["batch"], work["size"], work["seed"]), peer, work)
    baseline, read_peak, exact = start_measuring()
    note = _run(build)
    peak = read_peak()
    return {"bytes": peak - baseline, "baseline": baseline, "peak": peak, "exact": exact, "note": note}


def _network_and_batch(name, batch, size, seed):
    """Make a network of ours, in training form, and a batch for it."""
    model = make_model(name, seed=seed)
    return model, random_pictures(batch, 3, size or model.config.input_size, seed)


def _run(build):
    """Build what is measured, run it, and let go of it; return its note."""
    note, run = build()
    for _ in range(CALLS):
        run()
    return note


def _inference(model, x, peer, work):
    """Return what builds the network for inference, ours or a peer's, and returns a note and a function."""
    _, fused = make_pair(model)
    if peer is not None:
        network = plain_network(fused)
        return lambda: _last(peer.inference(network, x, work["threads"]))

    def build():
        own = fused.fused().eval()
        return "", lambda: own(x)

    return build


def _last(variants):
    """Build the last variant, of PyTorch's the one that is channels-last; return its note and its function."""
    note, start = variants[-1]
    return note, start()


def _training_step(model, x, peer, work):
    """Return what builds network and optimizer for training, ours or a peer's, and returns a note and a function."""
    labels = np.random.default_rng([work["seed"], 1]).integers(model.num_classes, size=len(x))
    if peer is not None:
        return lambda: _last(peer.training(model, x, labels, SETTINGS, work["threads"]))
    state = model.state_dict()

    def build():
        own = type(model)(model.config, model.num_classes, rng=None)
        own.load_state_dict(state)
        return "", Trainer(own, x, labels)

    return build


def start_measuring():
    """Note the resident memory as the baseline.

    Returns
    -------
    baseline : int
        Bytes.
    read_peak : callable
        Returns the highest resident memory since, in bytes.
    exact : bool
        Whether that is what it says, or the highest since the start of the process.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than Linux's usual one
        ctypes.CDLL(None).malloc_trim(0)  # what was freed but kept would be used again unseen
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # VmHWM begins anew (Linux, man 5 proc)
        return _status("VmRSS"), lambda: _status("VmHWM"), True
    except OSError:
        return _highest(), _highest, False


def _status(name):
    """Read one of Linux's numbers on this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(f"{name}:"))


def _highest():
    """Return the highest resident memory since the start of the process, in bytes."""
    import resource  # not on Windows, and needed nowhere else

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
