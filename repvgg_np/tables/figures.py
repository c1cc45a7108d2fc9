"""The figures of the other tables: kernels, depthwise layers, memory, deleted branches."""

import numpy as np

from repvgg_np.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, figure


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


def depthwise_figure(path, result, title):
    """Draw the multiplications of each layer, and those of the dense layer that takes the same time.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `equal_time`, timed.
    title : str
    """
    rows = result["rows"]
    places = np.arange(len(rows))
    names = [f"{row['channels']}{', /2' if row['stride'] > 1 else ''}\n{row['size']}x{row['size']}" for row in rows]
    with figure(path, 12, 4.4) as canvas:
        panels = canvas.subplots(1, 2, sharey=True)
        for axes, kind, name in zip(panels, ("depthwise", "separable"), ("depthwise", "with pointwise"), strict=True):
            mine = [row[kind]["flops"] / 1e6 for row in rows]
            dense = [row[kind]["dense"]["flops"] / 1e6 for row in rows]
            axes.vlines(places, mine, dense, color=GREY, linewidth=1)
            axes.plot(places, mine, "o", color=PURPLE, label=name)
            axes.plot(places, dense, "s", color=VERMILION, label="dense 3x3 that takes the same time")
            for place, row, high in zip(places, rows, np.maximum(mine, dense), strict=True):
                label = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 8}
                axes.annotate(f"{row[kind]['flops_ratio']:.1f}x", (place, high), **label)
            axes.set_xticks(places, names, fontsize=8)
            axes.set(yscale="log", title=f"MobileNet's layers, {name}", xlabel="channels (/2: stride 2), picture")
            axes.margins(y=0.2)
            axes.legend(fontsize=8, loc="lower left")
        panels[0].set_ylabel("multiply-adds (millions)")
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
