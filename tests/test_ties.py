"""A changed prediction is called a tie exactly when rounding can have changed it."""

import dataclasses

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np import ties
from repvgg_np.bench import random_statistics
from repvgg_np.blocks import VARIANTS
from repvgg_np.fusion_bound import fusion_bound
from repvgg_np.layers.listen import inputs_told
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.models.network import Baseline
from repvgg_np.rounding import gamma
from repvgg_np.ties import ChangedPrediction, explain_changes, gap_gradients
from repvgg_np.verify import BlockReport, FusionReport
from tests.models.small_networks import SMALL_NETWORKS

CONFIG = RepVGGConfig((1, 2), (4, 7), (1, 2), {}, 8, 3)
TIE = ChangedPrediction(3, 1, 2, 2.5e-7, 1.5e-3)
WRONG = ChangedPrediction(0, 2, 1, 0.5, 1.5e-3)


def network(rng, dtype=np.float32, **changes):
    """Make a small network with random statistics, and pictures for it."""
    model = RepVGG(dataclasses.replace(CONFIG, **changes), rng=rng, dtype=dtype)
    random_statistics(model, 0)
    return model.eval(), rng.normal(size=(10, 3, 6, 5)).astype(dtype)


def all_pairs(count, classes=3):
    """Return two classes for each of so many pictures."""
    return np.arange(count) % classes, (np.arange(count) + 1 + np.arange(count) // classes % (classes - 1)) % classes


def gap(logits, before, after):
    rows = np.arange(len(logits))
    return logits[rows, before].astype(float) - logits[rows, after]


def test_a_prediction_is_a_tie_up_to_its_bound_and_no_further():
    assert TIE.ok and dataclasses.replace(TIE, margin=TIE.bound).ok and not WRONG.ok
    assert not dataclasses.replace(TIE, margin=np.nextafter(TIE.bound, 1)).ok
    assert not dataclasses.replace(TIE, margin=np.nan).ok and not dataclasses.replace(TIE, bound=np.nan).ok


def test_a_changed_prediction_reads_as_a_line():
    text = "picture 3: class 1 became 2; the logits were 2.50e-07 apart, rounding explains 1.50e-03: "
    assert str(TIE) == text + "a tie within rounding"
    assert str(dataclasses.replace(TIE, margin=0.25)) == text.replace("2.50e-07", "2.50e-01") + "more than rounding"


def test_one_prediction_that_is_no_tie_makes_a_network_unequal_and_is_listed_first():
    block = BlockReport("stage0", "im2col", 1.5e-6, 3e-5, 0.05)
    report = FusionReport([block], 0.25, 7, 64, [], True, [TIE] * 6)
    assert report.ok and str(report).count("a tie within rounding") == 5
    unequal = report.of_predictions(np.array([0, 0, 1]), np.array([0, 1, 1]), [TIE, WRONG])
    assert not unequal.ok and (unequal.changed_predictions, unequal.pictures) == (1, 3)
    assert str(unequal).splitlines()[-3:-1] == [str(WRONG), str(TIE)]


def test_the_bound_is_what_the_bounds_of_the_blocks_and_of_the_classifier_do_to_the_difference(rng):
    # In float64, so that the roundings of this run don't count. Every block is off by all of its bound, in the worst
    # direction; the network is a straight line for so small a step, so that the difference moves by just the sum.
    model, x = network(rng)
    x = x[: ties.PICTURES_AT_ONCE]
    before, after = all_pairs(len(x))
    changes = explain_changes(model, x, before, after)
    exact = RepVGG(CONFIG, rng=None, dtype=np.float64)
    exact.load_state_dict({name: a if a.dtype == int else a.astype(float) for name, a in model.state_dict().items()})
    exact, x64 = exact.eval(), x.astype(float)
    gradients, bounds, features = gap_gradients(exact, x64, before, after), {}, []
    keep_bound = inputs_told(model.blocks(), lambda name, block, x: bounds.update({name: fusion_bound(block, x)[0]}))
    with keep_bound, inputs_told([("", model.linear)], lambda name, layer, x: features.append(x)):
        model(x)
    activation = x64
    for name, block in exact.blocks():
        activation = block(activation) + np.sign(gradients[name]) * bounds[name]
    moved = gap(exact.linear(exact.pool(activation)), before, after) - gap(exact(x64), before, after)
    terms = np.abs(features[0]).astype(float) @ np.abs(model.linear.weight.data).T + np.abs(model.linear.bias.data)
    rows = np.arange(len(x))
    moved += 2 * gamma(7 + 1, np.float32) * (terms[rows, before] + terms[rows, after])
    np.testing.assert_allclose([change.bound for change in changes], moved, rtol=1e-5)


@pytest.mark.parametrize("kind", [*sorted(name for name, v in VARIANTS.items() if v.inference), *SMALL_NETWORKS])
def test_fusion_moves_the_difference_of_two_logits_by_no_more_than_the_bound(kind, rng):
    if kind in SMALL_NETWORKS:
        model, x = Baseline(SMALL_NETWORKS[kind], rng=rng).eval(), rng.normal(size=(2, 3, 17, 17)).astype(np.float32)
        random_statistics(model, 0)
    else:
        model, x = network(rng, block=kind)
    x = x[:2]
    before, after = all_pairs(len(x))
    moved = np.abs(gap(rv.fuse(model)(x), before, after) - gap(model(x), before, after))
    bounds = np.array([change.bound for change in explain_changes(model, x, before, after)])
    assert (moved <= bounds).all() and (bounds > 0).all()


def test_each_changed_picture_is_named_with_its_classes_and_its_own_margin(rng):
    model, x = network(rng)
    logits = model(x)
    before = logits.argmax(axis=1)
    after = before.copy()
    after[[2, 7]] = (before[[2, 7]] + 1) % 3
    first, second = explain_changes(model, x, before, after)
    margins = np.abs(gap(model(x[[2, 7]]), before[[2, 7]], after[[2, 7]]))
    assert (first.picture, first.before, first.after) == (2, before[2], after[2]) and first.margin == margins[0]
    assert (second.picture, second.before, second.after) == (7, before[7], after[7]) and second.margin == margins[1]
    assert explain_changes(model, x, before, before) == []


def test_after_the_first_few_with_one_that_is_no_tie_the_others_are_left_alone(monkeypatch, rng):
    model, x = network(rng)
    before, after = all_pairs(len(x))
    monkeypatch.setattr(ties, "PICTURES_AT_ONCE", 4)
    assert [change.picture for change in explain_changes(model, x, before, after)] == [0, 1, 2, 3]
    model.linear.weight.data *= 0
    model.linear.bias.data *= 0  # all logits are equal now
    changes = explain_changes(model, x, before, after)
    assert [change.picture for change in changes] == list(range(10)) and all(change.ok for change in changes)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_looked_at_in_inference_mode_and_left_as_it_was(training, rng):
    model, x = network(rng)
    before, after = all_pairs(len(x))
    expected, state = explain_changes(model, x, before, after), model.state_dict()
    model.train(training)
    assert explain_changes(model, x, before, after) == expected and model.training is training
    assert all(state[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())
    assert not any("forward" in vars(layer) or "backward" in vars(layer) for _, layer in model.named_layers())


def test_a_constructed_tie_that_fusion_breaks_is_a_tie_within_rounding(rng):
    model, x = network(rng)
    state = model.state_dict()
    for name in state:  # means that cancel: the two forms differ in far more than the last digit of a logit
        if name.startswith("stage1.1") and name.endswith("running_mean"):
            state[name] += np.float32(1e3)
    for name in state:
        if name.startswith("stage1.1") and name.endswith("bias"):
            weight, mean, var = (state[name[:-4] + part] for part in ("weight", "running_mean", "running_var"))
            state[name] = mean * weight / np.sqrt(var + np.float32(1e-5))
    model.load_state_dict(state)
    fused = rv.fuse(model)
    gaps = np.array([form(x)[:, 0].astype(float) - form(x)[:, 1] for form in (model, fused)])
    picture = np.abs(gaps[0] - gaps[1]).argmax()
    # Half way between the two forms' differences is zero now, and the third class is out of the way.
    shift = np.float32([-gaps[:, picture].mean(), 0, -1000])
    model.linear.bias.data += shift
    report = rv.verify_fusion(model, x)
    assert report.ok and report.changed_predictions >= 1
    change = next(change for change in report.changes if change.picture == picture)
    assert 0 < change.margin <= change.bound and {change.before, change.after} == {0, 1}
    assert "a tie within rounding" in str(report) and "equal within rounding" in str(report)


def test_a_wrong_fusion_that_changes_a_prediction_is_no_tie(rng):
    model, x = network(rng)
    fused = rv.fuse(model)
    classes = model(x).argmax(axis=1)
    weight = fused.stages[1][1].reparam.weight
    weight.data = weight.data * np.float32(-1)
    fused.stages[1][1].reparam.bias.data += 3 * np.sign(rng.normal(size=7)).astype(np.float32)
    report = rv.verify_fusion(model, x, fused)
    assert report.changed_predictions == (fused(x).argmax(axis=1) != classes).sum() > 0
    assert not report.ok and any(not change.ok for change in report.changes) and "more than rounding" in str(report)
