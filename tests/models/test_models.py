"""The networks of the paper: their sizes to the digit, their names, their gradients, their files."""

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import network_cost
from repvgg_np.interop import read_npz, save_npz
from repvgg_np.models import CONFIGS, RepVGG, RepVGGConfig
from tests.gradients import assert_gradients

# Training and inference parameters, FLOPs in inference and training form, Winograd multiplications in thousand
# millions.
PAPER = {
    "RepVGG-A0": (9_108_968, 8_309_384, 1_361_451_008, 1_512_581_120, 0.747),
    "RepVGG-A1": (14_092_264, 12_789_864, 2_363_967_488, 2_626_488_320, 1.272),
    "RepVGG-A2": (28_210_600, 25_499_944, 5_116_951_552, 5_685_345_280, 2.660),
    "RepVGG-B0": (15_817_960, 14_339_048, 3_057_600_512, 3_397_191_680, 1.580),
    "RepVGG-B1": (57_415_016, 51_829_480, 11_815_485_440, 13_128_089_600, 5.907),
    "RepVGG-B1g2": (45_782_376, 41_360_104, 8_809_742_336, 9_788_375_040, 4.571),
    "RepVGG-B1g4": (39_966_056, 36_125_416, 7_306_870_784, 8_118_517_760, 3.903),
    "RepVGG-B2": (89_022_376, 80_315_112, 18_376_609_792, 20_418_170_880, 9.144),
    "RepVGG-B2g2": (70_846_376, 63_956_712, 13_680_136_192, 15_199_866_880, 7.057),
    "RepVGG-B2g4": (61_758_376, 55_777_512, 11_331_899_392, 12_590_714_880, 6.013),
    "RepVGG-B3": (123_085_288, 110_960_872, 26_208_882_688, 29_120_696_320, 12.914),
    "RepVGG-B3g2": (96_911_848, 87_404_776, 19_445_960_704, 21_606_338_560, 9.909),
    "RepVGG-B3g4": (83_825_128, 75_626_728, 16_064_499_712, 17_849_159_680, 8.406),
}
SMALL = RepVGGConfig((1, 1, 2), (2, 2, 3), (1, 2, 1), {3: 3}, 8, 3)


@pytest.mark.parametrize("name", PAPER)
def test_parameters_and_flops_are_those_of_the_paper_to_the_digit(name):
    training, inference, flops, training_flops, winograd = PAPER[name]
    forms = [rv.create_model(name, seed=None, form=form) for form in ("training", "inference")]
    assert [model.count_parameters() for model in forms] == [training, inference]
    assert [sum(cost.flops for cost in network_cost(model)) for model in forms] == [training_flops, flops]
    costs = network_cost(forms[1])
    assert round(sum(cost.winograd_multiplications for cost in costs) / 1e9, 3) == winograd
    assert sum(cost.parameters for cost in costs) == inference


def test_the_cifar_family_has_the_published_inference_parameters():
    published = {"A0": 372_690, "A1": 629_962, "A2": 1_357_002, "B1": 2_821_322, "B2": 4_404_938, "B3": 6_228_618}
    for letter, count in published.items():
        assert rv.create_model(f"RepVGG-{letter}-CIFAR", seed=None, form="inference").count_parameters() == count
    assert rv.create_model("RepVGG-A0-CIFAR", seed=None).count_parameters() == 418_146


@pytest.mark.parametrize("name", [f"RepVGG-W{number}-CIFAR" for number in (1, 2, 3, 4, 5)])
def test_the_wide_family_fills_vector_registers_and_ends_at_8x8_pixels(name):
    config = CONFIGS[name]
    assert all(width % 16 == 0 for width in config.widths)
    assert network_cost(rv.create_model(name, seed=None, form="inference"))[-2].out_shape == (config.widths[-1], 8, 8)


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if isinstance(config, RepVGGConfig)])
def test_the_layer_costs_follow_the_picture_through_the_network(name):
    model = rv.create_model(name, seed=None, form="inference")
    costs = network_cost(model)
    assert costs[-1].out_shape == (model.num_classes,)
    strides = int(np.prod(model.config.strides))
    assert costs[-2].out_shape[1] == -(-model.config.input_size // strides)


def test_every_second_layer_of_the_grouped_networks_has_groups_and_none_of_them_strides():
    model = rv.create_model("RepVGG-B1g4", seed=None)
    groups = [block.groups for _, block in model.blocks()]
    assert [i for i, g in enumerate(groups) if g == 4] == list(range(2, 27, 2)) and set(groups) == {1, 4}
    assert all(block.stride == 1 for _, block in model.blocks() if block.groups == 4)


def test_names_are_case_insensitive_and_a_wrong_one_is_told_the_nearest():
    assert rv.create_model("repvgg-TINY").name == "RepVGG-tiny"
    assert "RepVGG-A0" in rv.list_models() and "RepVGG-A0-CIFAR" in rv.list_models()
    with pytest.raises(ValueError, match="got 'RepVGG-A9'; did you mean .*RepVGG-A0"):
        rv.create_model("RepVGG-A9")
    with pytest.raises(ValueError, match="there are RepVGG-A0"):
        rv.create_model("?")


def test_the_same_seed_draws_the_same_bits_and_another_seed_others():
    one, same, other = (rv.create_model("RepVGG-tiny", seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(one[name].tobytes() == same[name].tobytes() for name in one)
    assert one["linear.weight"].tobytes() != other["linear.weight"].tobytes()


def test_the_gradients_of_a_whole_network_element_by_element(rng):
    model = RepVGG(SMALL, rng=rng, dtype=np.float64)
    for name, parameter in model.named_parameters():
        if name.endswith("bn.bias"):
            parameter.data[...] = rng.normal(size=parameter.data.shape)
    assert_gradients(model, rng.normal(size=(3, 3, 6, 5)), rng)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_fused_network_is_in_inference_mode_and_the_old_one_is_untouched(mode, rng):
    model = getattr(RepVGG(SMALL, rng=rng), mode)()
    before, training = model.state_dict(), model.training
    fused = rv.fuse(model)
    assert not fused.training and fused.form == "inference" and model.training == training
    assert all(before[name].tobytes() == array.tobytes() for name, array in model.state_dict().items())
    assert {name.rsplit(".", 2)[-2] for name in fused.state_dict()} == {"rbr_reparam", "linear"}


def test_fusing_a_fused_network_changes_nothing(rng):
    fused = rv.fuse(RepVGG(SMALL, rng=rng))
    again = rv.fuse(fused)
    assert all(again.state_dict()[name].tobytes() == array.tobytes() for name, array in fused.state_dict().items())


@pytest.mark.parametrize("form", ["training", "inference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_network_comes_back_bit_by_bit(form, dtype, tmp_path, rng):
    model = RepVGG(SMALL, rng=rng, dtype=dtype)
    model.notes = {"classes": ["a", "b", "c"], "mean": [0.1, 0.2, 0.3]}
    model = rv.fuse(model) if form == "inference" else model.eval()
    rv.save(model, tmp_path / "model.npz")
    twin = rv.load(tmp_path / "model.npz")
    assert (twin.form, twin.dtype, twin.notes, twin.training) == (form, dtype, model.notes, False)
    x = rng.normal(size=(2, 3, 8, 8)).astype(dtype)
    assert twin(x).tobytes() == model(x).tobytes()
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(*(m.state_dict().values() for m in (model, twin)), strict=True)
    )
    assert set(rv.load_weights(tmp_path / "model.npz")) == set(model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, facts: facts.pop("format"), "is not a model that repvgg_np saved"),
        (lambda arrays, facts: facts.pop("config"), "is damaged: 'config'"),
        (lambda arrays, facts: facts.update(model="RepVGG-A0"), "says that it is a RepVGG-A0, but describes another"),
        (lambda arrays, facts: facts.update(dtype="int8"), "dtype must be float32 or float64, got 'int8'"),
        (lambda arrays, facts: facts.update(form="melted"), "form must be training or inference, got 'melted'"),
        (lambda arrays, facts: facts.update(notes=[]), "its notes are not a dict"),
        (lambda arrays, facts: facts.update(num_classes=4), r"must have the shape \(4, 3\)"),
        (lambda arrays, facts: facts["config"].update(widths=[10**6] * 3), "more than the .* numbers that it holds"),
        (lambda arrays, facts: facts["config"].update(widths=[0, 1, 1]), "must be an integer of at least 1"),
        (lambda arrays, facts: facts["config"].update(depths=[1]), "depths, widths and strides must be as many"),
        (lambda arrays, facts: facts["config"].update(groups={"x": 2}), "is damaged"),
        (lambda arrays, facts: arrays.pop("linear.bias"), "it lacks linear.bias"),
    ],
)
def test_a_file_that_is_no_network_of_ours_is_refused_with_the_reason(change, message, tmp_path, rng):
    path = tmp_path / "model.npz"
    rv.save(RepVGG(SMALL, rng=rng), path)
    arrays, facts = read_npz(path)
    change(arrays, facts)
    save_npz(path, arrays, facts)
    with pytest.raises(ValueError, match=message):
        rv.load(path)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 4, 8, 8), np.float32), "x must have 3 channels, got 4"),
        (np.zeros((1, 3, 8, 8)), "x must be float32 like the network, got float64"),
        (np.zeros((3, 8, 8), np.float32), r"x must be an array of shape \(N, 3, H, W\), got \(3, 8, 8\)"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "x must hold finite numbers only, got nan"),
        (np.full((1, 3, 8, 8), -np.inf, np.float32), "x must hold finite numbers only, got -inf"),
        ("cat.png", r"x must be an array of shape \(N, 3, H, W\), got str"),
    ],
)
def test_pictures_that_do_not_fit_are_refused_by_name(x, message, rng):
    with pytest.raises(ValueError, match=message):
        RepVGG(SMALL, rng=rng)(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be an integer of at least 1, got 0"),
        ({"num_classes": 2.5}, "num_classes must be an integer of at least 1, got 2.5"),
        ({"dtype": np.float16}, "dtype must be float32 or float64, got float16"),
        ({"form": "melted"}, "form must be training or inference, got 'melted'"),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        rv.create_model("RepVGG-tiny", **options)


def test_the_cost_of_a_picture_of_no_size_is_refused(rng):
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        network_cost(RepVGG(SMALL, rng=rng), 0)
