"""Deleting branches: the same as a network that never had them, exactly; and no block is left without a way."""

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import branches, delete, draw_order
from repvgg_np.bench import random_statistics
from repvgg_np.fuse import fuse_branches
from repvgg_np.models import Baseline, RepVGG, RepVGGConfig
from tests.models.small_networks import SMALL_NETWORKS

SHAPE = ((1, 2, 2), (2, 2, 4), (1, 1, 2), {}, 6, 3)


def network(variant="repvgg", seed=0):
    model = RepVGG(RepVGGConfig(*SHAPE, variant), rng=np.random.default_rng(seed))
    random_statistics(model, seed)
    return model.eval()


@pytest.mark.parametrize("variant", ["repvgg", "no-identity", "no-1x1", "acb"])
def test_deleting_a_branch_then_fusing_is_fusing_the_others(variant):
    model = network(variant)
    for branch in branches(model)[0]:
        block = dict(model.blocks())[branch.block]
        number = [model_norm_name(model, path[-1].norm) for path in block.paths()].index(branch.norm)
        others = [pair for i, pair in enumerate(block.branches()) if i != number]
        kernel, bias = fuse_branches(
            [(np.zeros_like(block.fold()[0]), np.zeros_like(block.fold()[1])), *padded(others)]
        )
        fused = dict(rv.fuse(delete(model, [branch])).blocks())[branch.block].reparam
        np.testing.assert_array_equal(fused.weight.peek(), kernel)
        np.testing.assert_array_equal(fused.bias.peek(), bias)


def model_norm_name(model, norm):
    return next(name for name, layer in model.named_layers() if layer is norm)


def padded(pairs):
    """Make asymmetric kernels 3x3, as square ones are by the fusion itself."""
    wide = []
    for kernel, bias in pairs:
        whole = np.zeros((*kernel.shape[:2], 3, 3), kernel.dtype)
        rows, columns = (slice((3 - size) // 2, (3 + size) // 2) for size in kernel.shape[2:])
        whole[:, :, rows, columns] = kernel
        wide.append((whole, bias))
    return wide


def test_the_old_network_is_left_as_it_was(rng):
    model, x = network(), rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before, state = model(x), model.state_dict()
    twin = delete(model, branches(model)[0][:3])
    assert not np.array_equal(twin(x), before)
    np.testing.assert_array_equal(model(x), before)
    assert all(np.array_equal(state[name], array) for name, array in model.state_dict().items())
    assert len(delete(model, []).state_dict()) == len(state)


def test_without_1x1_and_identity_a_network_is_the_plain_one(rng):
    model, x = network(), rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    plain = network("plain")
    plain.load_state_dict({name: array for name, array in model.state_dict().items() if name in plain.state_dict()})
    bare = delete(model, [branch for branch in branches(model)[0] if "rbr_dense" not in branch.norm])
    np.testing.assert_array_equal(rv.fuse(bare)(x), rv.fuse(plain)(x))


def test_a_residual_network_without_its_blocks_is_its_shortcuts(rng):
    for model in (network("residual-reorg"), Baseline(SMALL_NETWORKS["ResNet"], rng=rng).eval()):
        random_statistics(model, 1)
        found, others = branches(model)
        assert not any(branch.identity for branch in found) and set(others.values()) <= {0, 1}
        order = draw_order(model, "blocks", rng)
        assert order and all(others[those[0].block] == 1 for those in order)
        bare = delete(model, [branch for those in order for branch in those])
        for those in order:
            block = next(layer for name, layer in bare.named_layers() if name == those[0].block)
            channels = bare.state_dict()[f"{those[0].norm}.weight"].size
            x = np.abs(rng.normal(size=(1, channels, 4, 4))).astype(np.float32)
            np.testing.assert_array_equal(block(x), x)


@pytest.mark.parametrize("variant", ["repvgg", "no-identity", "acb"])
@pytest.mark.parametrize("seed", range(5))
def test_every_block_keeps_a_branch_and_as_many_go_as_can(variant, seed):
    model = network(variant)
    found, _ = branches(model)
    order = [those[0] for those in draw_order(model, "branches", np.random.default_rng(seed))]
    assert len(set(order)) == len(order) == len(found) - len({branch.block for branch in found})
    left = set(found) - set(order)
    assert sorted(branch.block for branch in left) == sorted({branch.block for branch in found})


def test_of_a_deleted_block_the_identity_stays():
    model = network()
    order = draw_order(model, "blocks", np.random.default_rng(0))
    with_identity = [name for name, block in model.blocks() if block.identity is not None]
    assert sorted(those[0].block for those in order) == sorted(with_identity)
    assert all(len(those) == 2 and not any(branch.identity for branch in those) for those in order)


def test_what_has_no_branches_to_delete_says_so():
    rng = np.random.default_rng(0)
    for model, kind, message in (
        (network("plain"), "branches", "model must have blocks of several branches"),
        (network("post-addition-bn"), "branches", "model must have blocks of several branches"),
        (network("acb"), "blocks", "model must have blocks with an identity branch"),
        (rv.fuse(network()), "branches", "model must be in training form"),
        (network(), "layers", "kind must be branches or blocks, got 'layers'"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_order(model, kind, rng)
    with pytest.raises(ValueError, match="those must be branches of the network, got stage"):
        delete(network("plain"), branches(network())[0])
