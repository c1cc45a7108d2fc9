"""The RepVGG block: its branches, its gradients, and its fused form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import fuse, reference
from repvgg_np.blocks import FusedRepVGGBlock, RepVGGBlock
from repvgg_np.verify import fusion_bound
from tests import strategies
from tests.gradients import assert_gradients


def randomise(block, rng):
    """Give a block statistics and parameters of any sign, as after some training."""
    state = block.state_dict()
    for name, array in state.items():
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.1, 3, array.shape).astype(array.dtype)
        elif array.ndim == 1:
            state[name] = rng.normal(size=array.shape).astype(array.dtype)
    block.load_state_dict(state)
    return block


@pytest.mark.parametrize(
    ("c_in", "c_out", "stride", "there"), [(4, 4, 1, True), (4, 4, 2, False), (4, 6, 1, False), (4, 6, 2, False)]
)
def test_the_identity_branch_exists_where_input_and_output_have_the_same_shape(c_in, c_out, stride, there, rng):
    block = RepVGGBlock(c_in, c_out, stride, rng=rng)
    assert (block.identity is not None) == there
    assert any(name.startswith("rbr_identity") for name in block.state_dict()) == there


@pytest.mark.parametrize(
    ("c_in", "c_out", "stride", "groups"), [(2, 2, 1, 1), (2, 4, 1, 2), (4, 4, 1, 2), (2, 3, 2, 1)]
)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradients_of_the_block(c_in, c_out, stride, groups, frozen, rng):
    block = randomise(RepVGGBlock(c_in, c_out, stride, groups, rng=rng, dtype=np.float64), rng)
    for _, layer in block.named_layers():
        layer.frozen = frozen
    assert_gradients(block, rng.normal(size=(2, c_in, 4, 3)), rng)


def test_the_gradients_of_the_fused_block(rng):
    block = randomise(RepVGGBlock(2, 2, rng=rng, dtype=np.float64), rng)
    assert_gradients(block.fused(), rng.normal(size=(2, 2, 4, 3)), rng)


@given(strategies.block_shapes(), strategies.dtypes, strategies.seeds, st.integers(1, 9), st.integers(1, 9))
def test_in_inference_mode_the_fused_block_is_the_block_within_the_rounding_bound(shape, dtype, seed, height, width):
    rng = np.random.default_rng(seed)
    block = randomise(RepVGGBlock(*shape, rng=rng, dtype=dtype), rng).eval()
    x = rng.normal(size=(2, shape[0], height, width)).astype(dtype)
    out, fused = block(x), fuse(block)(x)
    bound, _ = fusion_bound(block, x)
    assert out.dtype == fused.dtype == dtype
    assert (np.abs(out - fused) <= bound).all()


@given(strategies.block_shapes(), strategies.seeds)
def test_the_block_is_the_sum_of_its_branches(shape, seed):
    rng = np.random.default_rng(seed)
    block = randomise(RepVGGBlock(*shape, rng=rng, dtype=np.float64), rng).eval()
    c_in, _, stride, groups = shape
    x = rng.normal(size=(2, c_in, 5, 4))
    total = 0
    for kernel, bn in block.convolutions():
        padding = (kernel.shape[2] // 2,) * 2
        part = reference.conv2d(x, kernel, None, (stride, stride), padding, groups)
        norm = (bn.gamma.data, bn.beta.data, bn.running_mean, bn.running_var, bn.eps)
        total = total + reference.batch_norm(part, *norm)
    bound, _ = fusion_bound(block, x)
    assert (np.abs(block(x) - np.maximum(total, 0)) <= bound).all()


def test_fusing_leaves_the_block_as_it_is_and_shares_no_memory(rng):
    block = randomise(RepVGGBlock(3, 3, rng=rng), rng).eval()
    before, x = block.state_dict(), rng.normal(size=(1, 3, 4, 4)).astype(np.float32)
    out = block(x)
    fused = fuse(block)
    fused.reparam.weight.data[...], fused.reparam.bias.data[...] = 0, 0
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(block(x), out)


def test_the_names_are_the_official_ones(rng):
    names = set(RepVGGBlock(2, 2, rng=rng).state_dict())
    batch_norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    expected = {f"rbr_identity.{name}" for name in batch_norm}
    for branch in ("rbr_dense", "rbr_1x1"):
        expected |= {f"{branch}.conv.weight"} | {f"{branch}.bn.{name}" for name in batch_norm}
    assert names == expected
    assert set(FusedRepVGGBlock(np.zeros((2, 2, 3, 3)), np.zeros(2)).state_dict()) == {
        "rbr_reparam.weight",
        "rbr_reparam.bias",
    }


def test_a_fused_block_in_inference_mode_keeps_nothing(rng):
    block = FusedRepVGGBlock(np.zeros((2, 2, 3, 3)), np.zeros(2)).eval()
    out = block(np.ones((1, 2, 3, 3)))
    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
        block.backward(out)
