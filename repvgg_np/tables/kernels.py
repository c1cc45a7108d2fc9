"""Table 1: how much a kernel of each size computes in its time."""

from repvgg_np.analysis.published import NOTES, TABLE_1
from repvgg_np.bench.contest import PEAK, check_positive, statistics
from repvgg_np.bench.machine import Peak
from repvgg_np.bench.plain import random_pictures
from repvgg_np.bench.timing import time_side_by_side
from repvgg_np.kernels import get_num_threads, warm_up
from repvgg_np.layers import Conv2d
from repvgg_np.tables.text import Footnotes, columns, number

DEPTHWISE = "3x3, depthwise"


def kernel_sizes(channels=256, batch=4, size=56, rounds=5, measure=True):
    """Time convolutions of stride 1 that differ in the size of the kernel alone, and a depthwise one.

    The paper's convolution, of 2048 channels on 56x56 pixels, batch 32, needs 3.8 million million multiply-adds for
    its 3x3 kernel: half a minute on a processor of 250 GFLOP/s. The sizes here are chosen so that a CPU can run it.

    Parameters
    ----------
    channels, batch, size : int
        As many input as output channels; height and width of the picture.
    rounds : int
    measure : bool
        Whether to time them, or only to count.

    Returns
    -------
    dict
        "rows": for each kernel "text", "flops" (multiply-adds), if timed "milliseconds" (median) and "gflops" (a
        multiply-add counted as two, of the direct algorithm), and "paper" (flops, milliseconds, tflops) or None.
        "peak_gflops" and "slowdown" if timed.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    check_positive(channels=channels, batch=batch, size=size, rounds=rounds)
    rows, layers = [], {}
    for published in TABLE_1:
        name = f"{published.size}x{published.size}"
        layers[name] = (published.size, 1)
        row = {"text": name, "flops": batch * (channels * published.size * size) ** 2}
        row["paper"] = {key: getattr(published, key) for key in ("flops", "milliseconds", "tflops")}
        rows.append(row | {"note": NOTES.get(name)})
    layers[DEPTHWISE] = (3, channels)
    rows.append({"text": DEPTHWISE, "flops": batch * channels * 9 * size**2, "paper": None, "note": None})
    result = {"table": "1", "channels": channels, "batch": batch, "size": size, "rows": rows}
    if not measure:
        return result
    warm_up(training=False)
    x, peak = random_pictures(batch, channels, size, 0), Peak(get_num_threads())
    convolutions = {
        name: Conv2d(channels, channels, side, 1, side // 2, groups, rng=None).eval()
        for name, (side, groups) in layers.items()
    }
    functions = {name: lambda conv=conv: conv(x) for name, conv in convolutions.items()} | {PEAK: peak}
    times = time_side_by_side(functions, rounds, title="table 1")
    loops = statistics(times.pop(PEAK))
    result |= {"rounds": rounds, "peak_gflops": peak.flops / min(loops["seconds"]) / 1e9}
    result["slowdown"] = loops["median"] / min(loops["seconds"])
    for row in rows:
        median = statistics(times[row["text"]])["median"]
        row |= {"milliseconds": 1e3 * median, "gflops": 2e-9 * row["flops"] / median}
    return result


def text(result):
    """Write the result of `kernel_sizes`."""
    notes, timed = Footnotes(), "peak_gflops" in result
    head = ["kernel", "FLOPs/G", *(["ms", "GFLOP/s"] if timed else []), "paper: FLOPs/G", "ms", "TFLOP/s"]
    lines = []
    for row in result["rows"]:
        mark = notes.mark(row["note"])
        cells = [row["text"] + (f" {mark}" if mark else ""), f"{row['flops'] / 1e9:.2f}"]
        cells += [number(row["milliseconds"], 2), number(row["gflops"], 0)] if timed else []
        paper = row["paper"] or dict.fromkeys(("flops", "milliseconds", "tflops"))
        cells += [number(paper["flops"]), number(paper["milliseconds"]), number(paper["tflops"], 2)]
        lines.append(cells)
    lines = columns(head, lines)
    shape = "{channels} channels, {size}x{size}, batch {batch}".format(**result)
    lines.append(f"here: {shape}; in the paper: 2048 channels, 56x56, batch 32, on a GPU, too much for a CPU")
    lines.append("FLOPs are multiply-adds, FLOP/s count each as two, of the direct algorithm: Winograd needs fewer")
    if timed:
        lines.append(
            f"peak of this processor {result['peak_gflops']:.0f} GFLOP/s; medians of {result['rounds']} rounds"
        )
    return "\n".join([*lines, *notes.lines()])
