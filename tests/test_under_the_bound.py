"""A correct fusion lies under its bound whatever the numbers are, and a wrong one does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import repvgg_np as rv
from repvgg_np.bench import random_statistics
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.fusion_bound import fusion_bound
from repvgg_np.models import RepVGG, RepVGGConfig
from tests import strategies

CONFIG = RepVGGConfig((1, 2, 2), (6, 8, 20), (1, 1, 2), {2: 2}, 8, 4)
SMALL = RepVGGConfig((1, 2), (2, 3), (1, 2), {}, 8, 4)


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


def test_a_variance_of_zero_is_no_damage(rng):
    model = scaled_statistics(RepVGG(SMALL, rng=rng), running_var=lambda a: 0 * a)
    assert rv.verify_fusion(model, rng.normal(size=(1, 3, 3, 3)).astype(np.float32)).blocks
