"""The peers: other programs that run the same network, built here from our fused network's numbers.

Each is asked for only where it is installed, gets as many threads as we do, float32, and its best memory format.
"""

import contextlib
import importlib.util
import os
import time
import warnings

from tqdm import tqdm

from repvgg_np.bench.peers import onnxruntime, openvino, torch, torch_compile
from repvgg_np.kernels import get_num_threads

# The package that must be installed, and what builds the contestants.
PEERS = {
    "PyTorch": ("torch", torch),
    "torch.compile": ("torch", torch_compile),
    "ONNX Runtime": ("onnxruntime", onnxruntime),
    "OpenVINO": ("openvino", openvino),
}
TRAINING_PEERS = ("PyTorch", "torch.compile")
TRIAL_CALLS = 5


def check_peers(names):
    """Return the peers that are asked for.

    Parameters
    ----------
    names : sequence of str or None
        None are all.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there is no such peer.
    """
    spellings = {name.lower(): name for name in PEERS}
    for name in names or ():
        if name.lower() not in spellings:
            raise ValueError(f"peers must be of {', '.join(PEERS)}, got {name!r}")
    return list(PEERS) if names is None else [spellings[name.lower()] for name in names]


def build(names, make, left_out):
    """Build the contestants of the peers that are asked for; of each one's variants take the fastest.

    Parameters
    ----------
    names : list of str
    make : callable
        Given a peer's module and the number of threads, returns its variants: a list of (note, what builds it).
    left_out : dict of str to str
        Gets a line for each peer that does not take part: not installed, or what went wrong.

    Returns
    -------
    dict of str to (note, run)
    """
    built = {}
    bar = tqdm(names, desc="building the peers' networks", leave=False, disable=None)
    for name in bar:
        bar.set_postfix_str(name)
        package, module = PEERS[name]
        if importlib.util.find_spec(package) is None:
            left_out[name] = "not installed"
            continue
        try:
            with _quiet():
                variants = [(note, start()) for note, start in make(module, get_num_threads())]
                times = {note: _trial(run) for note, run in variants}  # what compiles at its first call may fail there
                built[name] = min(variants, key=lambda variant: times[variant[0]])
        except Exception as error:  # whatever another program raises must not end the measurement of ours
            first_line = (str(error).strip().splitlines() or ["no reason given"])[0]
            left_out[name] = f"{type(error).__name__}: {first_line[:160]}"
    return built


def _trial(run):
    """Return the shortest time of a few calls, after two that don't count."""
    run(), run()
    times = []
    for _ in range(TRIAL_CALLS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@contextlib.contextmanager
def _quiet():
    """Keep the chatter of other programs' compilers off the terminal."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
