"""Every kind of block: what it computes, its gradients, and that its two forms are the same function."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repvgg_np as rv
from repvgg_np import reference
from repvgg_np.blocks import VARIANTS, Block, DiverseBranchBlock, FusedMobileOneBlock, MobileOneBlock
from repvgg_np.fusion_bound import fusion_bound
from tests import strategies
from tests.blocks.definitions import FOLDING, SHAPES, before_relu, make_blocks, make_exact, randomise
from tests.conftest import WITHOUT_JIT
from tests.exact import EPS
from tests.gradients import assert_gradients

few = settings(max_examples=2 if WITHOUT_JIT else 12)
# Difference quotients of every element: as plain Python, one shape has to do.
GRADIENT_SHAPES = [SHAPES[0], *(pytest.param(shape, marks=pytest.mark.slow_without_jit) for shape in SHAPES[1:])]
exact_shapes = st.sampled_from([*SHAPES, (1, 1, 1, 1), (3, 3, 1, 3), (2, 2, 2, 2)])


def inference_form(block, x):
    """Evaluate what a block says that it becomes, on fractions, up to the last ReLU."""
    total = 0
    for path in block.folds():
        out = x
        for number, fold in enumerate(path):
            out = reference.relu(out) if number else out
            kernel, bias = fold.kernel_and_bias()
            padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
            out = reference.conv2d(out, kernel, bias, (fold.stride, fold.stride), padding, fold.groups)
        total = total + out
    return total


@pytest.mark.parametrize("name", FOLDING)
@given(shape=exact_shapes, seed=strategies.seeds, height=st.integers(1, 4), width=st.integers(1, 3))
@few
def test_both_forms_of_a_block_are_equal_in_exact_arithmetic(name, shape, seed, height, width):
    rng = np.random.default_rng(seed)
    for block in make_blocks(name, shape, None):
        make_exact(block, rng)
        x = make_exact_pictures(rng, (1, block.in_channels, height, width))
        expected = before_relu(name, block.state_dict(), x, block.stride, block.groups, EPS)
        out = inference_form(block, x)
        assert out.dtype == object and (out == expected).all()


def make_exact_pictures(rng, shape):
    from tests.blocks.definitions import fractions

    return fractions(rng.integers(-9, 10, shape), rng.integers(1, 5, shape))


def test_a_depthwise_diverse_branch_block_is_equal_to_its_convolution_in_exact_arithmetic(rng):
    block = make_exact(DiverseBranchBlock(3, 3, 2, 3, rng=None, dtype=np.float64), rng)
    assert "dbb_1x1_kxk.conv1.weight" in block.state_dict() and "dbb_1x1.conv.weight" not in block.state_dict()
    x = make_exact_pictures(rng, (2, 3, 4, 3))
    assert (inference_form(block, x) == before_relu("dbb", block.state_dict(), x, 2, 3, EPS)).all()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_computes_its_formula(name, shape, rng):
    for block in make_blocks(name, shape, rng):
        randomise(block, rng).eval()
        x = rng.normal(size=(2, block.in_channels, 5, 4))
        expected = reference.relu(before_relu(name, block.state_dict(), x, block.stride, block.groups, 1e-5))
        # Neither is exact: in float64 both are off by less than this bound of a RepVGG block's size and more.
        tolerance = 1e-12 if name == "relu-in-branches" else fusion_bound(block, x)[0]
        assert (np.abs(block(x) - expected) <= tolerance).all()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shape", GRADIENT_SHAPES)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradients_of_a_block(name, shape, frozen, rng):
    for block in make_blocks(name, shape, rng):
        randomise(block, rng)
        for _, layer in block.named_layers():
            layer.frozen = frozen
        assert_gradients(block, rng.normal(size=(2, block.in_channels, 4, 3)), rng)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradients_of_a_depthwise_diverse_branch_block(frozen, rng):
    block = randomise(DiverseBranchBlock(2, 2, 1, 2, rng=rng, dtype=np.float64), rng)
    for _, layer in block.named_layers():
        layer.frozen = frozen
    assert_gradients(block, rng.normal(size=(2, 2, 4, 3)), rng)


@pytest.mark.parametrize("name", ["residual-reorg", "mobileone"])
@pytest.mark.parametrize("shape", GRADIENT_SHAPES)
def test_the_gradients_of_an_inference_form(name, shape, rng):
    for block in make_blocks(name, shape, rng):
        fused = randomise(block, rng).fused().train()
        assert_gradients(fused, rng.normal(size=(2, block.in_channels, 4, 3)), rng)


HOSTILE = {
    # What is done to the arrays whose names end so, and to the pictures.
    "ordinary": ({}, 1),
    "gammas of a million": ({"gamma": lambda a: 1e6 * a}, 1),
    "gammas near underflow": ({"gamma": lambda a: 1e-38 * a, "bias": lambda a: 1e-40 * a}, 1),
    "variances of 0": ({"running_var": lambda a: 0 * a}, 1),
    "huge variances": ({"running_var": lambda a: 1e30 * a}, 1),
    "means of a million": ({"running_mean": lambda a: 1e6 * a}, 1e-3),
    "kernels near underflow": ({"kernel": lambda a: 1e-38 * a}, 1),
    "tiny pictures": ({}, 1e-38),
    "huge pictures": ({}, 1e20),
}


def make_hostile(block, changes):
    """Change the arrays of a kind."""
    state = block.state_dict()
    for name, array in state.items():
        ending = name.rsplit(".", 1)[-1]
        kind = {"weight": "gamma" if array.ndim == 1 else "kernel"}.get(ending, ending)
        if kind in changes:
            state[name] = changes[kind](array).astype(array.dtype)
    block.load_state_dict(state)


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", FOLDING)
@given(
    shape=st.sampled_from([(3, 3, 1, 1), (4, 6, 1, 2), (5, 5, 2, 1), (6, 6, 1, 6), (17, 5, 1, 1)]),
    dtype=strategies.dtypes,
    seed=strategies.seeds,
    height=st.sampled_from([1, 2, 5]),
    width=st.sampled_from([1, 4]),
)
@settings(max_examples=6)
def test_both_forms_differ_by_no_more_than_the_rounding_bound(name, hostile, shape, dtype, seed, height, width):
    rng = np.random.default_rng(seed)
    changes, size = HOSTILE[hostile]
    for block in make_blocks(name, shape, rng, dtype):
        make_hostile(randomise(block, rng).eval(), changes)
        x = rng.normal(size=(2, block.in_channels, height, width)).astype(dtype) * dtype(size)
        out, fused = block(x), block.fused().eval()(x)
        bound, _ = fusion_bound(block, x)
        assert out.dtype == fused.dtype == dtype and out.shape == fused.shape == bound.shape
        assert np.isfinite(bound).all() and (np.abs(out - fused) <= bound).all()


@pytest.mark.parametrize("name", FOLDING)
def test_the_bound_of_every_kind_of_block_is_of_use(name, rng):
    for block in make_blocks(name, (8, 8, 1, 1), rng, np.float32):
        randomise(block, rng).eval()
        x = rng.normal(size=(2, 8, 6, 6)).astype(np.float32)
        share = np.abs(block(x) - block.fused().eval()(x)).max() / fusion_bound(block, x)[0].min()
        assert share > 1e-3, "the bound is more than a thousand times the error"


@pytest.mark.parametrize("name", FOLDING)
def test_fusing_leaves_a_block_as_it_is(name, rng):
    for block in make_blocks(name, (4, 4, 1, 1), rng):
        before = randomise(block, rng).state_dict()
        fused = block.fused()
        for _, parameter in fused.named_parameters():
            parameter.data[...] = 7
        assert all(before[key].tobytes() == array.tobytes() for key, array in block.state_dict().items())


def test_a_border_of_zeros_would_be_another_function_at_the_border_and_nowhere_else(rng):
    block = randomise(DiverseBranchBlock(2, 2, rng=rng, dtype=np.float64), rng).eval()
    x = rng.normal(size=(1, 2, 6, 5))
    out, bound = block(x), fusion_bound(block, x)[0]
    for _, layer in block.named_layers():
        if hasattr(layer, "border"):
            own = layer.forward
            layer.forward = lambda x, own=own: np.pad(own(x)[:, :, 1:-1, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1)))
    different = np.abs(block(x) - out) > bound
    assert not different[:, :, 1:-1, 1:-1].any()
    ring = np.ones((6, 5), bool)
    ring[1:-1, 1:-1] = False
    assert different[:, :, ring].any()


def test_relu_in_the_branches_does_not_fold_and_says_so(rng):
    block = make_blocks("relu-in-branches", (2, 2, 1, 1), rng)[0]
    for call in (block.fold, block.fused, block.branches, lambda: fusion_bound(block, np.ones((1, 2, 3, 3)))):
        with pytest.raises(ValueError, match="ReLU in its branches does not fold into one convolution"):
            call()


def test_adding_the_kernels_is_adding_the_branches_behind_which_one_batch_norm_stands(rng):
    (post,) = make_blocks("post-addition-bn", (3, 3, 1, 1), rng)
    (trivial,) = make_blocks("trivial-1x1", (3, 3, 1, 1), rng)
    own_names = {"rbr_dense.weight": "conv.weight", "rbr_1x1.weight": "conv.pointwise_weight"}
    state = randomise(post, rng).state_dict()
    trivial.load_state_dict({own_names.get(name, name): array for name, array in state.items()})
    x, upstream = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 5, 4))
    np.testing.assert_allclose(post(x), trivial(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(post.backward(upstream), trivial.backward(upstream), rtol=1e-9, atol=1e-11)
    gradients = dict(trivial.named_parameters())
    for name, parameter in post.named_parameters():
        np.testing.assert_allclose(
            parameter.grad, gradients[own_names.get(name, name)].grad, rtol=1e-9, atol=1e-11, err_msg=name
        )


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names(*convolutions, norms=()):
    return {f"{c}.weight" for c in convolutions} | {f"{n}.{part}" for n in norms for part in BATCH_NORM}


NAMES = {
    "no-identity": names("rbr_dense.conv", "rbr_1x1.conv", norms=("rbr_dense.bn", "rbr_1x1.bn")),
    "no-1x1": names("rbr_dense.conv", norms=("rbr_dense.bn", "rbr_identity")),
    "plain": names("rbr_dense.conv", norms=("rbr_dense.bn",)),
    "identity-without-bn": names("rbr_dense.conv", "rbr_1x1.conv", norms=("rbr_dense.bn", "rbr_1x1.bn")),
    "post-addition-bn": names("rbr_dense", "rbr_1x1", norms=("bn",)),
    "relu-in-branches": names("rbr_dense.conv", "rbr_1x1.conv", norms=("rbr_dense.bn", "rbr_1x1.bn", "rbr_identity")),
    "diracnet": names("conv", norms=("bn",)) | {"conv.alpha", "conv.beta"},
    "trivial": names("conv", norms=("bn",)),
    "acb": names("square_conv", "ver_conv", "hor_conv", norms=("square_bn", "ver_bn", "hor_bn")),
    "residual-reorg": names("conv1", "conv2", norms=("bn1", "bn2")),
    "dbb": names(
        *("dbb_origin.conv", "dbb_1x1.conv", "dbb_avg.conv", "dbb_1x1_kxk.idconv1", "dbb_1x1_kxk.conv2"),
        norms=(
            "dbb_origin.bn",
            "dbb_1x1.bn",
            "dbb_avg.bn.bn",
            "dbb_avg.avgbn",
            "dbb_1x1_kxk.bn1.bn",
            "dbb_1x1_kxk.bn2",
        ),
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_names_are_those_of_the_official_code(name, rng):
    (block,) = make_blocks(name, (4, 4, 1, 1), rng)
    assert set(block.state_dict()) == NAMES[name]


def test_the_names_of_mobileones_blocks_are_those_of_the_official_code(rng):
    depthwise, pointwise = make_blocks("mobileone", (4, 4, 1, 1), rng)
    branches = [f"rbr_conv.{copy}" for copy in range(4)]
    for block, more in ((depthwise, ["rbr_scale"]), (pointwise, [])):
        every = branches + more
        expected = names(*(f"{b}.conv" for b in every), norms=[f"{b}.bn" for b in every] + ["rbr_skip"])
        assert set(block.state_dict()) == expected
        assert set(block.fused().state_dict()) == {"reparam_conv.weight", "reparam_conv.bias"}
        assert isinstance(block.fused(), FusedMobileOneBlock)
    assert depthwise.fused().reparam.weight.data.shape == (4, 1, 3, 3)
    assert pointwise.fused().reparam.weight.data.shape == (4, 4, 1, 1)


def test_the_shortcut_of_a_residual_block_is_a_convolution_where_the_shape_changes(rng):
    for shape in ((2, 4, 1, 1), (2, 2, 2, 1)):
        (block,) = make_blocks("residual-reorg", shape, rng)
        expected = names("conv1", "conv2", "downsample.0", norms=("bn1", "bn2", "downsample.1"))
        assert set(block.state_dict()) == expected
        assert set(block.fused().state_dict()) == {
            f"{layer}.{part}" for layer in ("conv1", "conv2", "downsample") for part in ("weight", "bias")
        }


def test_what_keeps_for_backward_forgets_it_in_inference_mode(rng):
    for name in VARIANTS:
        for block in make_blocks(name, (2, 2, 1, 1), rng):
            x = rng.normal(size=(2, block.in_channels, 4, 3))
            block.train()(x)
            for _, layer in block.eval().named_layers():
                assert all(getattr(layer, kept, None) is None for kept in ("_x", "_out", "_kept", "_middle", "_shape"))
            for _, layer in block.named_layers():
                if hasattr(layer, "steps") and any(hasattr(layer, kept) for kept in ("_x", "_kept")):
                    with pytest.raises(ValueError, match="backward needs a forward pass in training mode before it"):
                        layer.backward(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: MobileOneBlock(2, 2, 5, rng=rng), "size must be 1 or 3, got 5"),
        (lambda rng: MobileOneBlock(2, 2, copies=0, rng=rng), "copies must be an integer of at least 1, got 0"),
        (lambda rng: VARIANTS["residual-reorg"].training([(2, 2, 1, 1), (2, 2, 1, 2)], rng=rng, dtype=np.float32),
         "both layers of a residual block must have the same groups, got 1 and 2"),
        (lambda rng: Block(2, 2).paths(), "Block does not say what it consists of"),
        (lambda rng: rv.create_model("RepVGG-tiny", variant="no-idenity"), "did you mean no-identity"),
        (lambda rng: rv.create_model("RepVGG-tiny", variant=7), "there are repvgg, no-identity"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(call, message, rng):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call(rng)
