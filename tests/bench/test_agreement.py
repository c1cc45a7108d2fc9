"""Who computes the same may take part, and who doesn't may not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.bench.agreement import (
    check_difference,
    convolution_tolerance,
    logits_tolerance,
    moved,
    relative_rounding,
)
from repvgg_np.bench.plain import make_model, make_pair, random_pictures
from repvgg_np.models import RepVGG
from tests import strategies


@given(strategies.activations(), st.sampled_from([2.0**-20, 0.01]), strategies.seeds)
def test_every_number_moves_by_the_relative_amount(x, relative, seed):
    for dtype in (np.float32, np.float64):
        before = x.astype(dtype)
        after = moved(before, relative, np.random.default_rng(seed))
        assert after.dtype == dtype
        # 1 +- relative is rounded once, and its product with the number once more
        roundoff = 2 * np.finfo(dtype).eps * np.abs(before)
        assert (np.abs(np.abs(after - before) - relative * np.abs(before)) <= roundoff).all()


def test_a_batch_keeps_its_memory_order_and_integers_stay(rng):
    x = random_pictures(2, 3, 5, 0)
    assert moved(x, 0.1, rng).strides == x.strides
    count = np.array(7)
    assert moved(count, 0.1, rng) is count


def test_a_longer_sum_rounds_more_and_winograd_more_than_the_direct_algorithm(rng):
    kernels = {c: rng.standard_normal((16, c, 3, 3), np.float32) for c in (16, 64)}
    direct = [relative_rounding([(kernels[c], 2, 1)]) for c in (16, 64)]
    assert direct[1] / direct[0] == pytest.approx(np.sqrt((9 * 64 + 1) / (9 * 16 + 1)))
    assert relative_rounding([(kernels[16], 1, 1)]) > direct[0]
    assert relative_rounding([(kernels[16], 2, 1)], pixels=10_000) > 5 * direct[0]


def test_float32_differs_from_float64_by_less_than_the_tolerance_and_a_wrong_weight_by_more():
    _, fused = make_pair(make_model("RepVGG-small"))
    x = random_pictures(3, 3, 16, 1)
    tolerance = logits_tolerance(fused, x)
    exact = RepVGG(fused.config, rng=None, dtype=np.float64, form="inference")
    state = fused.state_dict()
    exact.load_state_dict({name: array.astype(np.float64) for name, array in state.items()})
    expected = exact(x.astype(np.float64))
    difference, allowed = check_difference("float32", fused(x), expected, tolerance)
    assert difference <= allowed == tolerance
    state["stage0.rbr_reparam.weight"][0] *= np.float32(1.01)
    wrong = fused.fused()
    wrong.load_state_dict(state)
    with pytest.raises(ValueError, match="wrong differs from ours by .*, rounding explains"):
        check_difference("wrong", wrong.eval()(x), expected, tolerance)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_differs_from_its_definition_by_less_than_the_bound(stride, groups, rng):
    from repvgg_np.kernels import conv2d

    x = random_pictures(2, 4, 7, 0)
    weight = rng.standard_normal((6, 4 // groups, 3, 3), np.float32)
    bias = rng.standard_normal(6, np.float32)
    expected = reference.conv2d(x, weight, bias, (stride, stride), (1, 1), groups)
    tolerance = convolution_tolerance(x, weight, bias, stride, groups)
    assert tolerance.shape == expected.shape
    check_difference("ours", conv2d(x, weight, bias, stride, 1, groups), expected, tolerance)


def test_the_element_with_the_largest_share_of_its_tolerance_is_reported():
    expected, found = np.zeros(3), np.array([3.0, -1.0, 0.5])
    assert check_difference("a", found, expected, np.array([6.0, 1.0, 9.0])) == (1.0, 1.0)
    assert check_difference("a", expected, expected, 0.0) == (0.0, 0.0)


@pytest.mark.parametrize("found", [[0.0, 1.5], [0.0, np.nan], [0.0, np.inf]])
def test_what_differs_by_more_or_is_no_number_is_refused(found):
    with pytest.raises(ValueError, match="the outputs don't agree: a differs from ours by"):
        check_difference("a", np.array(found), np.zeros(2), 1.0)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"a has the shape \(2, 1\), ours \(2,\)"):
        check_difference("a", np.zeros((2, 1)), np.zeros(2), 1.0)
