"""What the results of an ablation say: means over the seeds, and whether their order is the paper's."""

import math
import statistics

from repvgg_np.analysis import ABLATION_TOP_1, spearman
from repvgg_np.analysis.seeds import CLEAR, pooled_deviation, reversed_pairs


def summarise(results, rows=None):
    """Take the mean and the standard deviation over the seeds of each row, and compare the order with the paper's.

    Parameters
    ----------
    results : list of dict
        From `ablate` or `read_results`.
    rows : sequence of str, optional
        Only these, those of them that have results; without it, all. The spread between seeds is taken from all.

    Returns
    -------
    dict
        "rows": for each row a dict of "row", "seeds" (how many), "accuracies" (of each, from 0 to 1), "parameters",
        "fused_parameters", "test_accuracy" (their mean) and "deviation" (of a sample; None of one seed),
        "train_accuracy" (mean), "changed_predictions" (of all seeds), the three speeds (medians), and "paper_top_1"
        (None beyond the paper's tables). "spearman" and "spearman_training": the rank correlations of the mean
        accuracies with the paper's and with those in training, over the rows that the paper has; None of fewer than
        two. "pairs" (how many those rows make), "deviation" and "reversed": from `analysis.seeds.reversed_pairs`.
    """
    groups = {}
    for result in results:
        groups.setdefault(result["row"], []).append(result)
    accuracies = {row: [result["test_accuracy"] for result in own] for row, own in groups.items()}
    summaries = [_summarise_row(row, own) for row, own in groups.items() if rows is None or row in rows]
    known = [summary for summary in summaries if summary["paper_top_1"] is not None]
    accuracy, learnt, paper = ([s[name] for s in known] for name in ("test_accuracy", "train_accuracy", "paper_top_1"))
    order, order_in_training = (spearman(accuracy, other) if len(known) > 1 else None for other in (paper, learnt))
    deviation = pooled_deviation(accuracies.values())
    found = reversed_pairs({s["row"]: s["accuracies"] for s in known}, ABLATION_TOP_1, deviation)
    pairs = len(known) * (len(known) - 1) // 2
    orders = {"spearman": order, "spearman_training": order_in_training}
    return {"rows": summaries} | orders | {"pairs": pairs, "deviation": deviation, "reversed": found}


def _summarise_row(row, own):
    """Summarise the runs of one row."""
    accuracies = [result["test_accuracy"] for result in own]
    summary = {"row": row, "seeds": len(own), "accuracies": accuracies}
    summary |= {name: own[0][name] for name in ("parameters", "fused_parameters")}
    summary["train_accuracy"] = statistics.fmean(result["train_accuracy"] for result in own)
    summary["test_accuracy"] = statistics.fmean(accuracies)
    summary["deviation"] = statistics.stdev(accuracies) if len(own) > 1 else None
    folds = own[0]["fused_parameters"] is not None
    summary["changed_predictions"] = sum(result["changed_predictions"] for result in own) if folds else None
    for name in ("training_images_per_second", "images_per_second", "fused_images_per_second"):
        values = [result[name] for result in own if result[name] is not None]
        summary[name] = statistics.median(values) if values else None
    return summary | {"paper_top_1": ABLATION_TOP_1.get(row)}


def table(summary):
    """Write a summary as text: a line for each row, then how its order compares with the paper's.

    Parameters
    ----------
    summary : dict
        From `summarise`.

    Returns
    -------
    str
    """
    lines = [
        f"{'row':<20} {'seeds':>5} {'test accuracy':>16} {'paper':>7} {'parameters':>12} {'fused':>12} "
        f"{'changed':>8} {'train im/s':>11} {'im/s':>8} {'fused im/s':>11}"
    ]
    for row in summary["rows"]:
        accuracy = f"{row['test_accuracy']:.2%}"
        if row["deviation"] is not None:
            accuracy += f" +- {100 * row['deviation']:.2f}"
        paper = "" if row["paper_top_1"] is None else f"{row['paper_top_1']:.2f}"
        lines.append(
            f"{row['row']:<20} {row['seeds']:>5} {accuracy:>16} {paper:>7} {row['parameters']:>12,} "
            f"{_shown(row['fused_parameters']):>12} {_shown(row['changed_predictions']):>8} "
            f"{_shown(row['training_images_per_second']):>11} {_shown(row['images_per_second']):>8} "
            f"{_shown(row['fused_images_per_second']):>11}"
        )
    lines.append("paper: top-1 in percent on ImageNet (RepVGG-B0, 120 epochs): only the order can be compared")
    return "\n".join([*lines, *order_lines(summary)])


def order_lines(summary, names=None):
    """Say how the order of the accuracies compares with the paper's, and which differences the seeds don't explain.

    Parameters
    ----------
    summary : dict
        From `summarise`.
    names : dict of str to str, optional
        What a row is called; without it, as the kind of block.

    Returns
    -------
    list of str
        Empty where there are fewer than two rows of the paper's.
    """
    if summary["spearman"] is None:
        return []
    # Where training and test have one order, rows differ in how far they have come, not in how well they generalise.
    lines = [
        f"Spearman's rank correlation of the accuracies with the paper's: {summary['spearman']:.2f}; "
        f"with those on the training pictures, over the last epoch: {summary['spearman_training']:.2f}"
    ]
    reversals, deviation = summary["reversed"], summary["deviation"]
    said = (
        f"of {summary['pairs']} pair{'s' if summary['pairs'] > 1 else ''} of rows {len(reversals)} have another order"
    )
    if deviation is None:
        return [*lines, f"{said} than in the paper; with one seed each, nothing is known of the spread"]
    clear = [pair for pair in reversals if pair["clear"]]
    lines.append(f"seeds of a row lie {100 * deviation:.2f} points around their mean (standard deviation, of all rows)")
    lines.append(
        f"{said} than in the paper; {len(clear)} of them by more than {CLEAR} standard errors of the difference"
        + (":" if clear else "")
    )
    for pair in clear:
        better, worse = ((names or {}).get(pair[key], pair[key]) for key in ("better", "worse"))
        behind = ABLATION_TOP_1[pair["worse"]] - ABLATION_TOP_1[pair["better"]]
        errors = pair["difference"] / pair["error"] if pair["error"] else math.inf  # where no seed differs from another
        lines.append(
            f"  {better} above {worse} by {100 * pair['difference']:.2f} points, {errors:.1f} standard errors; "
            f"in the paper below by {behind:.2f}"
        )
    return lines


def _shown(number):
    """Return a number without decimals, or a dash for none."""
    return "-" if number is None else f"{number:,.0f}"
