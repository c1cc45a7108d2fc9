"""Tables 6 and 7: what each kind of block has in parameters, speed before and after fusion, and accuracy."""

from pathlib import Path

from repvgg_np.analysis import spearman
from repvgg_np.analysis.published import FUSED_B0_IMAGES_PER_SECOND, NOTES, TABLE_6, TABLE_7
from repvgg_np.bench.networks import time_networks
from repvgg_np.blocks import find_variant
from repvgg_np.models import create_model, find_model
from repvgg_np.tables.packaged_ablation import packaged_ablation
from repvgg_np.tables.text import Footnotes, columns, mean_and_deviation, number, speed
from repvgg_np.training import order_lines, read_results, summarise

TABLES = {"6": TABLE_6, "7": TABLE_7}
ORDER = ("spearman", "spearman_training", "pairs", "deviation", "reversed")  # of the accuracies: see `summarise`


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
        The ``results.csv`` of `repvgg-np ablate`, for accuracies of one's own; without it, those in the package.

    Returns
    -------
    dict
        "table", "model", "source" (of the accuracies, in words) and "rows": for each "text", "variant",
        "training_parameters", "fused_parameters" (None where it does not fold), "paper_top_1",
        "paper_images_per_second", "note"; "seeds" (how many), "accuracies" (of each, from 0 to 1), "accuracy" and
        "deviation" (of them; None where there are none); if they were timed, "images_per_second" and
        "fused_images_per_second". "spearman": with the paper, of "accuracy" and "images_per_second", where both have
        two rows or more. "order": of the accuracies, from `training.summarise`.

    Raises
    ------
    ValueError
        If the network has no variants, a number is out of range, or the file holds no results.
    """
    name = find_model(model)
    if results is None:
        lines, facts = packaged_ablation()
        source = "{model}, {epochs} epochs of {data}".format(**facts)
    else:
        lines, source = read_results(results), Path(results).name
    summary = summarise(lines, [published.variant for published in TABLES[table]])
    means = {row["row"]: row for row in summary["rows"]}
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
        mine = means.get(variant, {})
        row |= {"accuracies": mine.get("accuracies", []), "accuracy": mine.get("test_accuracy")}
        rows.append(row | {"deviation": mine.get("deviation"), "seeds": mine.get("seeds", 0)})
    result = {"table": table, "model": name, "source": source, "rows": rows}
    if measure:
        timed = time_networks(makers, batch, size, rounds, title=f"table {table}")
        for row in rows:
            row["images_per_second"] = timed["networks"][row["text"]]["images_per_second"]
            fused = fused_of.get(row["text"])
            row["fused_images_per_second"] = fused and timed["networks"][fused]["images_per_second"]
        result |= {key: timed[key] for key in ("batch", "rounds", "slowdown")}
    result["order"] = {key: summary[key] for key in ORDER}
    result["spearman"] = {} if summary["spearman"] is None else {"accuracy": summary["spearman"]}
    speeds = [(row["images_per_second"], row["paper_images_per_second"]) for row in rows] if measure else []
    if speeds and None not in speeds[0]:
        result["spearman"]["images_per_second"] = spearman(*zip(*speeds, strict=True))
    return result


def _maker(name, form, variant):
    """Return what makes a network of one variant."""
    return lambda: create_model(name, seed=None, form=form, variant=variant)


def text(result):
    """Write the result of `ablation`."""
    rows, notes = result["rows"], Footnotes()
    timed = "images_per_second" in rows[0]
    with_speed = rows[0]["paper_images_per_second"] is not None
    head = ["blocks", "training params", "fused params"]
    head += ["images/s", "fused images/s"] if timed else []
    head += ["seeds", "accuracy", "paper: top-1"] + (["images/s"] if with_speed else [])
    lines = []
    for row in rows:
        mark = notes.mark(row["note"])
        cells = [row["text"] + (f" {mark}" if mark else "")]
        cells += [number(row["training_parameters"], 0), number(row["fused_parameters"], 0)]
        cells += [speed(row["images_per_second"]), speed(row["fused_images_per_second"])] if timed else []
        cells += [str(row["seeds"]), mean_and_deviation(row["accuracies"]), f"{row['paper_top_1']:.2f}"]
        cells += [number(row["paper_images_per_second"], 0)] if with_speed else []
        lines.append(cells)
    lines = columns(head, lines)
    if with_speed:
        lines.append(
            f"in the paper every row becomes the same network, of {FUSED_B0_IMAGES_PER_SECOND} images/s (table 4)"
        )
    if timed:
        lines.append(f"{result['model']}, batch {result['batch']}, medians of {result['rounds']} interleaved rounds")
    if "images_per_second" in result["spearman"]:
        value = result["spearman"]["images_per_second"]
        lines.append(f"Spearman's rank correlation of the speeds with the paper's: {value:.2f}")
    lines.append(f"accuracies: {result['source']}; the paper's are of RepVGG-B0, 120 epochs of ImageNet")
    lines += order_lines(result["order"], {row["variant"]: row["text"] for row in rows})
    return "\n".join([*lines, *notes.lines()])
