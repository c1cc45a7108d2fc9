"""MobileNet's depthwise layers beside dense 3x3 layers that take the same time: FLOPs are not speed (section 3.1).

The dense layer has the same picture, the same stride and as many input as output channels: how many, is measured. All
layers have a bias and ReLU, in the same pass over memory.
"""

import math

import numpy as np

from repvgg_np.analysis.separable import NETWORK, convolution_costs, separable_layers
from repvgg_np.bench.contest import PEAK, check_positive, statistics
from repvgg_np.bench.machine import Peak
from repvgg_np.bench.plain import random_pictures
from repvgg_np.bench.timing import time_side_by_side
from repvgg_np.kernels import buffers, get_num_threads, warm_up
from repvgg_np.layers import Conv2d, ReLU, Sequential
from repvgg_np.tables.text import columns, number

KINDS = {"depthwise": "depthwise 3x3", "separable": "with its pointwise 1x1"}
STEP, WIDEST = 8, 2048  # channels of a dense layer are a multiple of the first, and no more than the second


def equal_width(widths, seconds, target):
    """Tell how many channels a dense layer has that takes a given time.

    Parameters
    ----------
    widths : sequence of int
        Numbers of channels that were timed, ascending.
    seconds : sequence of float
        The times of those layers.
    target : float
        Seconds.

    Returns
    -------
    int
        The multiple of 8 that is nearest to where the times first pass the target, as a power law between two widths.
        Where all are above it or all below, the first or the last width.
    """
    later = next((i for i, time in enumerate(seconds) if time > target), len(widths))
    if later in (0, len(widths)):
        return widths[min(later, len(widths) - 1)]
    (low, high), (quick, slow) = (np.log(values[later - 1 : later + 1]) for values in (widths, seconds))
    width = math.exp(low + (high - low) * (math.log(target) - quick) / (slow - quick))
    return max(STEP, STEP * round(width / STEP))


def equal_time(batch=1, size=None, rounds=5, measure=True):
    """Find for each depthwise layer of MobileNetV1, and each separable one, the dense 3x3 layer that takes as long.

    Dense layers of some widths are timed beside it, and the width of equal time is interpolated. Then the layer is
    timed once more, beside the dense ones of that width, of 8 channels less and 8 more; the one whose time is nearest
    is reported, with the times of this second run, so what they differ by is seen.

    Parameters
    ----------
    batch : int
        Pictures in a batch.
    size : int, optional
        Height and width of the network's picture; without it, what it is made for.
    rounds : int
        Of each interleaved run.
    measure : bool
        Whether to time them, or only to count.

    Returns
    -------
    dict
        "rows": for each layer "channels", "out_channels", "size", "out_size", "stride", "layers" (how many the network
        has), and "depthwise" and "separable": the counts of `convolution_costs`, and if timed "milliseconds", "gflops"
        (a multiply-add counted as two), "dense" (the same of the dense layer, and its "channels"), "flops_ratio" (the
        dense layer's FLOPs divided by this one's) and "time_ratio". "peak_gflops" and "slowdown" if timed.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    check_positive(batch=batch, rounds=rounds)
    layers, rows = separable_layers(size), []
    for layer, times in layers.items():
        row = {**vars(layer), "layers": times}
        rows.append(row | {kind: convolution_costs(layer.parts(kind), batch) for kind in KINDS})
    result = {"table": "depthwise", "model": NETWORK, "batch": batch, "rows": rows}
    if not measure:
        return result
    warm_up(training=False)
    peak, loops = Peak(get_num_threads()), []
    for i, (layer, row) in enumerate(zip(layers, rows, strict=True), start=1):
        loops += _time_layer(layer, row, batch, rounds, peak, f"layer {i} of {len(rows)}")
        buffers.release()
    result |= {"rounds": rounds, "peak_gflops": peak.flops / min(loops) / 1e9}
    return result | {"slowdown": float(np.median(loops)) / min(loops)}


def _time_layer(layer, row, batch, rounds, peak, title):
    """Write the times of one layer, and of the dense layers that take as long, into its row; return the peak's."""
    own = {kind: _function(layer.parts(kind), layer.stride, batch) for kind in KINDS}
    dense, width = {}, STEP
    while True:  # twice as wide each time, until it takes clearly longer than the slower of the two
        dense[width] = _function(layer.dense(width), layer.stride, batch)
        seconds = _medians({"separable": own["separable"], width: dense[width]}, 1)
        if seconds[width] > 1.5 * seconds["separable"] or 2 * width > WIDEST:
            break
        width *= 2
    for between in _grid(width):
        dense.setdefault(between, _function(layer.dense(between), layer.stride, batch))
    widths = sorted(dense)
    seconds = _medians(own | dense, rounds, f"{title}: which dense layer takes as long")
    found = {kind: equal_width(widths, [seconds[w] for w in widths], seconds[kind]) for kind in KINDS}
    near = {width + step for width in found.values() for step in (-STEP, 0, STEP)}
    near = {width for width in near if STEP <= width <= WIDEST}
    contest = own | {w: dense.get(w) or _function(layer.dense(w), layer.stride, batch) for w in sorted(near)}
    times = time_side_by_side(contest | {PEAK: peak}, rounds, pause=0, title=f"{title}: both")
    loops = times.pop(PEAK)
    seconds = {name: statistics(some)["median"] for name, some in times.items()}
    for kind in KINDS:
        channels = min(near, key=lambda w: abs(math.log(seconds[w] / seconds[kind])))
        mine, other = row[kind], convolution_costs(layer.dense(channels), batch)
        for costs, name in ((mine, kind), (other, channels)):
            costs |= {"milliseconds": 1e3 * seconds[name], "gflops": 2e-9 * costs["flops"] / seconds[name]}
        mine |= {"dense": {"channels": channels, **other}, "flops_ratio": other["flops"] / mine["flops"]}
        mine["time_ratio"] = seconds[channels] / seconds[kind]
    return loops


def _grid(widest):
    """Return widths up to the widest: multiples of 8, four to an octave where there are as many."""
    octaves = math.log2(widest / STEP)
    return sorted({STEP * round(2 ** (i / 4)) for i in range(round(4 * octaves) + 1)})


def _medians(functions, rounds, title=None):
    """Time functions side by side; return their median seconds. All of them share their threads: no pause is needed."""
    times = time_side_by_side(functions, rounds, pause=0, title=title)
    return {name: statistics(seconds)["median"] for name, seconds in times.items()}


def _function(shapes, stride, batch):
    """Return what runs convolutions, of which the first has this stride, on random pictures."""
    steps = []
    for i, (in_channels, out_channels, kernel_size, groups, _, _) in enumerate(shapes):
        geometry = (kernel_size, stride if i == 0 else 1, kernel_size // 2, groups)
        steps += [Conv2d(in_channels, out_channels, *geometry, rng=None), ReLU()]
    chain, x = Sequential(*steps).eval(), random_pictures(batch, shapes[0][0], shapes[0][4], 0)
    return lambda: chain(x)


def text(result):
    """Write the result of `equal_time`: a table for depthwise layers, and one for separable ones."""
    lines = []
    for kind, name in KINDS.items():
        timed = "dense" in result["rows"][0][kind]
        head = [name, "FLOPs/M", *(["ms", "GFLOP/s"] if timed else []), "bytes/FLOP"]
        head += ["dense 3x3", "FLOPs/M", "ms", "GFLOP/s", "bytes/FLOP", "FLOPs ratio"] if timed else []
        cells = []
        for row in result["rows"]:
            mine = row[kind]
            line = [_name(row, kind), *_cells(mine, timed)]
            if timed:
                line += [str(mine["dense"]["channels"]), *_cells(mine["dense"], timed), f"{mine['flops_ratio']:.1f}"]
            cells.append(line)
        lines += [*columns(head, cells), ""]
    lines.append(
        f"{result['model']}'s layers, batch {result['batch']}; bias and ReLU in the same pass, for dense ones too"
    )
    lines.append("FLOPs are multiply-adds of the direct algorithm (Winograd needs fewer), FLOP/s count each as two")
    lines.append("bytes: input, kernel, bias and output of each convolution, read or written once")
    return "\n".join(lines + (_measured_lines(result) if "slowdown" in result else []))


def _measured_lines(result):
    """Say how it was measured, how equal the times are, and what the most frequent layer and all together show."""
    rows = result["rows"]
    ratios = [row[kind]["time_ratio"] for row in rows for kind in KINDS]
    row = max(rows, key=lambda row: row["layers"])
    mine, side = row["depthwise"], row["size"]
    total = {
        kind: sum(row["layers"] * row[kind]["dense"]["flops"] for row in rows)
        / sum(row["layers"] * row[kind]["flops"] for row in rows)
        for kind in KINDS
    }
    return [
        f"peak of this processor {result['peak_gflops']:.0f} GFLOP/s; medians of {result['rounds']} interleaved rounds",
        f"the dense layers took {min(ratios):.2f} to {max(ratios):.2f} times as long as those that they stand beside",
        f"a depthwise layer of {row['channels']} channels on {side}x{side} (the network has {row['layers']}) takes as "
        f"long as a dense 3x3 layer of {mine['dense']['channels']},",
        f"which does {mine['flops_ratio']:.1f} times the multiplications; all depthwise layers together "
        f"{total['depthwise']:.1f} times, with their pointwise ones {total['separable']:.1f} times",
    ]


def _name(row, kind):
    """Write which layer it is."""
    channels = f"{row['channels']}->{row['out_channels']}" if kind == "separable" else f"{row['channels']}"
    stride = f", stride {row['stride']}" if row["stride"] > 1 else ""
    return f"{channels}, {row['size']}x{row['size']}{stride}"


def _cells(counts, timed):
    """Write what a layer does, and in which time."""
    times = [number(counts["milliseconds"], 3), number(counts["gflops"], 0)] if timed else []
    return [f"{counts['flops'] / 1e6:.2f}", *times, f"{counts['bytes'] / counts['flops']:.2f}"]
