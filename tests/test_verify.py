"""Verification says yes exactly when only rounding differs."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import repvgg_np as rv
from repvgg_np.bench import random_statistics
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.verify import BlockReport, FusionReport, fusion_bound
from tests import strategies

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
        "block     by        largest error  its bound  share of bound",
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


# (in_channels, out_channels, stride, groups): channels that no register's width divides, with and without an identity.
odd_blocks = st.sampled_from(
    [(1, 1, 1, 1), (3, 3, 1, 1), (7, 7, 1, 1), (17, 17, 1, 1), (5, 19, 1, 1), (13, 3, 2, 1), (9, 9, 1, 3), (6, 6, 1, 6)]
)


@st.composite
def networks(draw, dtype):
    """Draw a small network with random statistics, and pictures for it."""
    seed = draw(strategies.seeds)
    model = RepVGG(CONFIG, rng=np.random.default_rng(seed), dtype=dtype)
    random_statistics(model, seed)
    return model.eval(), np.random.default_rng(seed).normal(size=(2, 3, 9, 7)).astype(dtype)


@given(st.data(), strategies.dtypes)
def test_a_correct_fusion_lies_under_its_bound_in_every_block(data, dtype):
    model, x = data.draw(networks(dtype))
    report = rv.verify_fusion(model, x)
    assert report.ok and report.max_error <= report.bound
    assert [block.name for block in report.blocks] == [name for name, _ in model.blocks()]


@given(st.data(), st.sampled_from([1e-2, 1e-1, 1]))
def test_a_kernel_that_is_off_by_a_hundredth_is_found(data, change):
    model, x = data.draw(networks(np.float32))
    fused = rv.fuse(model)
    blocks = dict(fused.blocks())
    name = data.draw(st.sampled_from(sorted(blocks)))
    weight = blocks[name].reparam.weight
    weight.data = weight.data * np.float32(1 + change)
    report = rv.verify_fusion(model, np.abs(x), fused)
    # ReLU may hide a whole block from any comparison of outputs; where it doesn't, the bound does not either.
    visible = [block for block in report.blocks if block.name == name and block.max_error > 0]
    assert all(not block.ok for block in visible)
    assert report.ok == (not visible)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_is_not_idle_on_ordinary_data(dtype):
    model = RepVGG(CONFIG, rng=np.random.default_rng(0), dtype=dtype)
    random_statistics(model, 0)
    x = np.random.default_rng(1).normal(size=(8, 3, 16, 16)).astype(dtype)
    for block in rv.verify_fusion(model.eval(), x).blocks:
        assert block.share > 1e-3, f"{block.name}: the bound is more than a thousand times the error"


def scaled_statistics(model, **changes):
    state = model.state_dict()
    for name, array in state.items():
        for ending, change in changes.items():
            if name.endswith(f".{ending}") and array.ndim == 1 and not name.startswith("linear"):
                state[name] = change(array).astype(array.dtype)
    model.load_state_dict(state)
    return model


HOSTILE = {
    "variance 0": {"running_var": lambda a: 0 * a},
    "gamma 0": {"weight": lambda a: 0 * a},
    "gamma negative": {"weight": lambda a: -a},
    "gamma a million": {"weight": lambda a: 1e6 * a},
    "a mean that cancels": {"running_mean": lambda a: 1e4 + a},
    "a huge variance": {"running_var": lambda a: 1e30 * a},
    "gammas near underflow": {"weight": lambda a: 1e-38 * a, "bias": lambda a: 1e-40 * a},
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_hostile_statistics_stay_under_the_bound(hostile, dtype, data):
    model, x = data.draw(networks(dtype))
    block = scaled_statistics(model, **HOSTILE[hostile])
    # Block by block, each with ordinary pictures: a million to the power of five blocks is out of any float's reach.
    assert rv.verify_fusion(_first_block(block), x[:, :, : data.draw(st.integers(1, 9))]).ok


def _first_block(model):
    """Return a network of the first block alone."""
    config = RepVGGConfig(CONFIG.depths[:1], CONFIG.widths[:1], CONFIG.strides[:1], {}, 8, 4)
    small = RepVGG(config, rng=np.random.default_rng(0), dtype=model.dtype)
    state = small.state_dict() | {n: a for n, a in model.state_dict().items() if n.startswith("stage0")}
    small.load_state_dict(state)
    return small.eval()


def ordinary_block(shape, dtype, rng):
    """Return a block with random statistics, in inference mode, and its state to be made hostile."""
    block = RepVGGBlock(*shape, rng=rng, dtype=dtype).eval()
    state = block.state_dict()
    for name, array in state.items():
        if array.ndim == 1:
            drawn = rng.uniform(0.5, 1.5, array.shape) if name.endswith("running_var") else rng.normal(size=array.shape)
            state[name] = drawn.astype(dtype)
    return block, state


def change(state, ending, function):
    for name, array in state.items():
        if name.endswith(ending) and array.ndim:
            state[name] = function(array).astype(array.dtype)


def cancel(state, dtype):
    """Choose the middle of the 3x3 kernel so that the three branches add up to zero, but for rounding."""

    def scale(branch):
        return state[f"{branch}.weight"] / np.sqrt(state[f"{branch}.running_var"] + dtype(1e-5))

    others = state["rbr_1x1.conv.weight"][:, :, 0, 0] * scale("rbr_1x1.bn")[:, None]
    if "rbr_identity.weight" in state:
        depth = others.shape[1]
        others[np.arange(len(others)), np.arange(len(others)) % depth] += scale("rbr_identity")
    kernel = np.zeros_like(state["rbr_dense.conv.weight"])
    kernel[:, :, 1, 1] = -others / scale("rbr_dense.bn")[:, None]
    state["rbr_dense.conv.weight"] = kernel
    change(state, "running_mean", lambda a: 0 * a)
    for branch in ("rbr_dense.bn", "rbr_1x1.bn", "rbr_identity"):
        if f"{branch}.bias" in state:
            state[f"{branch}.bias"] *= 0


HOSTILE_BLOCKS = {
    # What is done to the state, and what to the pictures.
    "ordinary": (lambda state, dtype: None, 1),
    "branches that cancel": (cancel, 1),
    "gamma minus a million": (lambda state, dtype: change(state, "bn.weight", lambda a: -1e6 * np.abs(a)), 1),
    "subnormal pictures": (lambda state, dtype: None, "subnormal"),
    "subnormal kernels": (lambda state, dtype: change(state, "conv.weight", subnormal), 1),
    "subnormal pictures and kernels": (lambda state, dtype: change(state, "conv.weight", subnormal), "subnormal"),
    "kernels whose products underflow": (
        lambda state, dtype: change(state, "conv.weight", lambda a: a * np.sqrt(np.finfo(dtype).tiny)),
        "underflow",
    ),
    "subnormal gammas": (
        lambda state, dtype: change(state, ".weight", lambda a: subnormal(a) if a.ndim == 1 else a),
        1,
    ),
    "everything subnormal": (
        lambda state, dtype: [change(state, end, subnormal) for end in ("weight", "bias", "running_mean")],
        "subnormal",
    ),
    "subnormal variances": (lambda state, dtype: change(state, "running_var", subnormal), 1),
    "means of a million": (lambda state, dtype: change(state, "running_mean", lambda a: 1e6 * a), 1e-3),
    "huge pictures": (lambda state, dtype: None, 1e30),
}


def subnormal(a):
    """Scale numbers of about 1 below the smallest normal number, with eight bits left of them."""
    return a * (np.finfo(a.dtype).smallest_subnormal * a.dtype.type(2**8))


@pytest.mark.parametrize("hostile", HOSTILE_BLOCKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    shape=odd_blocks, height=st.sampled_from([1, 1, 2, 5]), width=st.sampled_from([1, 1, 4, 7]), seed=strategies.seeds
)
def test_hostile_blocks_stay_under_the_bound(hostile, dtype, shape, height, width, seed):
    rng = np.random.default_rng(seed)
    block, state = ordinary_block(shape, dtype, rng)
    change_state, pictures = HOSTILE_BLOCKS[hostile]
    change_state(state, dtype)
    block.load_state_dict(state)
    x = rng.normal(size=(2, shape[0], height, width)).astype(dtype)
    if pictures == "subnormal":
        x = subnormal(x)
    else:
        x = x * dtype(np.sqrt(np.finfo(dtype).tiny) if pictures == "underflow" else pictures)
    bound, _ = fusion_bound(block, x)
    error = np.abs(block(x) - rv.fuse(block)(x))
    assert np.isfinite(bound).all() and (error <= bound).all()


def test_branches_that_cancel_stay_under_the_bound(rng):
    config = RepVGGConfig((2,), (8,), (1,), {}, 8, 4)
    model = RepVGG(config, rng=rng)
    state = model.state_dict()
    centre = state["stage0.1.rbr_1x1.conv.weight"]
    state["stage0.1.rbr_dense.conv.weight"] = np.pad(-centre, ((0, 0), (0, 0), (1, 1), (1, 1)))
    model.load_state_dict(state)
    assert rv.verify_fusion(model.eval(), rng.normal(size=(2, 3, 6, 6)).astype(np.float32)).ok


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


def test_a_variance_of_zero_is_no_damage(rng):
    model = scaled_statistics(RepVGG(SMALL, rng=rng), running_var=lambda a: 0 * a)
    assert rv.verify_fusion(model, rng.normal(size=(1, 3, 3, 3)).astype(np.float32)).blocks


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


def test_a_network_is_not_verified_against_itself(rng):
    model = RepVGG(CONFIG, rng=rng).eval()
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="fused must be in its inference form, got the training form"):
        rv.verify_fusion(model, x, model)
    wider = RepVGGConfig(CONFIG.depths, (6, 8, 24), CONFIG.strides, CONFIG.groups, 8, 4)
    with pytest.raises(ValueError, match="fused must have the same blocks and classes as model"):
        rv.verify_fusion(model, x, rv.fuse(RepVGG(wider, rng=rng)))
    for bad in (None, "picture"):
        with pytest.raises(ValueError, match="x must be an array"):
            rv.verify_fusion(model, bad)
