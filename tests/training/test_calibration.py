import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.training import calibration_error


def by_definition(confidences, correct, bins):
    """Guo et al., equations 1 to 3, in words."""
    total = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(confidences) if b < max(c * bins, 5e-324) <= b + 1]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            confidence = sum(float(confidences[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(accuracy - confidence)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 20))
def test_the_calibration_error_is_its_definition(pairs, bins):
    confidences, correct = (np.array(part) for part in zip(*pairs, strict=True))
    found = calibration_error(confidences, correct, bins)
    assert abs(found - by_definition(confidences, correct, bins)) <= 4 * 30 * 2.0**-53
    assert 0 <= found <= 1


def test_who_is_always_sure_and_always_right_is_honest_and_who_is_always_wrong_is_not():
    sure = np.ones(5, np.float32)
    assert calibration_error(sure, np.ones(5, bool)) == 0
    assert calibration_error(sure, np.zeros(5, bool)) == 1
    assert calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == 0


def test_what_lies_between_two_bins_is_in_the_lower_one():
    """0.5 and 0.4 are both in the first of two bins: 0.5 too little and 0.4 too much confidence nearly cancel."""
    found = calibration_error(np.array([0.5, 0.4]), np.array([True, False]), 2)
    assert abs(found - 0.05) <= 2.0**-52
