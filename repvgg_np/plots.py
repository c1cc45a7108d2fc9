"""Every figure, in one style: colours that the colour-blind can tell apart, axes with labels and units."""

import contextlib
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from repvgg_np.atomic import atomic_write
from repvgg_np.fuse import fuse_branches, pad_1x1_to_3x3

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#6E6E6E"
STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, GREY]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "repvgg_np",
}


def use_style():
    """Draw all figures of this process in the project's style: the first line of every notebook."""
    matplotlib.rcParams.update(STYLE)
    matplotlib.rcParams.update({"figure.figsize": (8, 3), "figure.dpi": 100, "figure.constrained_layout.use": True})


@contextlib.contextmanager
def figure(path, width, height):
    """Yield an empty figure in the project's style; write it to `path` as PNG at the end.

    Parameters
    ----------
    path : str or os.PathLike
    width, height : float
        In inches.

    Yields
    ------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(width, height), layout="constrained")
        yield canvas
        with atomic_write(Path(path)) as file:
            canvas.savefig(file, format="png", dpi=130)


def draw_learning_curve(axes, history, judged="test"):
    """Draw accuracy by epoch, of the training and of the test pictures.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    history : list of dict
        With "epoch", "train_accuracy" and "test_accuracy" (0 to 1, or None after an epoch without an evaluation).
    judged : str
        What the pictures are called that the network was evaluated with.
    """
    for key, colour, label, marker in (("train_accuracy", GREY, "training", "o"), ("test_accuracy", BLUE, judged, "s")):
        epochs, values = _known(history, key)
        axes.plot(epochs, 100 * values, color=colour, marker=marker, markersize=4, label=label)
    for epoch, value in zip(epochs[-1:], 100 * values[-1:], strict=True):  # the last test accuracy, if there is one yet
        place = {"xytext": (0, 7), "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{value:.1f} %", (epoch, value), color=BLUE, **place)
    axes.margins(y=0.12)
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title="Learning curve")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")


def _known(history, key):
    """Return the epochs in which a column of the history has a number, and these numbers."""
    known = [(int(row["epoch"]), float(row[key])) for row in history if row[key] is not None]
    return [epoch for epoch, _ in known], np.array([number for _, number in known])


def learning_curve(path, history, title, judged="test"):
    """Write the figure of a training run: loss and accuracy by epoch.

    Parameters
    ----------
    path : str or os.PathLike
    history : list of dict
        One for each epoch, as in the history file.
    title : str
    judged : str
        What the pictures are called that the network was evaluated with.
    """
    with figure(path, 9, 3.6) as canvas:
        loss, accuracy = canvas.subplots(1, 2)
        for key, colour, label, marker in (("train_loss", GREY, "training", "o"), ("test_loss", BLUE, judged, "s")):
            loss.plot(*_known(history, key), color=colour, marker=marker, markersize=4, label=label)
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
        loss.xaxis.get_major_locator().set_params(integer=True)
        loss.legend()
        draw_learning_curve(accuracy, history, judged)
        canvas.suptitle(title)


def confusion_matrix(path, confusion, classes, title):
    """Write the figure of how often pictures of each class were predicted to be of each other.

    Parameters
    ----------
    path : str or os.PathLike
    confusion : ndarray (K, K)
        Row t, column p: how many pictures of class t were predicted to be of class p.
    classes : sequence of str
    title : str
    """
    count = len(classes)
    pictures = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, pictures, out=np.zeros(confusion.shape), where=pictures > 0)
    wrong = shares - np.diag(shares.diagonal())
    side = min(3 + 0.5 * count, 24)
    with figure(path, side, side) as canvas:
        axes = canvas.subplots()
        # The colours are for the mistakes: on one scale with the diagonal, they would all be white.
        axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=wrong.max() or 1)
        if count <= 20:
            for (i, j), number in np.ndenumerate(confusion):
                dark = wrong[i, j] > 0.6 * wrong.max() > 0
                bold = "bold" if i == j else "normal"
                axes.text(j, i, f"{number}", ha="center", va="center", fontsize=8, fontweight=bold,
                          color="white" if dark else "black")  # fmt: skip
        axes.set(xticks=range(count), yticks=range(count), xlabel="predicted class", ylabel="class", title=title)
        axes.set_xticklabels(classes, rotation=45, ha="right")
        axes.set_yticklabels(classes)
        axes.grid(False)


def draw_numbers(axes, numbers, title="", limit=None, colour="black"):
    """Draw a small table of numbers, each on a colour: positive purple, negative orange.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    numbers : ndarray (rows, columns)
        Floats, integers, or exact fractions.
    title : str
    limit : float, optional
        The absolute value at which the colours are full; without it, the largest.
    colour : str
        Of the title.
    """
    values = np.asarray(numbers).astype(float)
    limit = limit or np.abs(values).max() or 1
    axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit)
    exact = np.asarray(numbers).dtype.kind != "f"
    for (i, j), value in np.ndenumerate(numbers):
        text = "0" if value == 0 else str(value) if exact else f"{value:+.2f}"
        ink = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
    axes.set_title(title, color=colour, fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(True)


def draw_equation(canvas, terms, signs, limit=None):
    """Draw tables of numbers in a row with signs between, as in "input * kernel = output". All squares are of one size.

    Parameters
    ----------
    canvas : matplotlib.figure.Figure
        Empty; it keeps nothing but the equation.
    terms : list of (str, ndarray (rows, columns), str)
        Title, numbers and the colour of the title. A row or a column of numbers is a table too.
    signs : str
        One character for each gap between two terms.
    limit : float, optional
        As for `draw_numbers`.
    """
    canvas.set_layout_engine("none")
    gap, heading = 0.5, 0.3  # inches
    width, height = canvas.get_size_inches()
    columns, rows = sum(numbers.shape[1] for _, numbers, _ in terms), max(len(numbers) for _, numbers, _ in terms)
    square = min((width - gap * len(signs)) / columns, (height - heading) / rows)
    left, middle = (width - gap * len(signs) - square * columns) / 2, (height - heading) / 2
    for (title, numbers, colour), sign in zip(terms, (*signs, ""), strict=True):
        wide, high = square * numbers.shape[1], square * len(numbers)
        place = (left / width, (middle - high / 2) / height, wide / width, high / height)
        draw_numbers(canvas.add_axes(place), numbers, title, limit, colour)
        left += wide + gap
        canvas.text((left - gap / 2) / width, middle / height, sign, ha="center", va="center", fontsize=15)


def draw_fusion(canvas, branches, pairs):
    """Draw the branches of a block, each as a 3x3 kernel, and their sum, for some pairs of channels.

    Parameters
    ----------
    canvas : matplotlib.figure.SubFigure
    branches : list of (kernel, bias)
        As folded with their batch norms: of the 3x3, the 1x1 and (where there is one) the identity branch.
    pairs : list of (int, int)
        Output and input channel, one row of the figure each.
    """
    names = ["3x3 branch", "1x1 branch", "identity branch"][: len(branches)]
    kernels = [kernel if kernel.shape[2:] == (3, 3) else pad_1x1_to_3x3(kernel) for kernel, _ in branches]
    fused, _ = fuse_branches(branches)
    columns = [*zip(names, kernels, (BLUE, GREEN, PURPLE), strict=False), ("fused kernel", fused, VERMILION)]
    grid = canvas.subplots(len(pairs), len(columns))
    for row, (c_out, c_in) in zip(np.atleast_2d(grid), pairs, strict=True):
        limit = max(np.abs(kernel[c_out, c_in]).max() for _, kernel, _ in columns) or 1
        for i, (axes, (name, kernel, colour)) in enumerate(zip(row, columns, strict=True)):
            draw_numbers(axes, kernel[c_out, c_in], name, limit, colour)
            sign = "=" if i == len(columns) - 2 else "+" if i < len(columns) - 2 else ""
            axes.text(1.12, 0.5, sign, transform=axes.transAxes, ha="center", va="center", fontsize=16)
        row[0].set_ylabel(f"output {c_out}\ninput {c_in}", fontsize=9)


def draw_times(axes, times):
    """Draw how long one picture takes, as bars of medians with the middle half of the measurements as whiskers.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    times : dict of str to list of float
        Milliseconds for each picture, of every repetition.
    """
    names = list(times)
    medians = [np.median(values) for values in times.values()]
    low = [m - np.quantile(v, 0.25) for m, v in zip(medians, times.values(), strict=True)]
    high = [np.quantile(v, 0.75) - m for m, v in zip(medians, times.values(), strict=True)]
    axes.bar(names, medians, yerr=[low, high], color=[GREY, VERMILION, BLUE, GREEN][: len(names)], width=0.6, capsize=4)
    for i, (median, above) in enumerate(zip(medians, high, strict=True)):
        place = (i, median + above)
        axes.annotate(f"{median:.3g} ms", place, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.set(ylabel="time for one picture (ms)", title="Before and after")
    axes.set_ylim(0, 1.25 * max(m + h for m, h in zip(medians, high, strict=True)))
    axes.grid(False, axis="x")


def demo_figure(path, history, block_name, branches, times, title):
    """Write the figure of the demo: what was learned, how three branches became one, what it gained.

    Parameters
    ----------
    path : str or os.PathLike
    history : list of dict
    block_name : str
    branches : list of (kernel, bias)
        Of that block.
    times : dict of str to list of float
    title : str
    """
    fused, _ = fuse_branches(branches)
    # Two pairs with much to see: on the diagonal, where the identity is, and off it, where it adds nothing.
    peaks = np.abs(fused).max(axis=(2, 3))
    rows = np.arange(len(peaks))
    inside = np.minimum(rows % peaks.shape[1], peaks.shape[1] - 1)
    diagonal = int(np.abs(branches[0][0][rows, inside]).max(axis=(1, 2)).argmax())
    off = peaks.copy()
    off[rows, inside] = -1
    pairs = [(diagonal, int(inside[diagonal])), tuple(int(i) for i in np.unravel_index(off.argmax(), off.shape))]
    with figure(path, 14, 4.4) as canvas:
        left, middle, right = canvas.subfigures(1, 3, width_ratios=[1, 1.7, 0.8])
        draw_learning_curve(left.subplots(), history)
        middle.suptitle(f"Three branches become one kernel ({block_name})", fontweight="bold", fontsize=11)
        draw_fusion(middle, branches, pairs)
        draw_times(right.subplots(), times)
        canvas.suptitle(title)
