"""The figure of networks: speed against published accuracy, and FLOPs against speed."""

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
    axes.margins(0.12)
    logarithms = np.log([[x(row) for row in rows], [y(row) for row in rows]]).T
    names = [row["text"].removeprefix("RepVGG-") for row in rows]
    for row, name, corner in zip(rows, names, label_corners(logarithms, names), strict=True):
        right, up = corner
        place = {"xytext": (5 if right else -5, 3 if up else -3), "textcoords": "offset points", "fontsize": 7}
        place |= {"ha": "left" if right else "right", "va": "bottom" if up else "top"}
        axes.annotate(name, (x(row), y(row)), color=COLOURS.get(_family(row), "black"), **place)


def label_corners(points, names, room=(400, 300)):
    """Choose at which corner of each point its name stands, so that names and points overlap little.

    Parameters
    ----------
    points : ndarray (N, 2)
        In any units.
    names : sequence of str
    room : pair of float
        Width and height that the points take, in points of 1/72 inch.

    Returns
    -------
    list of (bool, bool)
        Whether to the right, and whether above. Names are placed one after the other, each where it overlaps least;
        where nothing does, to the right and above.
    """
    spread = np.ptp(points, axis=0)
    places = (points - points.min(axis=0)) / np.where(spread == 0, 1, spread) * room
    boxes = [(px - 3, py - 3, px + 3, py + 3) for px, py in places]
    corners = []
    for (px, py), name in zip(places, names, strict=True):
        choices = {}
        for corner in ((True, True), (False, True), (True, False), (False, False)):
            left = px + 5 if corner[0] else px - 5 - 4 * len(name)
            low = py + 3 if corner[1] else py - 11
            choices[corner] = (left, low, left + 4 * len(name), low + 8)
        chosen = min(choices, key=lambda corner: sum(_common_area(choices[corner], box) for box in boxes))
        boxes.append(choices[chosen])
        corners.append(chosen)
    return corners


def _common_area(one, other):
    """Return the area that two boxes (left, low, right, high) share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


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
