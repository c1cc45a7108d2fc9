"""What is said of an ablation's results: means, spread, and the order of the rows beside the paper's."""

import math

import pytest

from repvgg_np.analysis import ABLATION_TOP_1, TABLE_6, TABLE_7, spearman
from repvgg_np.training import order_lines, summarise, table
from repvgg_np.training.ablation_results import COLUMNS


def result(row, seed, accuracy, folds=True, learnt=None):
    accuracies = {"test_accuracy": accuracy, "train_accuracy": accuracy - 0.1 if learnt is None else learnt}
    numbers = dict.fromkeys(COLUMNS, 10) | {"row": row, "seed": seed} | accuracies
    return numbers if folds else numbers | dict.fromkeys(("fused_parameters", "fused_images_per_second"))


def test_the_summary_is_the_mean_and_the_deviation_over_the_seeds():
    results = [result("plain", 0, 0.5), result("plain", 1, 0.7), result("dbb", 0, 0.9)]
    summary = summarise([*results, result("relu-in-branches", 0, 0.8, folds=False)])
    plain, dbb, relu = summary["rows"]
    assert plain["seeds"] == 2 and math.isclose(plain["test_accuracy"], 0.6)
    assert math.isclose(plain["deviation"], math.sqrt(0.02)) and plain["changed_predictions"] == 20
    assert dbb["deviation"] is None and dbb["paper_top_1"] is None
    assert relu["changed_predictions"] is None and relu["fused_images_per_second"] is None
    assert summary["spearman"] == 1
    assert summarise(results)["spearman"] is None
    lines = table(summary).splitlines()
    assert "60.00% +- 14.14" in lines[1] and "72.39" in lines[1] and lines[3].split()[-1] == "-"
    assert "paper's: 1.00; with" in lines[5] and lines[7].startswith("of 1 pair of rows 0 have another order")
    assert (
        summary["pairs"] == 1
        and math.isclose(summary["deviation"], math.sqrt(0.02))
        and plain["accuracies"] == [0.5, 0.7]
    )
    assert "Spearman" not in table(summarise(results))


def test_only_some_rows_are_summarised_but_the_spread_is_that_of_all():
    results = [result("plain", 0, 0.5), result("plain", 1, 0.7), result("repvgg", 0, 0.4), result("acb", 0, 0.9)]
    summary = summarise(results, ["repvgg", "acb", "diracnet"])
    assert [row["row"] for row in summary["rows"]] == ["repvgg", "acb"] and summary["spearman"] == -1
    assert math.isclose(summary["deviation"], math.sqrt(0.02)) and summary["pairs"] == 1
    (pair,) = summary["reversed"]
    assert (pair["better"], pair["worse"]) == ("acb", "repvgg") and math.isclose(pair["error"], 0.2)
    assert pair["clear"] and order_lines(summary, {"acb": "ACB"})[-1].startswith("  ACB above repvgg by 50.00")
    (one, said) = order_lines(summarise(results[1:]))
    assert "nothing is known of the spread" in said and "paper's: -0.50; with" in one and one.endswith(" 1.00")


def test_the_order_is_compared_with_that_on_the_training_pictures_too():
    results = [
        result("plain", 0, 0.5, learnt=0.9),
        result("plain", 1, 0.5, learnt=0.6),
        result("acb", 0, 0.6, learnt=0.7),
    ]
    summary = summarise(results)
    assert summary["rows"][0]["train_accuracy"] == pytest.approx(0.75) and summary["spearman_training"] == -1
    assert order_lines(summary)[0].endswith("with those on the training pictures, over the last epoch: -1.00")
    assert summarise(results[:2])["spearman_training"] is None


def test_where_no_seed_differs_every_reversal_is_clear():
    lines = order_lines(summarise([result("plain", seed, 0.9) for seed in (0, 1)] + [result("acb", 0, 0.8)]))
    assert "plain above acb by 10.00 points, inf standard errors" in lines[-1]


def test_spearmans_correlation_by_hand():
    assert spearman([1, 2, 3], [10, 20, 30]) == 1 and spearman([1, 2, 3], [3, 2, 1]) == -1
    # 1 - 6 sum(d^2) / (n (n^2 - 1)) without ties: d = 1, -1, 0, 0
    assert math.isclose(spearman([1, 2, 3, 4], [2, 1, 3, 4]), 1 - 6 * 2 / (4 * 15))
    # Ties share their ranks: 1.5, 1.5, 3 against 1, 2, 3.
    assert math.isclose(spearman([5, 5, 9], [1, 2, 3]), 1.5 / math.sqrt(1.5 * 2))
    assert math.isnan(spearman([1, 1], [1, 2]))
    for bad in (([1], [1]), ([1, 2], [1, 2, 3])):
        with pytest.raises(ValueError, match="one and other must be as many numbers, at least two"):
            spearman(*bad)


def test_the_paper_s_tables_agree_with_each_other_and_with_its_claims():
    assert len(TABLE_6) == 4 and len(TABLE_7) == 8 and len(ABLATION_TOP_1) == 11
    assert {row.top_1 for row in (*TABLE_6, *TABLE_7) if row.variant == "repvgg"} == {75.14}
    speeds = [row.images_per_second for row in TABLE_6]
    assert speeds == sorted(speeds, reverse=True)  # each branch costs
    best = max(ABLATION_TOP_1, key=ABLATION_TOP_1.get)
    assert best == "relu-in-branches"
