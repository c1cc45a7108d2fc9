"""Orders: Spearman's coefficient by hand, and who overtakes whom."""

import pytest

from repvgg_np.analysis import disagreements, spearman


def test_spearman_by_hand_is_1_minus_6_times_the_squared_differences_over_n_cubed_minus_n():
    one, other = [10, 20, 30, 40, 50], [1, 3, 2, 5, 4]  # differences of the ranks: 0, 1, 1, 1, 1
    assert spearman(one, other) == pytest.approx(1 - 6 * 4 / (125 - 5), abs=1e-15)


def test_equal_numbers_share_their_rank():
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 2, 2, 3], [5, 6, 7, 8]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5, abs=1e-15)


def test_the_same_order_overtakes_nobody_and_the_opposite_everybody():
    names = ["a", "b", "c"]
    assert disagreements(names, [3, 2, 1], [30, 20, 10]) == {}
    assert disagreements(names, [3, 2, 1], [1, 2, 3]) == {"c": ["a", "b"], "b": ["a"]}


def test_a_tie_is_no_disagreement():
    assert disagreements(["a", "b"], [2, 1], [5, 5]) == {} == disagreements(["a", "b"], [1, 1], [2, 5])
