"""Networks of every kind of block: sizes to the digit, files, and a training whose two forms are the same function."""

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import network_cost
from repvgg_np.blocks import VARIANTS
from repvgg_np.cli import main
from repvgg_np.interop import read_npz, save_npz
from repvgg_np.models import CONFIGS, RepVGG, RepVGGConfig
from repvgg_np.training import SGD, cross_entropy, describe_run
from tests.blocks.definitions import FOLDING
from tests.training.small import small_set

DEPTHS, WIDTHS, STRIDES = (1, 2, 3), (4, 4, 6), (1, 2, 1)


def small(name, seed=0, **options):
    config = RepVGGConfig(DEPTHS, WIDTHS, STRIDES, {}, 8, 3, name)
    return RepVGG(config, rng=np.random.default_rng(seed), **options)


# Tables 6 and 7 of the paper are of RepVGG-B0. The numbers are counted from the papers' descriptions.
TRAINING_PARAMETERS = {
    "repvgg": 15_817_960,
    "no-identity": 15_808_616,
    "no-1x1": 14_354_856,
    "plain": 14_345_512,
    "identity-without-bn": 15_808_616,
    "post-addition-bn": 15_795_688,
    "relu-in-branches": 15_817_960,
    "diracnet": 14_358_440,
    "trivial": 14_345_512,
    "acb": 23_072_424,
    "residual-reorg": 14_391_464,
}


@pytest.mark.parametrize("name", TRAINING_PARAMETERS)
def test_parameters_are_those_of_the_paper_to_the_digit(name):
    model = rv.create_model("RepVGG-B0", seed=None, variant=name)
    assert model.count_parameters() == TRAINING_PARAMETERS[name]
    assert sum(cost.parameters for cost in network_cost(model, 32)) == TRAINING_PARAMETERS[name]


def test_every_kind_that_folds_to_3x3_deploys_to_the_same_network():
    for name in set(FOLDING) - {"residual-reorg", "mobileone"}:
        model = rv.create_model("RepVGG-B0", seed=None, variant=name, form="inference")
        assert model.count_parameters() == 14_339_048
        assert sum(cost.flops for cost in network_cost(model)) == 3_057_600_512


def test_residual_reorg_has_the_layers_of_repvgg_in_2_3_and_8_blocks_between_two_single_ones():
    model = rv.create_model("RepVGG-B0", seed=None, variant="residual-reorg")
    assert [sum(name.startswith(f"stage{s}") for name, _ in model.blocks()) for s in range(5)] == [1, 2, 3, 8, 1]
    kernels = [p for _, p in model.named_parameters() if p.peek().shape[2:] == (3, 3)]
    assert len(kernels) == 28


def test_the_flops_of_a_block_are_those_of_its_convolutions():
    # 6 -> 6 channels on 8x8 pixels: 36 products for each pixel of a 1x1 kernel, 324 of a 3x3 one.
    config = {"depths": (1, 1), "widths": (6, 6), "strides": (1, 1), "input_size": 8}
    expected = {
        "repvgg": 324 + 36, "no-identity": 324 + 36, "no-1x1": 324, "plain": 324, "identity-without-bn": 324 + 36,
        "post-addition-bn": 324 + 36, "relu-in-branches": 324 + 36, "diracnet": 324, "trivial": 324,
        "trivial-1x1": 324, "acb": 324 + 2 * 108, "mobileone": 4 * 54 + 6,
    }  # fmt: skip
    for name, products in expected.items():
        costs = network_cost(RepVGG(RepVGGConfig(**config, block=name), rng=None))
        assert costs[1].flops == 64 * products, name
    # The Diverse Branch Block: 3x3, 1x1, 1x1 before an average, 1x1 before 3x3; at stride 2 the first 1x1s see all.
    strided = RepVGGConfig((1, 1), (6, 6), (1, 2), {}, 8, block="dbb")
    assert network_cost(RepVGG(strided, rng=None))[1].flops == 16 * (324 + 36 + 324) + 64 * (36 + 36)
    strided = RepVGGConfig((1, 2), (6, 6), (1, 2), {}, 8, block="residual-reorg")
    for form, extra in (("training", 36), ("inference", 36)):
        assert network_cost(RepVGG(strided, rng=None, form=form))[1].flops == 16 * (324 + 324 + extra)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("form", ["training", "inference"])
def test_a_saved_network_of_any_kind_comes_back_bit_by_bit(name, form, tmp_path, rng):
    model = small(name).eval()
    if form == "inference":
        if name not in FOLDING:
            return
        model = rv.fuse(model)
    rv.save(model, tmp_path / "model.npz")
    twin = rv.load(tmp_path / "model.npz")
    assert (twin.config, twin.form) == (model.config, form)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    assert twin(x).tobytes() == model(x).tobytes()


def test_a_file_from_before_there_were_variants_is_of_repvgg_blocks(tmp_path):
    path = tmp_path / "model.npz"
    rv.save(rv.create_model("RepVGG-tiny"), path)
    arrays, facts = read_npz(path)
    del facts["config"]["block"]
    save_npz(path, arrays, facts)
    assert rv.load(path).config.block == "repvgg" and rv.load(path).name == "RepVGG-tiny"
    facts["config"]["block"] = "melted"
    save_npz(path, arrays, facts)
    with pytest.raises(ValueError, match="is damaged: variant must be a known kind of block, got 'melted'"):
        rv.load(path)


def test_a_variant_of_a_named_network_keeps_its_name_in_a_file(tmp_path):
    model = rv.create_model("RepVGG-tiny", variant="mobileone")
    rv.save(model, tmp_path / "model.npz")
    twin = rv.load(tmp_path / "model.npz")
    assert twin.name == "RepVGG-tiny" and twin.config.block == "mobileone"


def test_a_run_is_described_with_its_variant_but_as_ever_for_repvgg():
    sets = [small_set(4, 1), small_set(4, 2)]
    described = {n: describe_run(small(n), *sets, np.zeros(3), np.ones(3))["architecture"] for n in ("repvgg", "plain")}
    assert "block" not in described["repvgg"] and described["plain"] == described["repvgg"] + ", block plain"


# As plain Python, those that differ most from one another have to do.
IN_SHORT = ("dbb", "residual-reorg")
folding = pytest.mark.parametrize(
    "name", [name if name in IN_SHORT else pytest.param(name, marks=pytest.mark.slow_without_jit) for name in FOLDING]
)


BOTH_FORMS = [*((name, "training") for name in VARIANTS), ("repvgg", "inference"), ("residual-reorg", "inference")]


@pytest.mark.parametrize(("name", "form"), BOTH_FORMS)
def test_without_the_gradient_of_the_pictures_all_others_are_the_same(name, form, rng):
    model = small(name, form=form).train()
    x, upstream = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 8, 8), (2, 3)))
    gradients = []
    for wanted in (True, False):
        model(x)
        assert (model.backward(upstream, input_gradient=wanted) is None) == (not wanted)
        gradients.append([parameter.grad.tobytes() for _, parameter in model.named_parameters()])
    assert gradients[0] == gradients[1]


@folding
def test_a_trained_network_of_any_kind_is_the_same_function_when_fused(name, rng):
    model = small(name)
    x, y = rng.normal(size=(8, 3, 8, 8)).astype(np.float32), rng.integers(0, 3, 8)
    optimizer, losses = SGD(model.named_parameters(), 0.05), []
    for _ in range(6):
        loss, grad = cross_entropy(model(x), y)
        losses.append(loss)
        model.backward(grad)
        optimizer.step()
    assert losses[-1] < losses[0]
    test = rng.normal(size=(16, 3, 8, 8)).astype(np.float32)
    report = rv.verify_fusion(model, test)
    assert report.ok and report.changed_predictions == 0 and 0 < report.max_error <= report.bound
    assert [block.name for block in report.blocks] == [block_name for block_name, _ in model.blocks()]


@folding
def test_a_wrong_fusion_is_found_in_any_kind_of_network(name, rng):
    model = small(name).eval()
    fused = rv.fuse(model)
    last = fused.blocks()[-1][0]
    state = fused.state_dict()
    bias = next(key for key in state if key.startswith(last) and key.endswith("bias"))
    fused.load_state_dict(state | {bias: state[bias] + 1})
    report = rv.verify_fusion(model, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), fused)
    assert not report.ok and report.worst.name == last


def test_relu_in_the_branches_is_refused_by_all_that_fuses_and_the_block_is_named(tmp_path, capsys):
    model = small("relu-in-branches")
    x = np.zeros((1, 3, 8, 8), np.float32)
    for call in (lambda: rv.fuse(model), lambda: rv.verify_fusion(model, x)):
        with pytest.raises(
            ValueError, match=r"stage0 cannot be fused: a block with ReLU in its branches does not fold"
        ):
            call()
    with pytest.raises(ValueError, match="form must be training for the variant relu-in-branches"):
        small("relu-in-branches", form="inference")
    rv.save(model, tmp_path / "model.npz")
    assert main(["fuse", str(tmp_path / "model.npz")]) == 2
    assert "stage0 cannot be fused" in capsys.readouterr().err


def test_a_network_is_not_compared_with_one_of_another_kind():
    with pytest.raises(ValueError, match="fused must have the same blocks"):
        rv.verify_fusion(small("plain"), np.zeros((1, 3, 8, 8), np.float32), rv.fuse(small("no-1x1")))


def test_the_groups_of_g2_networks_go_to_mobileones_pointwise_blocks_and_are_refused_in_residual_ones():
    config = RepVGGConfig((1, 2), (4, 8), (1, 1), {2: 2}, 8, 3, "mobileone")
    model = RepVGG(config, rng=np.random.default_rng(0))
    assert [block.groups for _, block in model.blocks()] == [1, 4, 1, 8, 2]
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    assert rv.verify_fusion(model, x).ok
    with pytest.raises(ValueError, match="must have the same groups"):
        rv.create_model("RepVGG-B1g2", seed=None, variant="residual-reorg")


def test_train_and_summary_know_the_variants(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(CONFIGS, "RepVGG-small", RepVGGConfig((1, 1), (3, 4), (4, 4), {}, 32, 10))
    folder = tmp_path / "run"
    options = ["--epochs", "1", "--batch-size", "8", "--limit", "8", "--out", str(folder)]
    assert main(["train", "--model", "RepVGG-small", "--variant", "no-1x1", *options]) == 0
    assert rv.load(folder / "model.npz").config.block == "no-1x1"
    capsys.readouterr()
    assert main(["summary", "RepVGG-tiny", "--variant", "mobileone"]) == 0
    assert "RepVGG-tiny with mobileone blocks" in capsys.readouterr().out
    assert main(["summary", "RepVGG-tiny", "--variant", "moblieone"]) == 2
    assert "did you mean mobileone" in capsys.readouterr().err
