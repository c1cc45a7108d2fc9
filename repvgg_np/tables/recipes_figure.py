"""The figures of the recipes: accuracy against time, and what each choice is worth."""

import numpy as np

from repvgg_np.plots import BLUE, GREEN, GREY, VERMILION, figure


def recipes_figure(path, result, title):
    """Write the figure of accuracy against time: every seed of every recipe, and what PyTorch needed for the same.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `recipes`.
    title : str
        Of the machine.
    """
    with figure(path, 9, 4.8) as canvas:
        draw_recipes(canvas.subplots(), result["rows"])
        canvas.suptitle(title, fontsize=10)


def draw_recipes(axes, rows):
    """Draw each seed of the rows of `recipes` as a dot, hollow if on another machine: minutes right, accuracy upwards.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    rows : list of dict
        From `recipes`.
    """
    kinds = {
        "presets": (VERMILION, "o", lambda row: row["purpose"] is not None),
        "other networks, recipe best": (GREEN, "s", lambda row: row["library"] == "repvgg_np"),
        "PyTorch": (BLUE, "^", lambda row: True),
    }
    seen = set()
    for row in rows:
        if None in row["epoch_seconds"]:
            continue
        kind, (colour, marker, _) = next(item for item in kinds.items() if item[1][2](row))
        minutes, values = np.array(row["epoch_seconds"]) / 60, 100 * np.array(row["accuracies"])
        style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 6, "alpha": 0.8}
        elsewhere = np.array([machine is not None for machine in row["machines"]])
        for own, fill, words in ((~elsewhere, "full", kind), (elsewhere, "none", f"{kind}, another machine")):
            if own.any():
                label = None if words in seen else words
                axes.plot(minutes[own], values[own], fillstyle=fill, label=label, **style)
                seen.add(words)
        place = {"xytext": (7, -3), "textcoords": "offset points", "fontsize": 8, "color": colour}
        if row["published"] is None:
            axes.annotate(row["recipe"], (minutes.max(), values.mean()), **place)
        else:  # other networks lie among each other, so each seed is named
            name = row["model"].removeprefix("RepVGG-").removesuffix("-CIFAR")
            for dot in zip(minutes, values, strict=True):
                axes.annotate(name, dot, **place)
    axes.set_xscale("log")
    ticks = (1, 2, 5, 10, 20, 30, 60)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.15, y=0.1)
    axes.set(
        xlabel="minutes for all epochs", ylabel="test pictures correct (%)", title="What a recipe reaches, and when"
    )
    axes.legend(fontsize=8, loc="lower right")


def choices_figure(path, result, title):
    """Write the figure of what each change of a recipe does.

    Parameters
    ----------
    path : str or os.PathLike
    result : dict
        From `choices`.
    title : str
        Of the machine.
    """
    with figure(path, 9, 1.6 + 0.32 * len(result["rows"])) as canvas:
        draw_choices(canvas.subplots(), result["rows"])
        canvas.suptitle(title, fontsize=10)


def draw_choices(axes, rows):
    """Draw the seeds of each row of `choices` as dots, as points above or below the recipe's mean.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    rows : list of dict
        From `choices`, the recipe first.
    """
    recipe = 100 * np.mean(rows[0]["accuracies"])
    for place, row in enumerate(reversed(rows)):
        values = 100 * np.array(row["accuracies"]) - recipe
        axes.plot(values, np.full(len(values), place), "o", color=VERMILION if row["clear"] else GREY, markersize=5)
        axes.plot(values.mean(), place, "|", color="black", markersize=12)
    axes.axvline(0, color=GREY, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), [row["change"] for row in reversed(rows)])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="held-out pictures correct, compared with the recipe's mean (points)")
    axes.set_title("The recipe with one change: each seed, and the mean")
