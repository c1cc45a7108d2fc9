"""A contest: contestants that were found to agree are timed in one interleaved run, and compared with ours."""

from dataclasses import dataclass, field

import numpy as np

from repvgg_np.bench.machine import Peak
from repvgg_np.bench.timing import time_side_by_side
from repvgg_np.kernels import get_num_threads

OURS, PEAK = "repvgg_np", "FMA peak"


@dataclass
class Contestant:
    """Somebody who does the work.

    Attributes
    ----------
    name : str
    run : callable
        Does it once; takes no arguments.
    note : str
        How: the memory format, say.
    ours : bool
        Whether it is of this package, or a peer.
    difference, tolerance : float
        By how much its result differs from ours at most, and by how much it may.
    """

    name: str
    run: object
    note: str = ""
    ours: bool = False
    difference: float = field(default=0.0)
    tolerance: float = field(default=0.0)


def statistics(seconds):
    """Summarise the times of one contestant.

    Parameters
    ----------
    seconds : list of float

    Returns
    -------
    dict
        "median" and "quartiles" in seconds, and all the "seconds".
    """
    return {
        "median": float(np.median(seconds)),
        "quartiles": [float(np.quantile(seconds, quantile)) for quantile in (0.25, 0.75)],
        "seconds": list(seconds),
    }


def run_contest(contestants, repeats, flops=None, title=None):
    """Time contestants side by side, and the processor's peak among them.

    Parameters
    ----------
    contestants : list of Contestant
        The first one is that of ours with which all are compared.
    repeats : int
        Rounds.
    flops : int, optional
        Floating-point operations of the direct algorithm, a multiply-add counted as two. A contestant that needs fewer
        (Winograd's algorithm does) can so come out above the peak.
    title : str, optional
        For the progress bar.

    Returns
    -------
    dict
        "peak_gflops"; "slowdown", the median time of the peak's loop divided by its shortest: it touches no memory, so
        what is well above 1 means that the machine was busy with something else; "contestants": for each by its name
        the `statistics`, "note", "ours", "ratio" (its median divided by ours), "gflops" and "percent_of_peak" where
        `flops` is given, "difference" and "tolerance"; "fastest_peer" and "ratio_to_fastest_peer", None where there is
        no peer.
    """
    peak = Peak(get_num_threads())
    functions = {contestant.name: contestant.run for contestant in contestants}
    times = time_side_by_side(functions | {PEAK: peak}, repeats, title=title)
    peak_times = times.pop(PEAK)
    peak_gflops = peak.flops / min(peak_times) / 1e9  # the shortest time, because it is a limit
    results = {}
    for contestant in contestants:
        row = statistics(times[contestant.name])
        row |= {"note": contestant.note, "ours": contestant.ours}
        row |= {"difference": contestant.difference, "tolerance": contestant.tolerance}
        if flops is not None:
            row["gflops"] = flops / row["median"] / 1e9
            row["percent_of_peak"] = 100 * row["gflops"] / peak_gflops
        results[contestant.name] = row
    base = results[contestants[0].name]["median"]
    for row in results.values():
        row["ratio"] = row["median"] / base
    peers = [contestant.name for contestant in contestants if not contestant.ours]
    fastest = min(peers, key=lambda name: results[name]["median"], default=None)
    return {
        "repeats": repeats,
        "peak_gflops": peak_gflops,
        "slowdown": float(np.median(peak_times)) / min(peak_times),
        "contestants": results,
        "fastest_peer": fastest,
        "ratio_to_fastest_peer": None if fastest is None else results[fastest]["ratio"],
    }


def check_positive(**numbers):
    """Refuse what is no integer of at least 1.

    Raises
    ------
    ValueError
        With the name of the argument.
    """
    for name, value in numbers.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
