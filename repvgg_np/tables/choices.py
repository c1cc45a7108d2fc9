"""What each choice of a recipe is worth: the recipe trained without it, or with another, several seeds each.

The trainings come with the package: `choices-cifar10.json` has a line for each, and says with which command it was
made. The recipe is a draft of the preset `coffee`, shortened: it had alternating flips and a decay, which were not
found worth their place, and which `coffee` does not have. All are judged by training pictures that were held out, so
that the test pictures choose nothing.
"""

import json
import math
import statistics
from pathlib import Path

from repvgg_np.analysis.seeds import CLEAR, pooled_deviation
from repvgg_np.tables.text import columns, mean_and_deviation

RUNS = Path(__file__).with_name("choices-cifar10.json")


def choices():
    """Compare the recipe with each change of it.

    Returns
    -------
    dict
        "command", "trained_on" (a machine) and "pictures", in words; "deviation" (of a run around the mean of its row,
        from all rows together); and "rows", the recipe itself first, then the changes of it, the most harmful one
        first. Each row has "change" (in words), "options" (of the command), "accuracies" (of the pictures held out,
        from 0 to 1, one for each seed), "train_accuracy" (in the last epoch, the mean), "difference" (of the mean from
        the recipe's) and its standard "error" (both None in the first row), and "clear" (whether the difference is more
        than two errors).
    """
    facts = json.loads(RUNS.read_text(encoding="utf-8"))
    groups = {}
    for run in facts["runs"]:
        groups.setdefault((run["change"], run["options"]), []).append(run)
    held_out = {key: [run["holdout_accuracy"] for run in runs] for key, runs in groups.items()}
    deviation = pooled_deviation(held_out.values())
    recipe, *_ = held_out.values()
    rows = []
    for (change, options), runs in groups.items():
        own = held_out[change, options]
        row = {"change": change, "options": options, "accuracies": own, "difference": None, "error": None}
        row["train_accuracy"] = statistics.fmean(run["train_accuracy"] for run in runs)
        if rows:
            row["difference"] = statistics.fmean(own) - statistics.fmean(recipe)
            row["error"] = deviation * math.sqrt(1 / len(own) + 1 / len(recipe))
        rows.append(row | {"clear": bool(rows) and abs(row["difference"]) > CLEAR * row["error"]})
    rows[1:] = sorted(rows[1:], key=lambda row: row["difference"])
    facts = {name: facts[name] for name in ("command", "trained_on", "pictures")}
    return facts | {"deviation": deviation, "rows": rows}


def text(result):
    """Write the result of `choices`."""
    head = ["change", "seeds", "held-out pictures", "difference", "", "training"]
    lines = []
    for row in result["rows"]:
        difference = "-" if row["difference"] is None else f"{100 * row['difference']:+.2f} +- {100 * row['error']:.2f}"
        cells = [row["change"], str(len(row["accuracies"])), mean_and_deviation(row["accuracies"]), difference]
        lines.append([*cells, "clear" if row["clear"] else "", f"{row['train_accuracy']:.1%}"])
    options = ["options", *(row["options"] for row in result["rows"])]
    lines = [f"{line}  {option}".rstrip() for line, option in zip(columns(head, lines), options, strict=True)]
    lines.append(f"differences in points, with their standard error; clear: more than {CLEAR} of these")
    return "\n".join([*lines, result["command"], result["trained_on"], result["pictures"]])
