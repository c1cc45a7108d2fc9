"""The figures of a benchmark: bars of ratios, a roofline of layers, straight lines where time grows like a power."""

import numpy as np
from matplotlib.ticker import LogLocator

from repvgg_np.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, figure

COLOURS = {
    "PyTorch": BLUE,
    "torch.compile": PURPLE,
    "ONNX Runtime": GREEN,
    "OpenVINO": ORANGE,
    "repvgg_np, three branches": GREY,
    "repvgg_np, unfused": GREY,
}
MARKERS = {"PyTorch": "s", "torch.compile": "D", "ONNX Runtime": "^", "OpenVINO": "v"}

LABELS = {
    "batch": "pictures in a batch",
    "size": "height and width of the picture",
    "width": "channels in and out, one 3x3 layer",
    "threads": "threads",
}


def _colour(name):
    """Return a contestant's colour; ours stands out."""
    return COLOURS.get(name, VERMILION)


def _plain_numbers(*axes):
    """Write the numbers of logarithmic axes as 1, 2, 5, 10 instead of powers of ten."""
    for axis in axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_minor_formatter("{x:g}")


def ratio_figure(path, runs, title):
    """Draw how many times as long everybody takes as ours: a group of bars for each run.

    Parameters
    ----------
    path : str or os.PathLike
    runs : list of dict
        From `bench_inference` or `bench_training`.
    title : str
    """
    names = list(dict.fromkeys(name for run in runs for name in run["contestants"]))
    with figure(path, max(6, 2 + 0.4 * len(runs) * len(names)), 4.2) as canvas:
        axes = canvas.subplots()
        draw_ratios(axes, runs, names)
        canvas.suptitle(title)


def draw_ratios(axes, runs, names):
    """Draw the bars of `ratio_figure`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    runs : list of dict
    names : list of str
        Of the contestants, in the order of the bars.
    """
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        places = [k for k, run in enumerate(runs) if name in run["contestants"]]
        rows = [runs[k]["contestants"][name] for k in places]
        base = [_ours(runs[k])["median"] for k in places]
        ratios = np.array([row["ratio"] for row in rows])
        ends = np.array([row["quartiles"] for row in rows]).T / base
        whiskers = np.maximum(0, [ratios - ends[0], ends[1] - ratios])
        at = np.array(places) + (i - (len(names) - 1) / 2) * width
        axes.bar(
            at, ratios, width, yerr=whiskers, color=_colour(name), label=name, capsize=2, error_kw={"linewidth": 1}
        )
        for x, ratio, above in zip(at, ratios, whiskers[1], strict=True):
            place = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            axes.annotate(f"{ratio:.2f}", (x, ratio + above), **place)
    axes.axhline(1, color="black", linewidth=0.8)
    labels = [f"{run['model']}\nbatch {run['batch']}" for run in runs]
    axes.set_xticks(range(len(runs)), labels)
    axes.set(ylabel="time divided by ours (higher: slower than ours)")
    axes.margins(y=0.15)
    axes.grid(False, axis="x")
    axes.legend(ncols=2, fontsize=8)


def _ours(run):
    """Return the row with which all are compared, the first."""
    return next(iter(run["contestants"].values()))


def roofline_figure(path, runs, bandwidth, title):
    """Draw the layers of one or several runs of `bench_layers` under the roof of the processor.

    Parameters
    ----------
    path : str or os.PathLike
    runs : list of dict
        From `bench_layers`.
    bandwidth : float
        Of the memory, in bytes a second.
    title : str
    """
    with figure(path, 8, 5) as canvas:
        draw_roofline(canvas.subplots(), [layer for run in runs for layer in run["layers"]], bandwidth)
        canvas.suptitle(title)


def draw_roofline(axes, layers, bandwidth):
    """Draw the roofline: effective GFLOP/s by FLOPs for each byte of input, kernel and output.

    A layer may lie above the roof: left of the ridge if its data stay in a cache from one call to the next, right of it
    if Winograd's algorithm spares it multiplications.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    layers : list of dict
    bandwidth : float
    """
    intensity = np.array([layer["flops"] / layer["bytes"] for layer in layers])
    peak = layers[0]["peak_gflops"]  # the same for all
    ridge = 1e9 * peak / bandwidth
    ends = np.array([min(intensity.min(), ridge) / 2, max(intensity.max(), ridge) * 2])
    axes.plot([ends[0], ridge, ends[1]], [ends[0] * bandwidth / 1e9, peak, peak], color="black", linewidth=1)
    above = {"xytext": (0, 4), "textcoords": "offset points", "fontsize": 8}
    axes.annotate(f"FMA peak, {peak:.0f} GFLOP/s", (ends[1], peak), ha="right", **above)
    slope_at = np.sqrt(ends[0] * ridge)
    axes.annotate(f"memory, {bandwidth / 1e9:.0f} GB/s", (slope_at, slope_at * bandwidth / 1e9), ha="right", **above)
    for name in dict.fromkeys(name for layer in layers for name in layer["contestants"]):
        points = [
            (x, layer["contestants"][name]["gflops"])
            for x, layer in zip(intensity, layers, strict=True)
            if name in layer["contestants"]
        ]
        style = {"color": _colour(name), "marker": MARKERS.get(name, "o"), "linestyle": "none", "markersize": 5}
        axes.plot(*np.array(points).T, label=name, alpha=0.8, **style)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte of input, kernel and output")
    _plain_numbers(axes.xaxis, axes.yaxis)
    axes.set_ylabel("direct algorithm's FLOPs / time (GFLOP/s)")
    axes.legend(fontsize=8)


def gemm_figure(path, run, title):
    """Draw the share of the peak that the micro-kernel reaches, by the depth.

    Parameters
    ----------
    path : str or os.PathLike
    run : dict
        From `bench_gemm`.
    title : str
    """
    with figure(path, 6, 4) as canvas:
        axes = canvas.subplots()
        depths = [row["depth"] for row in run["depths"]]
        axes.plot(depths, [row["percent_of_peak"] for row in run["depths"]], color=VERMILION, marker="o")
        axes.axhline(100, color="black", linewidth=0.8)
        axes.set(xlabel="depth K", ylabel=f"percent of the FMA peak ({run['peak_gflops']:.0f} GFLOP/s)", ylim=(0, 110))
        canvas.suptitle(title)


def memory_figure(path, runs, title):
    """Draw the memory of each contestant, as bars.

    Parameters
    ----------
    path : str or os.PathLike
    runs : list of dict
        From `bench_memory`.
    title : str
    """
    groups = [(run, task) for run in runs for task in ("inference", "training") if task in run]
    names = list(dict.fromkeys(name for run, task in groups for name in run[task]))
    with figure(path, max(6, 2 + 0.5 * len(groups) * len(names)), 4.2) as canvas:
        axes, width = canvas.subplots(), 0.8 / len(names)
        for i, name in enumerate(names):
            places = [k for k, (run, task) in enumerate(groups) if name in run[task]]
            sizes = [groups[k][0][groups[k][1]][name]["bytes"] / 2**20 for k in places]
            bars = axes.bar(np.array(places) + (i - (len(names) - 1) / 2) * width, sizes, width, color=_colour(name))
            bars.set_label(name)
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        labels = [f"{run['model']}\n{task}, batch {run['batch']}" for run, task in groups]
        axes.set_xticks(range(len(groups)), labels)
        axes.set(ylabel="memory beyond numbers and batch (MiB)")
        axes.grid(False, axis="x")
        axes.legend(fontsize=8)
        canvas.suptitle(title)


def scaling_figure(path, run, title):
    """Draw how the time grows along each axis, both axes logarithmic, with the fitted slopes.

    Parameters
    ----------
    path : str or os.PathLike
    run : dict
        From `bench_scaling`.
    title : str
    """
    with figure(path, 4 * len(run["axes"]), 4.2) as canvas:
        grid = canvas.subplots(1, len(run["axes"]), squeeze=False)[0]
        for axes, (axis, result) in zip(grid, run["axes"].items(), strict=True):
            draw_scaling(axes, axis, result)
        canvas.suptitle(title)


def draw_scaling(axes, axis, result):
    """Draw one axis of `scaling_figure`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    axis : str
    result : dict
        "points" and "slopes".
    """
    points = result["points"]
    for name in dict.fromkeys(name for point in points for name in point["contestants"]):
        mine = [(p["value"], p["contestants"][name]) for p in points if name in p["contestants"]]
        values, medians = [value for value, _ in mine], np.array([1e3 * row["median"] for _, row in mine])
        ends = 1e3 * np.array([row["quartiles"] for _, row in mine]).T
        slope = f", slope {result['slopes'][name]:.2f}" if name in result["slopes"] else ""
        style = {"color": _colour(name), "marker": MARKERS.get(name, "o"), "markersize": 4, "capsize": 2}
        whiskers = np.maximum(0, [medians - ends[0], ends[1] - medians])
        axes.errorbar(values, medians, whiskers, label=name + slope, **style)
    axes.set(xscale="log", yscale="log", xlabel=LABELS[axis], ylabel="time (ms)")
    _plain_numbers(axes.yaxis)
    axes.set_xticks([point["value"] for point in points], [str(point["value"]) for point in points], minor=False)
    axes.xaxis.minorticks_off()
    axes.legend(fontsize=8)
