"""Inference, training, layers, GEMM and scaling: who takes part, what is compared, and what is refused."""

from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from repvgg_np.analysis import network_cost
from repvgg_np.bench import (
    bench_gemm,
    bench_inference,
    bench_layers,
    bench_scaling,
    bench_training,
    contest,
    gemm,
    scaling,
)
from repvgg_np.bench import peers as all_peers
from repvgg_np.bench import training as bench_training_module
from repvgg_np.bench.contest import OURS, Contestant, run_contest
from repvgg_np.bench.inference import BRANCHES, FUSED, UNFUSED
from repvgg_np.bench.layers import distinct_layers
from repvgg_np.bench.plain import NOT_PLAIN, make_model, make_pair, plain_network
from repvgg_np.bench.scaling import slopes
from repvgg_np.kernels import get_num_threads
from repvgg_np.models import create_model


@pytest.fixture
def timetable(monkeypatch):
    """Replace the stopwatch: every contestant's times are given."""

    def install(times):
        def time_side_by_side(functions, repeats, pause=0, title=None):
            return {name: times.get(name, [1.0]) for name in functions}

        monkeypatch.setattr(contest, "time_side_by_side", time_side_by_side)

    return install


def test_ratios_are_medians_divided_by_ours_and_the_peak_is_the_fastest(timetable, monkeypatch):
    monkeypatch.setattr(contest, "Peak", lambda threads: SimpleNamespace(flops=8 * 10**9))
    timetable({"a": [2.0, 1.0, 9.0], "b": [8.0, 4.0, 4.0], "c": [6.0], "FMA peak": [4.0, 2.0, 3.0]})
    contestants = [Contestant("a", None, ours=True), Contestant("b", None), Contestant("c", None, "how")]
    result = run_contest(contestants, 3, flops=10**9)
    rows = result["contestants"]
    assert [rows[name]["ratio"] for name in "abc"] == [1, 2, 3] and rows["a"]["quartiles"] == [1.5, 5.5]
    assert result["fastest_peer"] == "b" and result["ratio_to_fastest_peer"] == 2
    assert rows["a"]["gflops"] == 0.5 and rows["c"]["note"] == "how" and rows["a"]["seconds"] == [2, 1, 9]
    assert result["peak_gflops"] == 4 and result["slowdown"] == 1.5 and rows["a"]["percent_of_peak"] == 12.5


def test_inference_of_the_fused_network_is_compared_with_its_branches_and_with_peers(direct_peer):
    peer = direct_peer()
    result = bench_inference("repvgg-SMALL", 2, repeats=1)
    rows = result["contestants"]
    assert list(rows) == [FUSED, BRANCHES, "PyTorch"] and peer.threads == [get_num_threads()]
    assert rows["PyTorch"]["note"] == "quick"  # the faster variant
    assert result["model"] == "RepVGG-small" and result["size"] == 16 and result["left_out"] == {}
    cost = sum(layer.flops for layer in network_cost(create_model("RepVGG-small", form="inference")))
    assert rows[FUSED]["gflops"] == pytest.approx(2 * 2 * cost / rows[FUSED]["median"] / 1e9)
    for row in rows.values():
        assert row["difference"] <= row["tolerance"] and min(row["seconds"]) > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"error": 0.1}, "the outputs don't agree: PyTorch differs from ours by"),
        ({"failure": RuntimeError("no C++ compiler\nand 50 lines")}, "RuntimeError: no C++ compiler"),
        ({"package": "no_such_package"}, "not installed"),
    ],
)
def test_a_peer_that_errs_fails_or_is_absent_is_left_out_and_the_line_says_why(options, reason, direct_peer):
    direct_peer(**options)
    for result in (
        bench_inference("RepVGG-small", 1, repeats=1),
        bench_layers("RepVGG-small", 1, repeats=1)["layers"][0],
    ):
        assert "PyTorch" not in result["contestants"] and result["left_out"]["PyTorch"].startswith(reason)
        assert result["fastest_peer"] is None and result["ratio_to_fastest_peer"] is None


def test_a_network_that_peers_do_not_build_is_timed_alone_and_a_line_says_why(direct_peer):
    peer = direct_peer()
    result = bench_inference("resnet-SMALL", 2, repeats=1)
    assert list(result["contestants"]) == [FUSED, UNFUSED] and result["left_out"] == {"PyTorch": NOT_PLAIN}
    for row in result["contestants"].values():
        assert row["difference"] <= row["tolerance"] and min(row["seconds"]) > 0
    result = bench_training("ResNet-small", batch=2, repeats=1)
    assert list(result["contestants"]) == [OURS] and result["left_out"] == {"PyTorch": NOT_PLAIN}
    assert peer.threads == []
    with pytest.raises(ValueError, match="model must be a RepVGG to be timed layer by layer, got ResNet-small"):
        bench_layers("ResNet-small", 1)
    with pytest.raises(ValueError, match=NOT_PLAIN):
        plain_network(make_pair(make_model("ResNet-small"))[1])


def test_a_fused_network_that_is_wrong_is_not_timed():
    model, fused = make_pair(make_model("RepVGG-small"))
    fused.stages[0].reparam.bias.data += 1
    model.fused = lambda: fused
    with pytest.raises(ValueError, match="three branches differs from ours"):
        bench_inference(model, 1, repeats=1, peers=[])


@pytest.mark.parametrize("name", ["", "torch", "Caffe"])
def test_a_peer_that_nobody_knows_is_refused(name):
    with pytest.raises(ValueError, match="peers must be of PyTorch, torch.compile, ONNX Runtime, OpenVINO, got"):
        bench_inference("RepVGG-small", 1, peers=[name])


def test_peers_are_named_in_any_case():
    assert all_peers.check_peers(["pytorch", "ONNX runtime"]) == ["PyTorch", "ONNX Runtime"]
    assert all_peers.check_peers([]) == []


@pytest.mark.parametrize("function", [bench_inference, bench_layers, bench_training])
@pytest.mark.parametrize("argument", ["batch", "size", "repeats"])
def test_numbers_below_one_are_refused_by_name(function, argument):
    with pytest.raises(ValueError, match=rf"{argument} must be .*at least 1, got 0"):
        function("RepVGG-small", **{"batch": 1, argument: 0})


SHAPE = {"widths": (4, 6), "depths": (1, 2), "strides": (1, 2)}


@pytest.mark.parametrize(("name", "shape"), [("RepVGG-small", None), (None, SHAPE)])
def test_a_training_step_is_timed(name, shape):
    result = bench_training(name, batch=3, size=8, repeats=2, peers=[], shape=shape)
    row = result["contestants"][OURS]
    assert result["images_per_second"][OURS] == 3 / row["median"]
    assert name in (None, result["model"]) and (
        shape is None or result["model"] == "widths 4-6, depths 1-2, strides 1-2"
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [("RepVGG-small", SHAPE), (None, {"widths": (4,), "depths": (1,)}), (None, SHAPE | {"depths": (1,)})],
)
def test_a_network_that_is_given_twice_or_by_half_is_refused(name, shape):
    with pytest.raises(ValueError, match="by its name alone, or|must be as many"):
        make_model(name, **shape)


class OtherTrainer(bench_training_module.Trainer):
    """A peer's training that may follow another rule."""

    rules = MappingProxyType({})

    def __call__(self):
        vars(self._optimizer).update(self.rules)
        return super().__call__()


@pytest.mark.parametrize(
    ("rules", "takes_part"), [({}, True), ({"learning_rate": 0.009}, False), ({"momentum": 0.8}, False)]
)
def test_a_peer_trains_along_only_if_its_steps_are_ours(rules, takes_part, monkeypatch):
    class Peer:
        def training(self, model, x, labels, settings, threads):
            twin = make_model("RepVGG-small", seed=3)  # with other numbers, until `begin`
            trainer = OtherTrainer(twin, x, labels, settings)
            trainer.rules = rules
            return [("", lambda: trainer)]

    monkeypatch.setattr(all_peers, "PEERS", {"PyTorch": ("numpy", Peer()), "OpenVINO": ("numpy", None)})
    result = bench_training("RepVGG-small", batch=4, repeats=1)
    assert ("PyTorch" in result["contestants"]) is takes_part and "OpenVINO" not in result["contestants"]
    if takes_part:
        assert result["contestants"]["PyTorch"]["difference"] == 0
    else:
        assert result["left_out"]["PyTorch"].startswith("the outputs don't agree: PyTorch's ")


def test_every_layer_of_a_network_is_one_of_its_different_ones():
    fused = create_model("RepVGG-A0", form="inference")
    kinds = distinct_layers(fused, 224)
    assert sum(count for _, _, count in kinds) == len(fused.blocks()) == 22
    assert [(block.in_channels, size, count) for block, size, count in kinds][:3] == [
        (3, 224, 1),
        (48, 112, 1),
        (48, 56, 1),
    ]


def test_the_layers_flops_are_the_networks(direct_peer):
    direct_peer()
    result = bench_layers("RepVGG-small", 2, repeats=1)
    cost = network_cost(create_model("RepVGG-small", form="inference"))
    assert sum(layer["flops"] * layer["count"] for layer in result["layers"]) == 4 * sum(c.flops for c in cost[:-1])
    assert [layer["layer_size"] for layer in result["layers"]] == [16, 8, 4, 2]
    for layer in result["layers"]:
        row = layer["contestants"]["PyTorch"]
        assert 0 <= row["difference"] <= row["tolerance"] and layer["bytes"] > 0


def test_the_micro_kernel_is_checked_and_timed_for_each_depth(monkeypatch):
    monkeypatch.setattr(gemm, "FLOPS", 1)
    monkeypatch.setattr(gemm, "ROWS", 7)
    rows = bench_gemm((3, 5, 3), repeats=2)["depths"]
    assert [row["depth"] for row in rows] == [3, 5] and all(row["times"] == 1 for row in rows)
    for row in rows:
        assert row["gflops"] == pytest.approx(row["flops"] / row["median"] / 1e9)
    monkeypatch.setattr(gemm, "multiply_again_and_again", lambda *arguments: arguments[-2].fill(0))
    with pytest.raises(ValueError, match="the product of depth 3 differs"):
        bench_gemm((3,))
    with pytest.raises(ValueError, match="depths must be at least 1, got 0"):
        bench_gemm((0,))


@pytest.mark.parametrize("slope", [-1.0, 0.5, 2.0])
def test_a_power_has_its_exponent_as_slope(slope):
    points = [{"value": v, "contestants": {"a": {"median": 3 * v**slope}}} for v in (1, 2, 8)]
    points.append({"value": 9, "contestants": {"b": {"median": 1.0}}})
    found = slopes(points)
    assert found == {"a": pytest.approx(slope)}


def test_scaling_measures_every_value_of_every_axis(direct_peer, monkeypatch):
    direct_peer()
    monkeypatch.setattr(scaling, "WIDTH_SIZE", 5)
    axes = {"batch": (2, 1, 2), "size": (8,), "width": (2, 3), "threads": (1,)}
    before = get_num_threads()
    found = bench_scaling("RepVGG-small", axes, repeats=1)["axes"]
    assert get_num_threads() == before
    values = {axis: [point["value"] for point in result["points"]] for axis, result in found.items()}
    assert values == {"batch": [1, 2], "size": [8], "width": [2, 3], "threads": [1]}
    for axis, result in found.items():
        assert set(result["slopes"]) == ({FUSED, "PyTorch"} if axis in ("batch", "width") else set())
    with pytest.raises(ValueError, match="axes must be of batch, size, width, threads, got 'depth'"):
        bench_scaling("RepVGG-small", {"depth": (1,)})
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        bench_scaling("RepVGG-small", {"width": (0,)})


def test_without_axes_scaling_measures_all(monkeypatch):
    monkeypatch.setattr(scaling, "AXES", {"batch": (1,), "size": (4,), "width": (2,), "threads": (1, 10**6)})
    found = bench_scaling("RepVGG-small", repeats=1, peers=[])["axes"]
    assert [len(result["points"]) for result in found.values()] == [1, 1, 1, 1]
    assert np.isfinite(found["threads"]["points"][0]["contestants"][FUSED]["median"])
