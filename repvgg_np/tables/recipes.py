"""The presets on CIFAR-10, each with several seeds: what they reached and in which time, beside PyTorch and others.

The trainings come with the package: `recipes-cifar10.json` has a line for each, and says with which pictures and on
which machine they ran; a line that ran on another machine says so itself.
"""

import json
import statistics
from pathlib import Path

from repvgg_np.analysis.published import CIFAR_TOP_1
from repvgg_np.tables.text import columns, mean_and_deviation, number
from repvgg_np.training import PRESETS

RUNS = Path(__file__).with_name("recipes-cifar10.json")


def recipes():
    """Take the mean over the seeds of each recipe, network, number of epochs and library.

    Returns
    -------
    dict
        "trained_on" (a machine) and "pictures", in words, and "rows", in the order of the file. Each row has "recipe",
        "library", "model", "epochs", "threads", "purpose" (of the preset; None of another library or network),
        "published" (accuracy in percent, from `CIFAR_TOP_1`, or None), "seeds" (a list), and for each of these
        "machines" (in words, if it was another than that of "trained_on"; else None), "accuracies" (from 0 to 1),
        "mirrored_accuracies" (of the mean over each picture and its mirror image), "changed_predictions" (by the
        fusion, of all test pictures), "seconds" (of the whole command) and "epoch_seconds" (of all epochs, with
        evaluations). None stands where something was not measured.
    """
    facts = json.loads(RUNS.read_text(encoding="utf-8"))
    groups = {}
    for run in facts["runs"]:
        key = tuple(run[name] for name in ("recipe", "library", "model", "epochs", "threads"))
        groups.setdefault(key, []).append(run)
    rows = [_row(*key, runs) for key, runs in groups.items()]
    return {"trained_on": facts["trained_on"], "pictures": facts["pictures"], "rows": rows}


def _row(recipe, library, model, epochs, threads, runs):
    """Put the runs of one row together."""
    row = {"recipe": recipe, "library": library, "model": model, "epochs": epochs, "threads": threads}
    preset = PRESETS.get(recipe)
    own = preset is not None and library == "repvgg_np" and preset.model == model and preset.settings.epochs == epochs
    row |= {"purpose": preset.purpose if own else None, "published": CIFAR_TOP_1.get(model)}
    row["seeds"] = [run["seed"] for run in runs]
    for several, name in (
        ("machines", "machine"),
        ("accuracies", "test_accuracy"),
        ("mirrored_accuracies", "mirrored_test_accuracy"),
        ("changed_predictions", "changed_predictions"),
        ("seconds", "seconds"),
        ("epoch_seconds", "epoch_seconds"),
    ):
        row[several] = [run.get(name) for run in runs]
    return row


def text(result):
    """Write the result of `recipes`."""
    head = ["recipe", "network", "epochs", "seeds", "test pictures", "mirrored too", "changed", "threads"]
    head += ["training", "command", "published"]
    lines = []
    for row in result["rows"]:
        changed = None if None in row["changed_predictions"] else sum(row["changed_predictions"])
        cells = [row["recipe"] + ("" if row["library"] == "repvgg_np" else f", {row['library']}")]
        cells += [row["model"], str(row["epochs"]), str(len(row["seeds"]))]
        cells += [mean_and_deviation(row["accuracies"]), mean_and_deviation(row["mirrored_accuracies"])]
        cells += [number(changed, 0), str(row["threads"])]
        cells += [_seconds(row, name, None) for name in ("epoch_seconds", "seconds")]
        lines.append([*cells, "-" if row["published"] is None else f"{row['published']:.2f}%"])
    lines = columns(head, lines)
    lines += [f"{row['recipe']} is made for {row['purpose']}" for row in result["rows"] if row["purpose"]]
    lines += [
        "mirrored too: with the mean over each picture and its mirror image",
        "changed: how many predictions the fusion changes, of 10,000 for each seed",
        "training: all epochs and evaluations; command: from its start, with compiled kernels, to the written network",
    ]
    if any(row["published"] is not None for row in result["rows"]):
        lines.append("published: after 200 epochs (A0 to A2) or 250 (B0) of 45,000 of the original pictures, on a GPU")
    lines += _elsewhere(result["rows"])
    return "\n".join([*lines, result["trained_on"], result["pictures"]])


def _elsewhere(rows):
    """Write a line for each machine but that of the table, whose times are not in the means."""
    lines = []
    for row in rows:
        for machine in sorted(set(row["machines"]) - {None}):
            seeds = [str(seed) for seed, own in zip(row["seeds"], row["machines"], strict=True) if own == machine]
            which = f"seed{'s' if len(seeds) > 1 else ''} {' and '.join(seeds)}"
            training, command = (_seconds(row, name, machine) for name in ("epoch_seconds", "seconds"))
            what = f"{row['recipe']} of {row['model']}, {which}, on {machine}"
            lines.append(f"not in these times: {what}: training {training}, command {command}")
    return lines


def _seconds(row, name, machine):
    """Write the mean of the seconds that the runs of a row took on a machine."""
    values = [value for value, own in zip(row[name], row["machines"], strict=True) if own == machine]
    return "-" if not values or None in values else f"{number(statistics.fmean(values), 0)} s"
