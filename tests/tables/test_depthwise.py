"""Depthwise layers beside dense ones: counts are exact, and given times lead to the dense layer of equal time."""

import json
import math

import numpy as np
import pytest
from matplotlib import image

from repvgg_np.analysis import network_cost
from repvgg_np.analysis.separable import SeparableLayer, convolution_costs, separable_layers
from repvgg_np.bench.contest import PEAK
from repvgg_np.cli import main
from repvgg_np.models import create_model
from repvgg_np.tables import depthwise
from repvgg_np.tables.depthwise import equal_time, equal_width

LAYER = SeparableLayer(channels=4, out_channels=6, size=5, out_size=3, stride=2)


def run(capsys, *arguments):
    """Run `repvgg-np table depthwise`; return its exit code, stdout and stderr."""
    code = main(["table", "depthwise", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def given_times(monkeypatch):
    """Time nothing: a dense layer of w channels takes w^2 microseconds, others as long as one of 24 or 41 would."""
    micro = {"depthwise": 24**2, "separable": 41**2, PEAK: 1000}

    def time_side_by_side(functions, rounds, pause, title=None):
        for function in functions.values():
            function()
        assert pause == 0
        return {
            name: [1e-6 * micro.get(name, name if isinstance(name, str) else name**2)] * rounds for name in functions
        }

    class Peak:
        flops = 10**8

        def __init__(self, threads):
            pass

        def __call__(self):
            pass

    monkeypatch.setattr(depthwise, "time_side_by_side", time_side_by_side)
    monkeypatch.setattr(depthwise, "Peak", Peak)
    monkeypatch.setattr(depthwise, "warm_up", lambda training: None)


def one_layer(monkeypatch):
    """Let the network have two separable layers, both alike, which plain Python can run."""
    monkeypatch.setattr(depthwise, "separable_layers", lambda size: {LAYER: 2})


def test_mobilenet_has_thirteen_separable_layers_of_nine_kinds():
    layers = separable_layers()
    assert len(layers) == 9 and sum(layers.values()) == 13
    assert layers[SeparableLayer(512, 512, 14, 14, 1)] == 5
    assert layers[SeparableLayer(32, 64, 112, 112, 1)] == 1 and layers[SeparableLayer(512, 1024, 14, 7, 2)] == 1


@pytest.mark.parametrize("size", [224, 65])
def test_their_costs_add_up_to_those_of_the_whole_network(size):
    costs = network_cost(create_model("MobileNetV1", seed=None, form="inference"), size)
    for kind, ending in (("depthwise", ("conv_dw",)), ("separable", ("conv_dw", "conv_pw"))):
        theirs = [cost for cost in costs if cost.name.endswith(ending)]
        mine = [(convolution_costs(layer.parts(kind), 1), times) for layer, times in separable_layers(size).items()]
        assert sum(times * costs["flops"] for costs, times in mine) == sum(cost.flops for cost in theirs)
        assert sum(times * costs["bytes"] for costs, times in mine) == sum(cost.memory_access for cost in theirs)


def test_the_costs_of_a_small_layer_are_those_of_the_pencil():
    # Two pictures. Depthwise: 4 channels of 5x5 become 4 of 3x3, by 9 numbers each, and 4 biases.
    depthwise = {"flops": 2 * 9 * 4 * 9, "bytes": 4 * (2 * (100 + 36) + 36 + 4)}
    assert convolution_costs(LAYER.parts("depthwise"), 2) == depthwise
    # Pointwise: 4 channels of 3x3 become 6, by a 4 x 6 matrix and 6 biases.
    pointwise = {"flops": 2 * 9 * 24, "bytes": 4 * (2 * (36 + 54) + 24 + 6)}
    together = {key: depthwise[key] + pointwise[key] for key in depthwise}
    assert convolution_costs(LAYER.parts("separable"), 2) == together
    # Dense with 8 channels: 8 x 8 x 9 numbers, 8 biases.
    assert convolution_costs(LAYER.dense(8), 2) == {
        "flops": 2 * 9 * 576, "bytes": 4 * (2 * (8 * 25 + 8 * 9) + 576 + 8)
    }  # fmt: skip


def test_where_times_are_a_power_of_the_width_the_equal_width_is_exact():
    widths = [8, 16, 64, 256]
    seconds = [3e-7 * width**1.7 for width in widths]
    for width in range(8, 257, 8):
        assert equal_width(widths, seconds, 3e-7 * width**1.7 * (1 - 1e-12)) == width
    assert equal_width(widths, seconds, 3e-7 * 43.0**1.7) == 40 and equal_width(widths, seconds, 3e-7 * 45.0**1.7) == 48


def test_the_first_layer_that_takes_longer_ends_the_search():
    assert equal_width([8, 16, 24], [1.0, 4.0, 2.0], 3.0) == 16  # 24 is nearer, but wider than a layer that took longer
    assert equal_width([8, 16, 24], [1.0, 2.0, 3.0], 0.5) == 8
    assert equal_width([8, 16, 24], [1.0, 2.0, 3.0], 9.0) == 24


def test_the_widths_that_are_tried_are_multiples_of_eight():
    assert depthwise._grid(8) == [8]
    assert depthwise._grid(64) == [8, 16, 24, 32, 40, 48, 56, 64]
    assert len(depthwise._grid(2048)) < 32 and all(width % 8 == 0 for width in depthwise._grid(2048))


def test_given_times_lead_to_the_dense_layer_of_equal_time(given_times, monkeypatch):
    one_layer(monkeypatch)
    result = equal_time(batch=2, rounds=3)
    (row,) = result["rows"]
    assert row["layers"] == 2 and result["slowdown"] == 1 and result["peak_gflops"] == pytest.approx(100)
    for kind, micro, width in (("depthwise", 24**2, 24), ("separable", 41**2, 40)):
        mine, dense = row[kind], row[kind]["dense"]
        assert dense["channels"] == width and dense["milliseconds"] == pytest.approx(width**2 / 1e3)
        assert mine["time_ratio"] == pytest.approx(width**2 / micro)
        expected = convolution_costs(LAYER.dense(width), 2)
        assert {key: dense[key] for key in expected} == expected
        assert mine["flops_ratio"] == expected["flops"] / mine["flops"]
        for costs in (mine, dense):
            assert costs["gflops"] == pytest.approx(2 * costs["flops"] / (1e6 * costs["milliseconds"]))


def test_a_layer_that_takes_longer_than_any_dense_one_ends_the_search(given_times, monkeypatch):
    one_layer(monkeypatch)
    monkeypatch.setattr(depthwise, "WIDEST", 32)
    (row,) = equal_time(rounds=1)["rows"]
    assert [row[kind]["dense"]["channels"] for kind in ("depthwise", "separable")] == [24, 32]
    assert row["separable"]["time_ratio"] == pytest.approx(32**2 / 41**2)


def test_the_layers_that_are_timed_have_the_shapes_that_are_counted():
    for shapes in (LAYER.parts("depthwise"), LAYER.parts("separable"), LAYER.dense(8)):
        out = depthwise._function(shapes, LAYER.stride, 2)()
        assert out.shape == (2, shapes[-1][1], 3, 3) and out.dtype == np.float32


def test_the_table_is_written_and_drawn(given_times, monkeypatch, capsys, tmp_path):
    one_layer(monkeypatch)
    picture = tmp_path / "depthwise.png"
    code, out, err = run(capsys, "--batch", 2, "--rounds", 1, "--figure", picture)
    assert code == 0 and "wrote" in err and image.imread(picture).ndim == 3
    first, second = (line.split() for line in out.splitlines() if ", 5x5, stride 2" in line)
    flops, dense = 2 * 9 * 36, 2 * 9 * 9 * 24**2
    assert first[4:6] == [f"{flops / 1e6:.2f}", "0.576"] and first[8] == "24" and first[10] == "0.576"
    assert first[-1] == f"{dense / flops:.1f}" and second[0] == "4->6," and second[8] == "40"
    said = f"a depthwise layer of 4 channels on 5x5 (the network has 2) takes as long as a dense 3x3 layer of 24,\n\
which does {dense / flops:.1f} times the multiplications; all depthwise layers together {dense / flops:.1f} times"
    assert said in out and "took 0.95 to 1.00 times as long" in out
    code, out, _ = run(capsys, "--rounds", 1, "--json")
    result = json.loads(out)
    assert (
        code == 0
        and result["table"] == "depthwise"
        and math.isclose(result["rows"][0]["depthwise"]["milliseconds"], 0.576)
    )


def test_without_speed_nothing_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(depthwise, "time_side_by_side", None)
    code, out, _ = run(capsys, "--no-speed", "--size", 65)
    assert code == 0 and "GFLOP/s" not in out and "dense 3x3" not in out and "512, 5x5" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", 0), "batch must be at least 1, got 0"),
        (("--size", 0), "size must be an integer of at least 1, got 0"),
        (("--no-speed", "--figure", "x.png"), "--figure draws speed, so it cannot go with --no-speed"),
    ],
)
def test_bad_input_is_one_line_and_2(arguments, message, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out and err.count("\n") == 1 and message in err
