"""Tables 6 and 7: what each kind of block has in parameters, speed before and after fusion, and accuracy."""

from repvgg_np.analysis import spearman
from repvgg_np.analysis.published import FUSED_B0_IMAGES_PER_SECOND, NOTES, TABLE_6, TABLE_7
from repvgg_np.bench.networks import time_networks
from repvgg_np.blocks import find_variant
from repvgg_np.models import create_model, find_model
from repvgg_np.tables.text import Footnotes, columns, number, speed
from repvgg_np.training.ablation_results import read_results, summarise

TABLES = {"6": TABLE_6, "7": TABLE_7}


def ablation(table, model="RepVGG-B0", batch=8, size=None, rounds=5, measure=True, results=None):
    """Count and time the rows of table 6 or 7, in training form (run in inference mode, as in the paper) and fused.

    Parameters
    ----------
    table : {"6", "7"}
    model : str
        The network whose blocks are exchanged.
    batch, size, rounds, measure
        As for `networks.published_networks`.
    results : str or os.PathLike, optional
        The ``results.csv`` of `repvgg-np ablate`, for accuracies of one's own.

    Returns
    -------
    dict
        "table", "model" and "rows": for each "text", "variant", "training_parameters", "fused_parameters" (None where
        it does not fold), "paper_top_1", "paper_images_per_second", "note"; with results, "accuracy", "deviation" (both
        from 0 to 1) and "seeds", None where there are none; if they were timed, "images_per_second" and
        "fused_images_per_second". "spearman": with the paper, of "accuracy" and "images_per_second", where both have
        two rows or more.

    Raises
    ------
    ValueError
        If the network has no variants, a number is out of range, or the file holds no results.
    """
    name = find_model(model)
    means = {} if results is None else {row["row"]: row for row in summarise(read_results(results))["rows"]}
    rows, makers, titles, fused_of = [], {}, {}, {}
    for published in TABLES[table]:
        variant = published.variant
        training = create_model(name, seed=None, variant=variant)
        makers[published.text] = _maker(name, "training", variant)
        row = {"text": published.text, "variant": variant, "training_parameters": training.count_parameters()}
        row["fused_parameters"] = None
        if find_variant(variant).inference is not None:
            fused = create_model(name, seed=None, variant=variant, form="inference")
            row["fused_parameters"] = fused.count_parameters()
            shapes = tuple((key, parameter.peek().shape) for key, parameter in fused.named_parameters())
            title = titles.setdefault(shapes, f"{published.text}, fused")
            makers.setdefault(title, _maker(name, "inference", variant))
            fused_of[published.text] = title  # most rows become the same network, which is timed once
        row |= {"paper_top_1": published.top_1, "paper_images_per_second": published.images_per_second}
        row["note"] = NOTES.get(published.text)
        if results is not None:
            mine = means.get(variant, {})
            row |= {"accuracy": mine.get("test_accuracy"), "deviation": mine.get("deviation")}
            row["seeds"] = mine.get("seeds")
        rows.append(row)
    result = {"table": table, "model": name, "rows": rows}
    if measure:
        timed = time_networks(makers, batch, size, rounds, title=f"table {table}")
        for row in rows:
            row["images_per_second"] = timed["networks"][row["text"]]["images_per_second"]
            fused = fused_of.get(row["text"])
            row["fused_images_per_second"] = fused and timed["networks"][fused]["images_per_second"]
        result |= {key: timed[key] for key in ("batch", "rounds", "slowdown")}
    return result | {"spearman": _orders(rows)}


def _maker(name, form, variant):
    """Return what makes a network of one variant."""
    return lambda: create_model(name, seed=None, form=form, variant=variant)


def _orders(rows):
    """Correlate accuracy and speed with the paper's, over the rows that have both."""
    found = {}
    for mine, theirs in (("accuracy", "paper_top_1"), ("images_per_second", "paper_images_per_second")):
        pairs = [(row[mine], row[theirs]) for row in rows if row.get(mine) is not None and row[theirs] is not None]
        if len(pairs) > 1:
            found[mine] = spearman(*zip(*pairs, strict=True))
    return found


def text(result):
    """Write the result of `ablation`."""
    rows, notes = result["rows"], Footnotes()
    with_accuracy, timed = "accuracy" in rows[0], "images_per_second" in rows[0]
    with_speed = rows[0]["paper_images_per_second"] is not None
    head = ["blocks", "training params", "fused params"]
    head += ["images/s", "fused images/s"] if timed else []
    head += ["accuracy"] if with_accuracy else []
    head += ["paper: top-1"] + (["images/s"] if with_speed else [])
    lines = []
    for row in rows:
        mark = notes.mark(row["note"])
        cells = [row["text"] + (f" {mark}" if mark else "")]
        cells += [number(row["training_parameters"], 0), number(row["fused_parameters"], 0)]
        cells += [speed(row["images_per_second"]), speed(row["fused_images_per_second"])] if timed else []
        cells += [_accuracy(row)] if with_accuracy else []
        cells += [f"{row['paper_top_1']:.2f}"] + ([number(row["paper_images_per_second"], 0)] if with_speed else [])
        lines.append(cells)
    lines = columns(head, lines)
    if with_speed:
        lines.append(
            f"in the paper every row becomes the same network, of {FUSED_B0_IMAGES_PER_SECOND} images/s (table 4)"
        )
    if timed:
        lines.append(f"{result['model']}, batch {result['batch']}, medians of {result['rounds']} interleaved rounds")
    for key, name in (("accuracy", "accuracies"), ("images_per_second", "speeds")):
        if key in result["spearman"]:
            value = result["spearman"][key]
            lines.append(f"Spearman's rank correlation of the {name} with the paper's: {value:.2f}")
    return "\n".join([*lines, *notes.lines()])


def _accuracy(row):
    """Write a mean accuracy and its deviation."""
    if row["accuracy"] is None:
        return "-"
    return f"{row['accuracy']:.2%}" + ("" if row["deviation"] is None else f" +- {100 * row['deviation']:.2f}")
