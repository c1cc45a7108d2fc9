"""The paper's thirteen networks, ours and timm's: the same names, logits, fused kernels and fused logits.

With `-s`, a line for each network is printed: a row of a table.
"""

from dataclasses import replace

import numpy as np
import pytest

from repvgg_np import create_model, fuse
from repvgg_np.interop import official_names, timm_names
from repvgg_np.rounding import gamma
from tests.peers.random_state import randomise
from tests.peers.tolerance import absolute_kernel_and_bias, block_bound
from tests.peers.twin import as_array, as_arrays, evaluate, load, torch

timm = pytest.importorskip("timm")
reparameterize_model = pytest.importorskip("timm.utils.model").reparameterize_model

pytestmark = pytest.mark.peers

PAPER = ("A0", "A1", "A2", "B0", "B1", "B1g2", "B1g4", "B2", "B2g2", "B2g4", "B3", "B3g2", "B3g4")
DRAWS = 8


def make_timm_network(name):
    """Make timm's network; it has no g2 ones, which its classes make of the g4 ones."""
    kind = f"repvgg_{name.lower()}"
    if not name.endswith("g2"):
        return timm.create_model(kind)
    from timm.models.byobnet import ByobNet, model_cfgs

    config = model_cfgs[f"{kind[:-1]}4"]
    # Every second block has groups, as in the g4 networks; the size of a group is asked for, not the number.
    halves = [replace(block, gs=lambda channels, i: channels // 2 if i % 2 else 0) for block in config.blocks]
    return ByobNet(replace(config, blocks=tuple(halves)))


def timm_path(name):
    """The name that timm has for a block."""
    suffix = "rbr_dense.conv.weight"
    (timm_name,) = timm_names({f"{name}.{suffix}": None})
    return timm_name.removesuffix(".conv_kxk.conv.weight")


def largest(array):
    return float(np.abs(array).max())


def blocks_differences(ours, fused, net, fused_net, x):
    """Give every block of the four networks the same input; check each difference of an output against its bound.

    Returns the differences of the unfused and of the fused blocks, by timm's names, and the largest share of a bound.
    """
    unfused_errors, fused_errors, share = {}, {}, 0
    for (name, block), (_, fused_block) in zip(ours.blocks(), fused.blocks(), strict=True):
        path, bound, out = timm_path(name), block_bound(block, x), block(x)
        pairs = (
            (unfused_errors, out, evaluate(net.get_submodule(path), x)),
            (fused_errors, fused_block(x), evaluate(fused_net.get_submodule(path), x)),
        )
        for errors, mine, theirs in pairs:
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
            errors[path] = np.abs(mine - theirs)
            share = max(share, float((errors[path] / bound).max()))
            assert (errors[path] <= bound).all(), path
        x = out
    return unfused_errors, fused_errors, share


def fused_kernels_difference(ours, fused, fused_net):
    """Compare the fused kernels and biases, number by number, with what rounding explains.

    A kernel is made by 4 roundings of each branch's numbers and 2 additions, a bias by 5 and 2, in either program: each
    is off by at most gamma_6 and gamma_7 of the sum over absolute values. Returns the largest difference of a kernel,
    the bound for that number, and the largest share of a bound.
    """
    theirs = official_names(as_arrays(fused_net.state_dict()))
    assert set(theirs) == set(fused.state_dict())
    error, its_bound, share = 0, 0, 0
    for (name, block), (_, fused_block) in zip(ours.blocks(), fused.blocks(), strict=True):
        for part, total, roundings in zip(("weight", "bias"), absolute_kernel_and_bias(block), (6, 7), strict=True):
            # The sums over absolute values went through as many roundings themselves.
            bound = 2 * gamma(roundings, total.dtype) * (1 + gamma(roundings, total.dtype)) * total.astype(np.float64)
            mine = fused_block.state_dict()[f"rbr_reparam.{part}"]
            off = np.abs(mine.astype(np.float64) - theirs[f"{name}.rbr_reparam.{part}"])
            assert (off <= bound).all(), f"{name} {part}"
            share = max(share, float((off[bound > 0] / bound[bound > 0]).max()))
            if part == "weight" and off.max() > error:
                error, its_bound = float(off.max()), float(bound.flat[off.argmax()])
    return error, its_bound, share


def assert_logits_explained(ours, net, x, block_errors):
    """Check that logits differ by no more than the differences of the single blocks lead one to expect.

    Each block's own difference, for the same input, is within its rounding bound. Here as much, with random signs, is
    added to what every block of timm's returns: by how much the logits move then, as a mean square over all logits and
    draws, says how much rounding of that size moves them; with it, the classifiers' own difference. Eight times that is
    out of rounding's reach.
    """
    rng = np.random.default_rng(2)
    theirs = evaluate(net, x)
    moves = []
    for _ in range(DRAWS):
        hooks = []
        for path, error in block_errors.items():
            noise = torch.from_numpy(error * rng.choice(np.float32([-1, 1]), error.shape))
            hook = net.get_submodule(path).register_forward_hook(lambda module, inputs, out, noise=noise: out + noise)
            hooks.append(hook)
        moves.append(evaluate(net, x) - theirs)
        for hook in hooks:
            hook.remove()
    expected = np.sqrt(np.mean(np.square(moves)) + np.mean(np.square(classifiers_difference(ours, net, x))))
    assert largest(ours(x) - theirs) <= 8 * expected


def classifiers_difference(ours, net, x):
    """Give both classifiers, with the average over the picture, the same input; check the difference's bound."""
    with torch.no_grad():
        features = as_array(net.forward_features(torch.from_numpy(x)))
    mine, theirs = ours.linear(ours.pool(features)), evaluate(net.head, features)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    weight, bias = as_array(net.head.fc.weight), as_array(net.head.fc.bias)
    # Sums of products of numbers that are not negative (after ReLU) and weights; the two sums' terms, and the bias.
    terms = features.mean(axis=(2, 3)) @ np.abs(weight).T + np.abs(bias)
    assert (np.abs(mine - theirs) <= 2 * gamma(features[0, 0].size + weight.shape[1] + 2, x.dtype) * terms).all()
    return mine - theirs


@pytest.mark.parametrize("name", PAPER)
def test_timms_network_is_ours_unfused_and_fused(name, rng):
    ours = randomise(create_model(f"RepVGG-{name}", seed=None), rng).eval()
    x = rng.normal(size=(1, 3, 64, 64)).astype(np.float32)
    net = load(make_timm_network(name).eval(), timm_names(ours.state_dict()))
    logits, theirs = ours(x), evaluate(net, x)
    scale = largest(theirs)
    assert 0.05 < scale < 50  # activations neither vanished nor exploded: the comparison means something
    fused, fused_net = fuse(ours), reparameterize_model(net)
    fused_logits, fused_theirs = fused(x), evaluate(fused_net, x)
    kernel_error, kernel_bound, kernel_share = fused_kernels_difference(ours, fused, fused_net)
    unfused_errors, fused_errors, share = blocks_differences(ours, fused, net, fused_net, x)
    unfused, after = largest(logits - theirs) / scale, largest(fused_logits - fused_theirs) / scale
    print(
        f"\n| RepVGG-{name} | {unfused:.1e} | {after:.1e} | {kernel_error:.1e} | {kernel_bound:.1e} "
        f"| {kernel_share:.0%} | {share:.1%} |"
    )
    assert_logits_explained(ours, net, x, unfused_errors)
    assert_logits_explained(fused, fused_net, x, fused_errors)


@pytest.mark.parametrize("name", ["A0", "B1g2", "B1g4"])
def test_timms_own_weights_are_read_under_official_names(name):
    torch.manual_seed(0)
    state = as_arrays(make_timm_network(name).state_dict())
    ours = create_model(f"RepVGG-{name}", seed=None)
    ours.load_state_dict(official_names(state))
    there_and_back = timm_names(ours.state_dict())
    assert set(there_and_back) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(there_and_back[key], array)
