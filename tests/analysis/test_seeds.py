"""The spread of seeds: one deviation for all rows, and which of two orders it does not explain."""

import math

import pytest

from repvgg_np.analysis.seeds import pooled_deviation, reversed_pairs


def test_the_deviation_of_all_rows_is_by_hand_that_around_each_row_s_mean():
    # Around 2: -1, 0, 1; around 10: -2, 2; a row of one run says nothing. 2 + 8, divided by 2 + 1.
    assert pooled_deviation([[1, 2, 3], [8, 12], [100]]) == math.sqrt(10 / 3)
    assert pooled_deviation([[5, 5], [7]]) == 0


@pytest.mark.parametrize("groups", [[], [[1]], [[1], [2]]])
def test_rows_of_one_run_have_no_deviation(groups):
    assert pooled_deviation(groups) is None


def test_only_pairs_of_another_order_are_listed_the_clearest_first():
    groups = {"a": [1, 1, 1], "b": [3], "c": [2, 2], "d": [2, 2]}
    published = {"a": 40, "b": 30, "c": 20, "d": 10}
    found = reversed_pairs(groups, published, 0.5)
    assert [(pair["better"], pair["worse"]) for pair in found] == [("b", "a"), ("c", "a"), ("d", "a")]
    assert [pair["difference"] for pair in found] == [2, 1, 1]
    assert [pair["error"] for pair in found] == pytest.approx([0.5 * math.sqrt(4 / 3)] + [0.5 * math.sqrt(5 / 6)] * 2)
    # 2 / 0.577 = 3.5 and 1 / 0.456 = 2.2 errors
    assert [pair["clear"] for pair in found] == [True, True, True]
    assert [pair["clear"] for pair in reversed_pairs(groups, published, 0.6)] == [True, False, False]  # 2.9, 1.8, 1.8


def test_the_same_order_and_equal_numbers_are_no_reversal():
    assert reversed_pairs({"a": [1, 2], "b": [3]}, {"a": 5, "b": 6}, 1.0) == []
    assert reversed_pairs({"a": [1], "b": [2]}, {"a": 5, "b": 5}, 1.0) == []
    assert reversed_pairs({"a": [2], "b": [2]}, {"a": 5, "b": 6}, 1.0) == []


def test_without_a_deviation_nothing_is_clear_and_without_any_spread_everything_is():
    groups, published = {"a": [1], "b": [2]}, {"a": 2, "b": 1}
    (pair,) = reversed_pairs(groups, published, None)
    assert pair["error"] is None and not pair["clear"]
    (pair,) = reversed_pairs(groups, published, 0.0)
    assert pair["error"] == 0 and pair["clear"]
