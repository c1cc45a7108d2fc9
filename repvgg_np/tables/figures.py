"""The figures of the tables."""

import numpy as np

from repvgg_np.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, figure

COLOURS = {
    "RepVGG": VERMILION,
    "ResNet": BLUE,
    "ResNeXt": PURPLE,
    "VGG": GREY,
    "RegNetX": GREEN,
    "EfficientNet": ORANGE,
}
MARKERS = {"RepVGG": "o", "ResNet": "s", "ResNeXt": "D", "VGG": "X", "RegNetX": "^", "EfficientNet": "v"}


def networks_figure(path, result, title):
    """Draw speed against published accuracy (the paper's figure 1) and against FLOPs; without accuracy, only FLOPs.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `published_networks` or `all_networks`, timed.
    title : str
    """
    published = "paper_top_1" in result["rows"][0]
    with figure(path, 13 if published else 8, 5.4) as canvas:
        panels = canvas.subplots(1, 2 if published else 1, squeeze=False)[0]
        if published:
            draw_networks(
                panels[0], result["rows"], lambda row: row["images_per_second"], lambda row: row["paper_top_1"]
            )
            panels[0].set(xscale="log", xlabel="speed here (images/s)", ylabel="published top-1 accuracy (%)")
            panels[0].set_title("Accuracy and speed")
            panels[0].legend(loc="lower left", fontsize=8)
        draw_networks(panels[-1], result["rows"], lambda row: row["flops"] / 1e9, lambda row: row["images_per_second"])
        panels[-1].set(xscale="log", yscale="log", xlabel="FLOPs (thousand million multiply-adds)")
        panels[-1].set(ylabel="speed here (images/s)", title="FLOPs are not speed")
        _equal_speed(panels[-1], result["rows"])
        for axis in [panels[-1].xaxis, panels[-1].yaxis, panels[0].xaxis]:
            axis.set_major_formatter("{x:g}")
        canvas.suptitle(title)


def draw_networks(axes, rows, x, y):
    """Draw each network as a point with its name, a colour for each family.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    rows : list of dict
    x, y : callable
        Return the coordinates of a row.
    """
    families = dict.fromkeys(_family(row) for row in rows)
    for family in families:
        mine = [row for row in rows if _family(row) == family]
        style = {"color": COLOURS.get(family, "black"), "marker": MARKERS.get(family, "P"), "linestyle": "none"}
        axes.plot([x(row) for row in mine], [y(row) for row in mine], label=family, markersize=5, **style)
    for row in rows:
        name = row["text"].removeprefix("RepVGG-")
        place = {"xytext": (5, 3), "textcoords": "offset points", "fontsize": 7}
        axes.annotate(name, (x(row), y(row)), color=COLOURS.get(_family(row), "black"), **place)
    axes.margins(0.12)


def _equal_speed(axes, rows):
    """Draw the line on which all networks would lie if FLOPs were speed: through the median of FLOPs a second."""
    flops = np.array([row["flops"] / 1e9 for row in rows])
    rate = np.median([row["flops"] / 1e9 * row["images_per_second"] for row in rows])
    ends = np.array([flops.min(), flops.max()])
    axes.plot(ends, rate / ends, color="black", linewidth=0.8, linestyle="--", label="if FLOPs were speed")
    axes.legend(handles=axes.get_lines()[-1:], loc="upper right", fontsize=8)


def _family(row):
    """Return what comes before a network's number."""
    return row["text"].split("-")[0]


def kernels_figure(path, result, title):
    """Draw the speed of each kernel size, here and in the paper, as a multiple of the 1x1 kernel's.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `kernel_sizes`, timed.
    title : str
    """
    rows = [row for row in result["rows"] if row["paper"]]
    with figure(path, 6.5, 4.2) as canvas:
        axes, places = canvas.subplots(), np.arange(len(rows))
        for offset, colour, label, speeds in (
            (-0.2, VERMILION, "here", [row["gflops"] for row in rows]),
            (0.2, GREY, "paper, on a GPU", [row["paper"]["tflops"] for row in rows]),
        ):
            bars = axes.bar(places + offset, np.array(speeds) / speeds[0], 0.38, color=colour, label=label)
            axes.bar_label(bars, fmt="%.2f", fontsize=8)
        axes.set_xticks(places, [row["text"] for row in rows])
        axes.set(ylabel="FLOP/s, divided by the 1x1 kernel's", title="3x3 kernels compute at the highest density")
        axes.grid(False, axis="x")
        axes.legend(fontsize=8)
        canvas.suptitle(title)


def ablation_figure(path, result, title):
    """Draw the speed of each row before and after fusion.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `ablation`, timed.
    title : str
    """
    rows = result["rows"]
    with figure(path, 2 + 1.1 * len(rows), 4.4) as canvas:
        axes, places = canvas.subplots(), np.arange(len(rows))
        for offset, colour, label, key in (
            (-0.2, GREY, "training form", "images_per_second"),
            (0.2, VERMILION, "fused", "fused_images_per_second"),
        ):
            speeds = [row[key] or 0 for row in rows]  # no bar where a row does not fold
            axes.bar(places + offset, speeds, 0.38, color=colour, label=label)
        axes.set_xticks(places, [row["text"].replace(" ", "\n", 1) for row in rows], fontsize=8)
        axes.set(ylabel="images/s", title=f"{result['model']}, batch {result['batch']}")
        axes.grid(False, axis="x")
        axes.legend(fontsize=8)
        canvas.suptitle(title)


def memory_figure(path, result, title):
    """Draw the paper's figure 3, a plain and a residual block step by step; and all blocks, computed and measured.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `block_memory`.
    title : str
    """
    rows = result["rows"]
    with figure(path, 13, 4.8) as canvas:
        plain, residual, blocks = canvas.subplots(1, 3, width_ratios=[1, 1.2, 2.4])
        for axes, row in ((plain, rows[0]), (residual, rows[1])):
            draw_steps(axes, row["steps"])
            axes.set(title=row["text"].split(" (")[0], ylim=(0, 3.3))
        plain.set_ylabel("memory, divided by the input's")
        plain.legend(fontsize=8, loc="upper left")
        places = np.arange(len(rows))
        for offset, colour, label, key in (
            (-0.27, BLUE, "held, computed", "held"),
            (0, ORANGE, "alive, computed", "alive"),
            (0.27, GREY, "alive, measured", "measured"),
        ):
            bars = blocks.bar(
                places + offset, [row[key] / row["input"] for row in rows], 0.25, color=colour, label=label
            )
            blocks.bar_label(bars, fmt="%.1f", fontsize=7)
        blocks.set_xticks(places, [row["text"].split(" (")[0].replace(", ", ",\n") for row in rows], fontsize=8)
        blocks.set_title("most at once")
        blocks.grid(False, axis="x")
        blocks.legend(fontsize=8)
        canvas.suptitle(title)


def draw_steps(axes, steps):
    """Draw what is held after each operation, and what is alive during it.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    steps : list of dict
        "name", "held" and "alive", divided by the input.
    """
    places = np.arange(len(steps))
    bars = axes.bar(places, [step["held"] for step in steps], 0.6, color=BLUE, label="held after it")
    axes.bar_label(bars, fmt="%gx", fontsize=8, label_type="center", color="white")
    line = {"color": ORANGE, "marker": "_", "markersize": 22, "markeredgewidth": 2, "linestyle": "none"}
    axes.plot(places[1:], [step["alive"] for step in steps[1:]], label="alive during it", **line)
    names = {"Conv2d": "3x3"}
    axes.set_xticks(places, [names.get(step["name"], step["name"]) for step in steps])
    axes.grid(False, axis="x")


def ensemble_figure(path, result, title):
    """Draw the accuracy against the number of deleted branches and blocks, and how long the paths are.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `deletions`.
    title : str
    """
    with figure(path, 14, 4.4) as canvas:
        panels = dict(zip(("branches", "blocks", "lengths"), canvas.subplots(1, 3), strict=True))
        for (name, row), colour in zip(result["networks"].items(), _colours(), strict=False):
            for kind in ("branches", "blocks"):
                draw_deletions(panels[kind], row[kind] or [], name, colour)
            ways = np.array([float(count) for count in row["lengths"]])
            shown = np.flatnonzero(ways)
            panels["lengths"].plot(
                shown, 100 * ways[shown] / ways.sum(), marker="o", color=colour, label=name, markersize=4
            )
        for kind in ("branches", "blocks"):
            panels[kind].set(xlabel=f"deleted {kind}", ylabel="accuracy (%)", title=f"Without {kind}")
            panels[kind].set_ylim(0, 100)
        panels["lengths"].set(xlabel="convolutions on the path", ylabel="paths (%)", title="How long the paths are")
        panels["lengths"].legend(fontsize=8)
        for axes in panels.values():
            axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.suptitle(title)


def _colours():
    """Return the colours of networks, one after the other, again and again."""
    return (VERMILION, BLUE, GREEN, PURPLE, ORANGE, GREY) * 9


def draw_deletions(axes, curves, name, colour):
    """Draw the mean of all draws, and between their lowest and highest a shade.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    curves : list of list of float
    name, colour : str
    """
    if not curves:
        return
    table = 100 * np.array([curve[: min(map(len, curves))] for curve in curves])
    places = np.arange(table.shape[1])
    axes.fill_between(places, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, table.mean(axis=0), marker="o", markersize=4, color=colour, label=name)
