"""The network in PyTorch and ours are one function: names, logits, the fused form, and the gradient of fusion."""

import numpy as np
import pytest
from hypothesis import given

from repvgg_np import fuse
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.fuse import fuse_branches
from repvgg_np.fuse_gradient import fuse_backward
from repvgg_np.kernels import conv2d, conv2d_backward
from repvgg_np.models import CONFIGS, RepVGG, RepVGGConfig
from tests import strategies
from tests.peers.random_state import randomise
from tests.peers.tolerance import (
    assert_same_results,
    block_bound,
    block_roundings,
    network_roundings,
    sensitivities,
)
from tests.peers.twin import TORCH_DTYPE, Block, Network, as_array, as_arrays, evaluate, load, make_twin, torch

pytestmark = pytest.mark.peers

NETWORKS = {
    # With and without an identity branch, at both strides, with 2 and 3 groups and a depthwise block.
    "grouped": RepVGGConfig((1, 2, 2, 1), (8, 8, 12, 16), (2, 1, 2, 1), {1: 2, 2: 8, 4: 3}, 16, 7),
    "two blocks in the first stage": RepVGGConfig((2, 1), (6, 10), (1, 2), {1: 3}, 12, 4),
    "RepVGG-tiny": CONFIGS["RepVGG-tiny"],
}
networks = pytest.mark.parametrize("name", NETWORKS)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def make(name, rng, dtype=np.float64):
    """Make one of the networks above, and pictures for it."""
    config = NETWORKS[name]
    model = randomise(RepVGG(config, rng=rng, dtype=dtype), rng)
    return model, rng.normal(size=(4, 3, config.input_size, config.input_size)).astype(dtype)


@networks
@dtypes
@pytest.mark.parametrize("form", ["training", "inference"])
def test_state_dicts_go_both_ways(name, dtype, form, rng):
    ours = RepVGG(NETWORKS[name], rng=rng, dtype=dtype, form=form)
    twin = Network(NETWORKS[name], form).to(TORCH_DTYPE[np.dtype(dtype)])
    theirs = as_arrays(twin.state_dict())
    assert {key: (a.shape, a.dtype) for key, a in theirs.items()} == {
        key: (a.shape, a.dtype) for key, a in ours.state_dict().items()
    }
    ours.load_state_dict(theirs)
    for key, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, theirs[key])
    state = randomise(ours, rng).state_dict()
    for key, tensor in load(twin, state).state_dict().items():
        np.testing.assert_array_equal(as_array(tensor), state[key])


@networks
@pytest.mark.parametrize("form", ["training", "inference"])
def test_in_inference_mode_the_logits_are_the_same(name, form, rng):
    model, x = make(name, rng)
    roundings = network_roundings(model, x)
    if form == "inference":
        model = fuse(model)
    twin = make_twin(model.eval())

    def logits(data):
        load(twin, {key: array for key, array in data.items() if key != "x"})
        return {"logits": evaluate(twin, data["x"])}

    data = {"x": x, **model.state_dict()}
    sensitivity = sensitivities(logits, data)
    assert_same_results({"logits": model(x)}, logits(data), sensitivity, roundings)


@networks
def test_the_fused_network_is_pytorchs_unfused_one(name, rng):
    model, x = make(name, rng)
    roundings = network_roundings(model, x)
    twin = make_twin(model.eval())

    def logits(data):
        load(twin, {key: array for key, array in data.items() if key != "x"})
        return {"logits": evaluate(twin, data["x"])}

    data = {"x": x, **model.state_dict()}
    assert_same_results({"logits": fuse(model)(x)}, logits(data), sensitivities(logits, data), roundings)


@networks
@dtypes
def test_every_block_is_pytorchs_within_its_rounding_bound(name, dtype, rng):
    # Block by block on the same input, because a rigorous bound for a whole network in float32 would say nothing: each
    # block multiplies the bound by the sum of the absolute values of its kernel, hundreds, and its output by about 1.
    model, x = make(name, rng, dtype)
    twin, fused = make_twin(model.eval()), fuse(model)
    for (path, block), (_, fused_block) in zip(model.blocks(), fused.blocks(), strict=True):
        bound = block_bound(block, x)
        theirs = evaluate(twin.get_submodule(path), x)
        out = block(x)
        assert out.dtype == theirs.dtype == dtype and out.shape == theirs.shape
        assert (np.abs(out - theirs) <= bound).all(), path
        assert (np.abs(fused_block(x) - theirs) <= bound).all(), path
        x = out


def differentiable_fusion(block):
    """The kernel and the bias of a block, as an expression of PyTorch's that its gradients pass through."""
    kernel, bias = 0, 0
    depth_in = block.rbr_dense.conv.weight.shape[1]
    branches = [(branch.conv.weight, branch.bn) for branch in (block.rbr_dense, block.rbr_1x1)]
    if block.rbr_identity is not None:
        channels = len(block.rbr_identity.weight)
        unit = torch.eye(depth_in, dtype=torch.float64).repeat(channels // depth_in, 1)
        branches.append((unit[:, :, None, None], block.rbr_identity))
    for weight, norm in branches:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        border = (3 - weight.shape[3]) // 2
        kernel = kernel + torch.nn.functional.pad(weight * scale[:, None, None, None], (border,) * 4)
        bias = bias + norm.bias - norm.running_mean * scale
    return kernel, bias


@given(strategies.block_shapes(), strategies.seeds)
def test_the_gradient_of_fusion_is_the_one_that_autograd_finds(shape, seed):
    rng = np.random.default_rng(seed)
    block = randomise(RepVGGBlock(*shape, rng=rng, dtype=np.float64), rng)
    x = rng.normal(size=(2, shape[0], 5, 4))
    stride, groups = shape[2:]
    twin = Block(*shape).double().eval()

    def gradients(data, through_branches=False):
        """Of half the sum of the squares of the outputs before the ReLU, whose gradient are the outputs themselves."""
        load(twin, {key: array for key, array in data.items() if key != "x"}).zero_grad()
        pictures = torch.from_numpy(data["x"].copy())
        if through_branches:
            out = sum(branch(pictures) for branch in twin.children())
        else:
            out = torch.nn.functional.conv2d(pictures, *differentiable_fusion(twin), stride, 1, groups=groups)
        (out.square().sum() / 2).backward()
        return {key: as_array(parameter.grad) for key, parameter in twin.named_parameters()}

    kernel, bias = fuse_branches(block.branches())
    out = conv2d(x, kernel, bias, stride, 1, groups)
    _, grad_kernel, grad_bias = conv2d_backward(out, x, kernel, stride, 1, groups)
    branches = [(w, n.gamma.peek(), n.running_mean, n.running_var, n.eps) for w, n in block.convolutions()]
    found = fuse_backward(grad_kernel, grad_bias, branches)
    ours = {}
    for (grad_weight, grad_gamma, grad_beta), branch in zip(
        found, ("rbr_dense", "rbr_1x1", "rbr_identity"), strict=False
    ):
        norm = branch if branch == "rbr_identity" else f"{branch}.bn"
        ours |= {f"{norm}.weight": grad_gamma, f"{norm}.bias": grad_beta}
        if branch != "rbr_identity":
            ours[f"{branch}.conv.weight"] = grad_weight
    data = {"x": x, **block.state_dict()}
    sensitivity = sensitivities(gradients, data)
    # Two convolutions one after the other (output, gradient of the kernel), Winograd's bound among them; fusing
    # takes 7 roundings, its gradient a sum over the kernel and 5 more.
    roundings = out[:, 0].size + block_roundings(block, x) + kernel[0].size + 12
    assert_same_results(ours, gradients(data), sensitivity, roundings)
    assert_same_results(ours, gradients(data, through_branches=True), sensitivity, roundings)
