"""Verification says yes exactly when only rounding differs."""

import copy
import dataclasses

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.bench import random_statistics
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.verify import BlockReport, FusionReport, check_statistics, fusion_bound

CONFIG = RepVGGConfig((1, 2, 2), (6, 8, 20), (1, 1, 2), {2: 2}, 8, 4)
SMALL = RepVGGConfig((1, 2), (2, 3), (1, 2), {}, 8, 4)


GOOD = BlockReport("stage0", "im2col", 1.5e-6, 3e-5, 0.05)
WRONG = BlockReport("stage1.0", "winograd", 2e-3, 1e-3, 2.0)
NO_NUMBER = BlockReport("stage2", "depthwise", np.nan, 1e-3, np.nan)


def report_of(*blocks, logits_error=0.25, notes=()):
    return FusionReport(list(blocks), logits_error, 3, 64, list(notes))


def test_a_block_is_equal_up_to_its_bound_and_no_further():
    assert GOOD.ok and dataclasses.replace(GOOD, share=1.0).ok and dataclasses.replace(GOOD, share=0.0).ok
    assert not dataclasses.replace(GOOD, share=1 + 2**-52).ok and not NO_NUMBER.ok


def test_a_network_is_equal_if_every_block_is_and_its_logits_are_numbers():
    assert report_of(GOOD, GOOD).ok is True
    assert not report_of(GOOD, WRONG).ok and not report_of(WRONG, GOOD).ok
    assert not report_of(GOOD, logits_error=np.nan).ok and not report_of(GOOD, logits_error=np.inf).ok


def test_the_predictions_of_more_pictures_take_the_place_of_those_that_were_compared():
    report = report_of(GOOD).of_predictions(np.array([0, 0, 1, 2, 3]), np.array([0, 1, 0, 2, 3]), [])
    assert (report.changed_predictions, report.pictures, report.blocks) == (2, 5, [GOOD])


def test_a_variance_of_zero_is_no_damage(rng):
    model = RepVGG(CONFIG, rng=rng)
    model.load_state_dict({name: array * ("running_var" not in name) for name, array in model.state_dict().items()})
    check_statistics(model)


def test_the_worst_block_is_that_with_the_largest_share_of_its_bound_and_no_number_is_worse_than_any():
    assert report_of(GOOD, WRONG, GOOD).worst is WRONG
    assert (report_of(GOOD, WRONG).max_error, report_of(GOOD, WRONG).bound) == (2e-3, 1e-3)
    assert report_of(WRONG, NO_NUMBER, GOOD).worst is NO_NUMBER


def test_a_report_cannot_be_changed_afterwards():
    for report, name in ((GOOD, "share"), (report_of(GOOD), "logits_error")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, name, 0.0)


def test_the_report_reads_as_a_table():
    assert str(report_of(GOOD, WRONG, notes=["so it is"])).splitlines() == [
        "block     by        largest error  its bound   largest share",
        "stage0    im2col         1.50e-06   3.00e-05          5.00%",
        "stage1.0  winograd       2.00e-03   1.00e-03        200.00%  <- more than rounding",
        "whole network: logits differ by at most 2.50e-01; 3 of 64 predictions changed",
        "note: so it is",
        "NOT equal: the difference is more than rounding",
    ]
    assert str(report_of(GOOD)).splitlines()[-1] == "equal within rounding"


@pytest.mark.parametrize(("bias", "winner"), [(0, 0), (1e-3, 3)])
def test_the_report_holds_the_largest_difference_of_each_block_and_the_bound_of_that_output(bias, winner, rng):
    model = RepVGG(SMALL, rng=rng)
    random_statistics(model, 1)
    x = rng.normal(size=(3, 3, 5, 4)).astype(np.float32)
    fused = rv.fuse(model.eval())
    fused.stages[0].reparam.bias.data[1] += np.float32(bias)
    fused.linear.bias.data[winner] += 1000
    report = rv.verify_fusion(model, x, fused)
    activation = x
    for (name, block), (_, fused_block), found in zip(model.blocks(), fused.blocks(), report.blocks, strict=True):
        out = block(activation)
        error, (bound, algorithm) = np.abs(out - fused_block(activation)), fusion_bound(block, activation)
        assert (found.name, found.algorithm, found.max_error) == (name, algorithm, error.max())
        assert found.bound in bound[error == error.max()] and found.share == (error / bound).max()
        assert found.ok == (not bias or name != "stage0")
        activation = out
    logits, fused_logits = model(x), fused(x)
    assert report.logits_error == np.abs(logits - fused_logits).max() > 999 and report.pictures == 3
    assert report.changed_predictions == (logits.argmax(axis=1) != winner).sum() > 0
    assert not report.same_classifier and len(report.notes) == 1


def test_equal_predictions_are_not_counted_as_changed(rng):
    model = RepVGG(SMALL, rng=rng).eval()
    report = rv.verify_fusion(model, rng.normal(size=(5, 3, 3, 2)).astype(np.float32))
    assert (report.changed_predictions, report.pictures) == (0, 5)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_as_it_was_even_if_the_comparison_fails(training, rng):
    model = RepVGG(SMALL, rng=rng).train(training)
    with pytest.raises(ValueError, match="channels"):
        rv.verify_fusion(model, np.ones((1, 4, 3, 3), np.float32))
    assert model.training is training


def test_a_network_in_training_mode_is_compared_in_inference_mode_and_the_report_says_so(rng):
    model = RepVGG(CONFIG, rng=rng)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    report = rv.verify_fusion(model.train(), x)
    assert report.ok and model.training and "in training mode" in str(report)
    assert "in training mode" not in str(rv.verify_fusion(model.eval(), x)) and not model.training


def test_the_report_names_the_block_that_is_wrong(rng):
    model = RepVGG(CONFIG, rng=rng).eval()
    fused = rv.fuse(model)
    fused.stages[1][0].reparam.bias.data += 1
    report = rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), fused)
    assert not report.ok and report.worst.name == "stage1.0"
    lines = str(report).splitlines()
    assert next(line for line in lines if "more than rounding" in line).startswith("stage1.0")
    assert lines[-1].startswith("NOT equal")


def test_a_nan_in_the_fused_network_is_not_equal(rng):
    model = RepVGG(CONFIG, rng=rng).eval()
    fused = rv.fuse(model)
    fused.stages[1][0].reparam.weight.data[0, 0, 0, 0] = np.nan
    report = rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), fused)
    assert not report.ok and report.worst.name == "stage1.0" and np.isnan(report.max_error)


@pytest.mark.parametrize(
    ("name", "first", "last", "message"),
    [
        ("stage0.rbr_dense.bn.running_var", -0.5, -0.25, "running_var must not be negative or NaN, got -0.5"),
        ("stage2.1.rbr_1x1.bn.running_var", np.nan, -2, "running_var must not be negative or NaN, got nan"),
        ("stage1.1.rbr_identity.running_var", 0, -np.inf, "running_var must not be negative or NaN, got -inf"),
        ("linear.weight", np.inf, -np.inf, "linear.weight must be finite, got inf"),
        ("stage0.rbr_dense.conv.weight", 0, np.nan, "stage0.rbr_dense.conv.weight must be finite, got nan"),
    ],
)
def test_damaged_statistics_are_named_with_the_first_number_that_is_wrong(name, first, last, message, rng):
    model = RepVGG(CONFIG, rng=rng)
    state = model.state_dict()
    state[name].ravel()[[0, -1]] = first, last
    model.load_state_dict(state)
    with pytest.raises(ValueError, match=message) as caught:
        rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    assert str(caught.value).startswith(name)


def test_what_cannot_be_compared_is_refused(rng):
    model = RepVGG(CONFIG, rng=rng)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    for without_branches in (rv.fuse(model), model.linear):
        with pytest.raises(ValueError, match="model must be in its training form"):
            rv.verify_fusion(without_branches, x)
    with pytest.raises(ValueError, match="fused must have the same blocks"):
        rv.verify_fusion(model, x, rv.fuse(rv.create_model("RepVGG-tiny")))
    small = RepVGG(SMALL, rng=rng)
    for one, other in ((model, small), (small, model)):
        with pytest.raises(ValueError, match="fused must have the same blocks"):
            rv.verify_fusion(one, x, rv.fuse(other))
    for bad in (x[:0], x * np.nan):
        with pytest.raises(
            ValueError, match="x must hold (at least one picture, got none|finite numbers only, got nan)"
        ):
            rv.verify_fusion(model, bad)


def test_verification_does_not_change_the_network(rng):
    model = RepVGG(CONFIG, rng=rng)
    before = copy.deepcopy(model.state_dict())
    rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    assert all(before[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())


def test_a_classifier_that_fusion_cannot_have_made_is_not_equal(rng):
    model = RepVGG(CONFIG, rng=rng).eval()
    fused = rv.fuse(model)
    fused.linear.bias.data[0] += 1
    report = rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), fused)
    assert all(block.ok for block in report.blocks) and not report.ok
    assert "linear.bias differs, which fusion does not touch" in str(report) and "NOT equal" in str(report)
    fused.linear.weight.data[0, 0] += 1  # of several arrays, the first is named
    report = rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), fused)
    assert "linear.weight differs" in str(report)


def test_a_network_is_not_verified_against_itself(rng):
    model = RepVGG(CONFIG, rng=rng).eval()
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="fused must be in its inference form, got the training form"):
        rv.verify_fusion(model, x, model)
    with pytest.raises(ValueError, match="fused must be in its inference form"):
        rv.verify_fusion(model, x, object())
    wider = RepVGGConfig(CONFIG.depths, (6, 8, 24), CONFIG.strides, CONFIG.groups, 8, 4)
    with pytest.raises(ValueError, match="fused must have the same blocks and classes as model"):
        rv.verify_fusion(model, x, rv.fuse(RepVGG(wider, rng=rng)))
    for bad in (None, "picture"):
        with pytest.raises(ValueError, match="x must be an array"):
            rv.verify_fusion(model, bad)
