"""The figure of an ablation: every seed's accuracy beside the paper's, and the speed before and after fusion."""

import numpy as np

from repvgg_np.plots import BLUE, GREY, VERMILION, figure


def draw_accuracies(here, paper, rows, name="row"):
    """Draw a line for each row: the seeds as dots, their mean and standard deviation; and what the paper prints.

    Parameters
    ----------
    here, paper : matplotlib.axes.Axes
        Side by side, with one y axis.
    rows : list of dict
        From `training.summarise`, or the rows of `ablations.ablation`. They are drawn in the order of `by_paper`.
    name : str
        The key of what stands at the axis.
    """
    rows = by_paper(rows)
    for place, row in enumerate(rows):
        values = 100 * np.array(row["accuracies"])
        here.plot(values, np.full(len(values), place + 0.12), "o", color=VERMILION, markersize=5)
        if len(values):
            spread = values.std(ddof=1) if len(values) > 1 else None
            style = {"color": "black", "linewidth": 1, "markersize": 9, "capsize": 2}
            here.errorbar(values.mean(), place - 0.15, xerr=spread, fmt="|", **style)
        if row["paper_top_1"] is not None:
            paper.plot(row["paper_top_1"], place, "s", color=BLUE, markersize=5)
    here.set_yticks(range(len(rows)), [row[name] for row in rows])
    here.set_ylim(-0.6, len(rows) - 0.4)
    here.set(xlabel="test pictures correct (%)", title="Here: seeds, mean, deviation")
    paper.set(xlabel="ImageNet top-1 (%)", title="The paper")
    for axes in (here, paper):
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)


def accuracy_figure(path, rows, title):
    """Write the figure of accuracies alone.

    Parameters
    ----------
    path : str or os.PathLike
    rows : list of dict
        From `training.summarise`.
    title : str
    """
    with figure(path, 8, 1.6 + 0.35 * len(rows)) as canvas:
        draw_accuracies(*canvas.subplots(1, 2, sharey=True), rows)
        canvas.suptitle(title)


def ablation_figure(path, result, title):
    """Write the figure of table 6 or 7: accuracies, and the speed of each row before and after fusion if it was timed.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `ablations.ablation`.
    title : str
        Of the machine.
    """
    rows, timed = result["rows"], "slowdown" in result
    with figure(path, 12 if timed else 8, 1.9 + 0.4 * len(rows)) as canvas:
        here, paper, *speeds = canvas.subplots(1, 3 if timed else 2, sharey=True)
        draw_accuracies(here, paper, rows, "text")
        here.set_title(result["source"], fontsize=10)
        paper.set_title("The paper: RepVGG-B0", fontsize=10)
        for axes in speeds:
            draw_speeds(axes, by_paper(rows))
            axes.set_title(f"{result['model']}, batch {result['batch']}", fontsize=10)
        canvas.suptitle(title if timed else f"Table {result['table']}")


def draw_speeds(axes, rows):
    """Draw the speed of each row before and after fusion, as horizontal bars.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    rows : list of dict
        From `ablations.ablation`, timed.
    """
    places = np.arange(len(rows))
    for offset, colour, label, key in (
        (0.2, GREY, "training form", "images_per_second"),
        (-0.2, VERMILION, "fused", "fused_images_per_second"),
    ):
        speeds = [row[key] or 0 for row in rows]  # no bar where a row does not fold
        axes.barh(places + offset, speeds, 0.36, color=colour, label=label)
    axes.set_xlabel("images/s")
    axes.grid(False, axis="y")
    axes.figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower right", ncols=2)


def by_paper(rows):
    """Return rows by the paper's accuracy, the lowest first; those that the paper does not have before them."""
    return sorted(rows, key=lambda row: row["paper_top_1"] or 0)
