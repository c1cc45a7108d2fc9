"""The networks that the paper compares RepVGG with: its tables to the digit, their gradients, fusion and files."""

import dataclasses

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import network_cost
from repvgg_np.analysis.published import NOTES, TABLE_4, TABLE_5
from repvgg_np.bench import random_statistics
from repvgg_np.interop import read_npz, save_npz
from repvgg_np.layers import BatchNorm2d, Conv2d, Dropout, Linear, StochasticDepth, reseed
from repvgg_np.models import CONFIGS, Baseline, Config, Network
from repvgg_np.models.resnet import ResNetConfig
from repvgg_np.tables.networks import as_printed
from tests.gradients import assert_derivative
from tests.models.small_networks import SMALL_NETWORKS
from tests.models.test_models import PAPER

# Where counting, by the paper's own rounding, gives another number than it prints; analysis/published.py says why.
SLIPS = {
    "EfficientNet-B0": {"winograd": ("0.4", "-")},
    "EfficientNet-B3": {"winograd": ("1.8", "-"), "parameters": ("12.18", "12.19")},
    "RegNetX-3.2GF": {"winograd": ("2.6", "2.9")},
    "RegNetX-12GF": {"winograd": ("9.9", "10.9")},
    "ResNeXt-101": {"winograd": ("7.7", "7.9")},
}
# Parameters in training form (torchvision's and timm's), with the batch norms folded, and FLOPs.
COUNTED = {
    "ResNet-50": (25_557_032, 25_530_472, 4_089_184_256),
    "MobileNetV1": (4_231_976, 4_221_032, 568_740_352),
    "MobileNetV2": (3_504_872, 3_487_816, 300_774_272),
    "ShuffleNetV1-g3": (1_864_728, 1_852_488, 137_460_672),
    "ShuffleNetV2-x1.0": (2_278_604, 2_270_514, 144_907_992),
    "DenseNet-121": (7_978_856, 7_971_368, 2_834_161_664),
    "GoogLeNet": (6_624_904, 6_617_624, 1_498_376_192),
}
small_networks = pytest.mark.parametrize("kind", SMALL_NETWORKS)


def make_small(kind, rng, dtype=np.float64):
    """Make a small network with statistics as after a training, and pictures for it."""
    config = SMALL_NETWORKS[kind]
    model = Baseline(config, rng=rng, dtype=dtype)
    random_statistics(model, 1)
    return model, rng.normal(size=(2, 3, config.input_size, config.input_size)).astype(dtype)


def totals(name):
    model = rv.create_model(name, seed=None, form="inference")
    costs = network_cost(model)
    assert sum(cost.parameters for cost in costs) == model.count_parameters()
    return [sum(getattr(cost, key) for cost in costs) for key in ("parameters", "flops", "winograd_multiplications")]


@pytest.mark.parametrize(
    "row", [row for row in (*TABLE_4, *TABLE_5) if not row.text.startswith("RepVGG")], ids=lambda row: row.text
)
def test_the_papers_columns_are_what_counting_gives_but_for_those_that_it_did_not_count(row):
    assert printed_differently(row, *totals(row.model)) == SLIPS.get(row.text, {})
    assert row.text not in SLIPS or row.text in NOTES


@pytest.mark.parametrize(
    "row", [row for row in (*TABLE_4, *TABLE_5) if row.text.startswith("RepVGG")], ids=lambda row: row.text
)
def test_the_papers_columns_are_cut_off_and_rounded_from_the_digits_of_repvgg(row):
    _, parameters, flops, _, winograd = PAPER[row.model]
    assert printed_differently(row, parameters, flops, 1e9 * winograd) == {}


def printed_differently(row, parameters, flops, winograd):
    mine = as_printed({"parameters": parameters, "flops": flops, "winograd_multiplications": winograd})
    return {key: (mine[key], getattr(row, key)) for key in mine if mine[key] != getattr(row, key)}


@pytest.mark.parametrize("name", COUNTED)
def test_networks_that_are_not_in_the_papers_tables_cost_what_is_known_of_them(name):
    training, inference, flops = COUNTED[name]
    model = rv.create_model(name, seed=None)
    assert model.count_parameters() == training and sum(cost.parameters for cost in network_cost(model)) == training
    assert totals(name)[:2] == [inference, flops]


def test_depthwise_convolutions_are_never_counted_as_winograd():
    _, flops, winograd = totals("MobileNetV2")
    assert winograd == flops


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind == "ShuffleNetV2" else pytest.mark.slow_without_jit)
        for kind in SMALL_NETWORKS
    ],
)
def test_the_gradient_of_a_whole_network_along_a_random_direction_of_every_array(kind, rng):
    model, x = make_small(kind, rng)
    model.train()
    upstream = rng.normal(size=(2, 3))

    def loss():
        reseed(model, [5])  # dropout drops the same each time
        return float((model(x) * upstream).sum())

    loss()
    gradients = [(model.backward(upstream), x, "x")]
    gradients += [(p.grad.copy(), p.data, name) for name, p in model.named_parameters()]
    for gradient, array, name in gradients:
        assert_derivative(loss, [gradient], [array], rng, name)


@small_networks
def test_without_the_gradient_of_the_pictures_all_others_are_the_same(kind, rng):
    model, x = make_small(kind, rng)
    upstream, gradients = rng.normal(size=(2, 3)), []
    for wanted in (True, False):
        reseed(model, [5])
        model(x)
        assert (model.backward(upstream, input_gradient=wanted) is None) == (not wanted)
        gradients.append([parameter.grad.tobytes() for _, parameter in model.named_parameters()])
    assert gradients[0] == gradients[1]


@small_networks
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_folded_convolution_lies_under_its_bound(kind, dtype, rng):
    model, x = make_small(kind, rng, dtype)
    report = rv.verify_fusion(model, x)
    assert report.ok and 0 < report.max_error <= report.bound and report.same_classifier
    assert [block.name for block in report.blocks] == [name for name, _ in model.blocks()]
    assert len(report.blocks) == len(rv.fuse(model).blocks())
    assert model.training and not any("forward" in vars(layer) for _, layer in model.named_layers())


@small_networks
def test_after_fusion_no_batch_norm_is_left_but_densenets_that_stand_before_convolutions(kind, rng):
    model, x = make_small(kind, rng)
    fused = rv.fuse(model)
    left = [name for name, layer in fused.named_layers() if isinstance(layer, BatchNorm2d)]
    expected = [
        "features.denseblock1.denselayer1.norm1", "features.denseblock1.denselayer2.norm1", "features.transition1.norm",
        "features.denseblock2.denselayer1.norm1", "features.norm5",
    ]  # fmt: skip
    assert left == (expected if kind == "DenseNet" else [])
    assert fused.form == "inference" and not fused.training and model.training
    assert {name for name, _ in fused.blocks()} == {name for name, _ in model.blocks()}
    again = rv.fuse(fused)
    assert again(x).tobytes() == fused(x).tobytes()


@pytest.mark.parametrize("part", ["features.conv0.weight", "features.norm5.weight", "classifier.bias"])
def test_a_wrong_fused_form_is_found_wherever_it_is_wrong(part, rng):
    model, x = make_small("DenseNet", rng)
    fused = rv.fuse(model)
    state = fused.state_dict()
    state[part] = state[part] * 1.01
    fused.load_state_dict(state)
    report = rv.verify_fusion(model, x, fused)
    assert not report.ok and "NOT equal" in str(report)
    assert report.same_classifier == (part == "features.conv0.weight") == (f"{part} differs" not in str(report))


def test_a_fused_network_of_another_architecture_is_refused(rng):
    model, x = make_small("ResNet", rng)
    other, _ = make_small("ResNeXt", rng)
    with pytest.raises(ValueError, match="fused must have the same blocks and classes as model"):
        rv.verify_fusion(model, x, rv.fuse(other))


@small_networks
def test_the_same_seed_draws_the_same_bits_and_another_seed_others(kind):
    states = [Baseline(SMALL_NETWORKS[kind], rng=np.random.default_rng(seed)).state_dict() for seed in (3, 3, 4)]
    one, same, other = ({name: array.tobytes() for name, array in state.items()} for state in states)
    kernels = [name for name, array in states[0].items() if array.ndim > 1]
    assert one == same and all(one[name] != other[name] for name in kernels)
    assert all(array.dtype == np.float32 or name.endswith("tracked") for name, array in states[0].items())


def deviation(layer):
    return float(layer.weight.peek().std())


@pytest.mark.parametrize(
    ("name", "conv", "linear"),
    [
        # The rule for a kernel (C_out, C_in / groups, K, K), and for the classifier (C_out, C_in): deviations.
        ("ResNet-18", lambda o, i, k, g: np.sqrt(2 / (o * k * k)), lambda o, i: 1 / np.sqrt(3 * i)),
        ("RegNetX-3.2GF", lambda o, i, k, g: np.sqrt(2 / (o * k * k)), lambda o, i: 0.01),
        ("EfficientNet-B0", lambda o, i, k, g: np.sqrt(2 / (o * k * k)), lambda o, i: 1 / np.sqrt(3 * o)),
        ("MobileNetV1", lambda o, i, k, g: np.sqrt(2 * g / (o * k * k)), lambda o, i: 1 / np.sqrt(3 * o)),
        ("MobileNetV2", lambda o, i, k, g: np.sqrt(2 / (o * k * k)), lambda o, i: 0.01),
        ("ShuffleNetV1-g3", lambda o, i, k, g: 0.01 if i == 3 else 1 / i, lambda o, i: 0.01),
        ("ShuffleNetV2-x1.0", lambda o, i, k, g: 1 / np.sqrt(3 * i * k * k), lambda o, i: 1 / np.sqrt(3 * i)),
        ("DenseNet-121", lambda o, i, k, g: np.sqrt(2 / (i * k * k)), lambda o, i: 1 / np.sqrt(3 * i)),
        ("GoogLeNet", lambda o, i, k, g: 0.01, lambda o, i: 0.01),
    ],
)
def test_first_weights_have_the_deviation_of_their_authors_rule(name, conv, linear):
    model = rv.create_model(name, seed=0)
    for path, layer in model.named_layers():
        if not isinstance(layer, (Conv2d, Linear)):
            continue
        weight = layer.weight.peek()
        expected = linear(*weight.shape) if isinstance(layer, Linear) else conv(*weight.shape[:3], layer.groups)
        # The deviation of n normal numbers is off by about 1 / sqrt(2 n) of itself; six of them.
        assert abs(deviation(layer) / expected - 1) < 6 / np.sqrt(2 * weight.size), path


def test_vggs_classifier_is_drawn_with_its_own_deviation(rng):
    model = Baseline(dataclasses.replace(CONFIGS["VGG-16-BN"], hidden=64, num_classes=50), rng=rng)
    assert abs(deviation(model.body[3][0]) / 0.01 - 1) < 0.01 and not model.body[3][0].bias.peek().any()
    kernel = model.body[0][0]
    assert abs(deviation(kernel) / np.sqrt(2 / (64 * 9)) - 1) < 0.1 and not kernel.bias.peek().any()


def test_dropout_and_stochastic_depth_are_seeded_by_the_network_and_grow_with_depth():
    config = dataclasses.replace(SMALL_NETWORKS["EfficientNet"], dropout=0.5, stochastic_depth=0.6)
    x = np.random.default_rng(0).normal(size=(4, 3, 9, 9)).astype(np.float32)
    outs = [Baseline(config, rng=np.random.default_rng(seed))(x) for seed in (1, 1)]
    assert outs[0].tobytes() == outs[1].tobytes()
    model = Baseline(config, rng=np.random.default_rng(1))
    assert model(x).tobytes() != model(x).tobytes()
    assert model.eval()(x).tobytes() == model(x).tobytes()
    other = Baseline(config, rng=np.random.default_rng(2))
    drawn = [
        [layer.rng.random() for _, layer in network.named_layers() if isinstance(layer, (Dropout, StochasticDepth))]
        for network in (model, other)
    ]
    assert len({*drawn[0], *drawn[1]}) == 6  # each layer of each network has a stream of its own
    noise = [layer.probability for _, layer in model.named_layers() if isinstance(layer, (Dropout, StochasticDepth))]
    assert noise == [0, 0.6 * 1 / 3, 0.5]
    b0 = rv.create_model("EfficientNet-B0", seed=None)
    depths = [layer.probability for _, layer in b0.named_layers() if isinstance(layer, StochasticDepth)]
    assert len(depths) == 9 and depths == sorted(depths) and depths[-1] == pytest.approx(0.2 * 14 / 16)


@pytest.fixture
def listed(monkeypatch):
    """A small network in the list of models."""
    monkeypatch.setitem(CONFIGS, "DenseNet-small", SMALL_NETWORKS["DenseNet"])
    monkeypatch.setattr("repvgg_np.models.files.LEAST_FEATURES", 5)
    return "DenseNet-small"


@pytest.mark.parametrize("form", ["training", "inference"])
def test_a_saved_network_comes_back_bit_by_bit(form, listed, tmp_path, rng):
    model = rv.create_model("densenet-SMALL", num_classes=4, seed=1)
    random_statistics(model, 1)
    model.notes = {"classes": ["a", "b", "c", "d"]}
    model = rv.fuse(model) if form == "inference" else model.eval()
    rv.save(model, tmp_path / "model.npz")
    twin = rv.load(tmp_path / "model.npz")
    assert (twin.name, twin.form, twin.num_classes, twin.notes) == (listed, form, 4, model.notes)
    assert [name for name, _ in twin.blocks()] == [name for name, _ in model.blocks()]
    x = rng.normal(size=(1, 3, 17, 17)).astype(np.float32)
    assert not twin.training and twin(x).tobytes() == model(x).tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "DenseNet-huge"}, "is damaged: 'DenseNet-huge'"),
        ({"model": "RepVGG-tiny"}, "is damaged"),
        ({"model": "ResNet-18"}, "state does not belong to this network"),
        ({"num_classes": 10**9}, "more than the .* numbers that it holds"),
        ({"form": "melted"}, "form must be training or inference, got 'melted'"),
    ],
)
def test_a_file_that_is_no_network_of_ours_is_refused_with_the_reason(change, message, listed, tmp_path):
    path = tmp_path / "model.npz"
    rv.save(rv.create_model(listed, seed=1), path)
    arrays, facts = read_npz(path)
    save_npz(path, arrays, facts | change)
    with pytest.raises(ValueError, match=message):
        rv.load(path)


def test_a_network_without_a_name_is_not_saved(tmp_path, rng):
    model, _ = make_small("VGG", rng)
    with pytest.raises(ValueError, match="model must be one from the list of models to be saved, got one called None"):
        rv.save(model, tmp_path / "model.npz")


def test_the_inference_form_is_made_with_the_names_of_the_fused_one(listed):
    plain = rv.create_model(listed, seed=None, form="inference")
    assert plain.form == "inference" and not plain.training
    assert set(plain.state_dict()) == set(rv.fuse(rv.create_model(listed)).state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNetConfig(depths=(2, 0)), "every integer of a config must be at least 1, got ResNetConfig"),
        (lambda: rv.create_model("ResNet-18", 0), "num_classes must be an integer of at least 1, got 0"),
        (lambda: rv.create_model("ResNet-18", variant="dbb"), "variant .* ResNet-18 has none, got 'dbb'"),
        (lambda: rv.create_model("ResNet-18", variant="repvgg"), "variant .* ResNet-18 has none, got 'repvgg'"),
        (lambda: rv.create_model("ResNet-18", form="melted"), "form must be training or inference, got 'melted'"),
        (lambda: rv.create_model("ResNet-19"), "got 'ResNet-19'; did you mean .*ResNet-18"),
        (lambda: network_cost(rv.create_model("GoogLeNet", seed=None), 4), "x must be at least as large as the 3x3"),
        (lambda: rv.create_model("MobileNetV2", seed=None)(np.zeros((1, 1, 9, 9))), "x must have 3 channels, got 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_only_half_a_network_says_so():
    config = Config()
    for call in (
        lambda: config.body(1, np.float32),
        lambda: config.initialise(None, None),
        lambda: Network(config, None, np.float32, "training").blocks(),
    ):
        with pytest.raises(NotImplementedError):
            call()
