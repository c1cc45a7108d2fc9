"""Memory: how much more a process needs at most while it infers or trains, each contestant in a process of its own.

What is measured, the same for everybody: a fresh process imports what it needs, runs a small network (so that the
machine code lies in memory), draws a batch, and holds the network's numbers as arrays. Its *resident memory* (what
really lies in RAM) is then the baseline. Now it builds the network as the contestant wants it (its own copy of the
weights, optimizer, packed kernels) and runs three inferences or training steps. The highest resident memory of that
time, minus the baseline, is the number.

Linux tells the highest value since it was last reset (VmHWM). Elsewhere `ru_maxrss` knows only the highest value since
the start of the process, imports included, so that the number can come out too small; "exact" says which it was.
"""

import json
import subprocess
import sys

from repvgg_np.bench.contest import OURS, check_positive
from repvgg_np.bench.peers import TRAINING_PEERS, check_peers
from repvgg_np.kernels import get_num_threads
from repvgg_np.models import find_model

TASKS = ("inference", "training")


def bench_memory(model, batch, size=None, seed=0, peers=None, tasks=TASKS):
    """Measure the memory that a network needs beyond its numbers and its batch.

    Parameters
    ----------
    model : str
        A model's name.
    batch : int
        Pictures in a batch.
    size : int, optional
        Their height and width; without it, what the model is made for.
    seed : int
    peers : sequence of str, optional
        Which peers; without it all that are installed. `torch.compile`, whose compiler runs in the same process, is
        measured only if it is named.
    tasks : sequence of {"inference", "training"}

    Returns
    -------
    dict
        "model", "batch", "size", and for each task a dict with, for each contestant by its name, "bytes" (the number
        explained above), "baseline" and "peak" (bytes resident), "exact", "note", and for a peer "ratio" (its bytes
        divided by ours); and "left_out".

    Raises
    ------
    ValueError
        If an argument is out of range, or the measurement of ours fails.
    """
    check_positive(batch=batch)
    if size is not None:
        check_positive(size=size)
    names = [name for name in check_peers(peers) if peers is not None or name != "torch.compile"]
    result = {"model": find_model(model), "batch": batch, "size": size, "left_out": {}}
    for task in tasks:
        rows = {}
        for name in [OURS, *(peer for peer in names if task == "inference" or peer in TRAINING_PEERS)]:
            work = {"who": name, "task": task, "model": model, "batch": batch, "size": size, "seed": seed}
            answer = measure_in_child(work | {"threads": get_num_threads()})
            if "error" not in answer:
                rows[name] = answer
            elif name == OURS:
                raise ValueError(f"the measurement of {task} failed: {answer['error']}")
            else:
                result["left_out"][name] = answer["error"]
        for row in rows.values():
            row["ratio"] = row["bytes"] / max(1, rows[OURS]["bytes"])
        result[task] = rows
    return result


def measure_in_child(work):
    """Measure in a process of its own.

    Parameters
    ----------
    work : dict
        As `memory_child.measure` takes it.

    Returns
    -------
    dict
        What that returns; or "error", in one line.
    """
    command = [sys.executable, "-m", "repvgg_np.bench.memory_child", json.dumps(work)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    complaint = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
    return {"error": complaint[-1]}
