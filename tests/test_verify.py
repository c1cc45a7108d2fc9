"""Verification says yes exactly when only rounding differs."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import repvgg_np as rv
from repvgg_np.bench import random_statistics
from repvgg_np.models import RepVGG, RepVGGConfig
from repvgg_np.rounding import gamma
from tests import strategies

CONFIG = RepVGGConfig((1, 2, 2), (6, 8, 20), (1, 1, 2), {2: 2}, 8, 4)


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
    ("name", "value", "message"),
    [
        ("stage0.rbr_dense.bn.running_var", -1, "stage0.rbr_dense.bn.running_var must not be negative or NaN, got -1"),
        ("stage2.1.rbr_1x1.bn.running_var", np.nan, "stage2.1.rbr_1x1.bn.running_var must not be negative or NaN"),
        ("linear.weight", np.inf, "linear.weight must be finite, got inf"),
    ],
)
def test_damaged_statistics_are_named(name, value, message, rng):
    model = RepVGG(CONFIG, rng=rng)
    state = model.state_dict()
    state[name].ravel()[0] = value
    model.load_state_dict(state)
    with pytest.raises(ValueError, match=message):
        rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32))


def test_what_cannot_be_compared_is_refused(rng):
    model = RepVGG(CONFIG, rng=rng)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="model must be in its training form"):
        rv.verify_fusion(rv.fuse(model), x)
    with pytest.raises(ValueError, match="fused must have the same blocks"):
        rv.verify_fusion(model, x, rv.fuse(rv.create_model("RepVGG-tiny")))
    for bad in (x[:0], x * np.nan):
        with pytest.raises(ValueError, match="x must hold at least one picture, and only finite numbers"):
            rv.verify_fusion(model, bad)


def test_gamma_is_highams_and_has_an_end():
    assert gamma(1, np.float32) == 2**-24 / (1 - 2**-24)
    assert gamma(10, np.float64) == 10 * 2**-53 / (1 - 10 * 2**-53)
    with pytest.raises(ValueError, match="operations must be below 16777216 for float32, got 16777216"):
        gamma(2**24, np.float32)


def test_verification_does_not_change_the_network(rng):
    model = RepVGG(CONFIG, rng=rng)
    before = copy.deepcopy(model.state_dict())
    rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    assert all(before[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())
