"""What is printed, drawn and written as JSON is what was measured."""

import json

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from repvgg_np.bench import figures, gemm, memory, scaling, table
from repvgg_np.bench.contest import OURS
from repvgg_np.cli import main
from repvgg_np.commands import bench as command
from repvgg_np.kernels import get_num_threads


def row(median, ratio, **more):
    spread = {"quartiles": [0.9 * median, 1.2 * median], "note": "", "gflops": 50.0, "percent_of_peak": 40.0}
    return {"median": median, "ratio": ratio} | spread | more


def contest(**more):
    rows = {OURS: row(0.002, 1.0), "PyTorch": row(0.003, 1.5, note="channels_last")}
    facts = {
        "model": "M",
        "batch": 8,
        "size": 32,
        "peak_gflops": 100.0,
        "slowdown": 1.02,
        "left_out": {"OpenVINO": "not installed"},
    }
    return facts | {"contestants": rows, "fastest_peer": "PyTorch", "ratio_to_fastest_peer": 1.5} | more


def layer(**more):
    facts = {"layer": "16->32, stride 2", "layer_size": 8, "algorithm": "im2col", "flops": 4000, "bytes": 100}
    return contest(**facts | more)


def test_the_table_has_a_line_for_each_contestant_and_each_that_is_missing():
    lines = table.run_text(contest(images_per_second={OURS: 4000.0, "PyTorch": 2666.7})).splitlines()
    assert lines[0] == "M, batch 8, 32x32; peak 100 GFLOP/s"
    words = "repvgg_np 2.00 ms (1.80 to 2.40) 1.00x 50 GFLOP/s 40% of peak 4000 images/s"
    assert " ".join(lines[1].split()) == words
    assert lines[2].endswith("1.50x      50 GFLOP/s   40% of peak     2667 images/s  [channels_last]")
    assert lines[3:] == [
        "ours is 1.50 times as fast as the fastest peer, PyTorch",
        "without OpenVINO: not installed",
    ]


def test_those_who_are_missing_for_the_same_reason_share_a_line():
    reasons = {"PyTorch": "not built", "OpenVINO": "not installed", "torch.compile": "not built"}
    lines = table.run_text(contest(left_out=reasons)).splitlines()
    assert lines[-2:] == ["without PyTorch, torch.compile: not built", "without OpenVINO: not installed"]


def test_a_lost_contest_is_not_called_a_victory():
    assert "ours is only 0.50 times as fast" in table.run_text(contest(ratio_to_fastest_peer=0.5))
    alone = table.run_text(contest(fastest_peer=None, ratio_to_fastest_peer=None, left_out={}))
    assert "fastest peer" not in alone and "without" not in alone


def test_numbers_from_a_busy_machine_come_with_a_warning():
    assert "busy" not in table.run_text(contest())
    busy = {"slowdown": 2.04}
    assert "took 2.0 times its shortest time" in table.run_text(contest(**busy))
    assert "busy" in table.layers_text({"model": "M", "batch": 8, "layers": [layer(), layer(**busy)]})
    points = {"batch": {"points": [{"value": 1, **contest(**busy)}], "slopes": {}}}
    assert "busy" in table.scaling_text({"model": "M", "axes": points})


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.3456, "12346"), (0.1234567, "123.5"), (0.00123, "1.23"), (0.000123456, "0.1235")]
)
def test_times_have_the_digits_that_say_something(seconds, text):
    assert table.milliseconds(seconds) == text


def test_the_layers_are_a_table_with_gaps():
    second = layer()
    del second["contestants"]["PyTorch"]
    run = {
        "model": "M",
        "batch": 8,
        "layers": [layer(), second | {"fastest_peer": None, "ratio_to_fastest_peer": None}],
    }
    lines = table.layers_text(run).splitlines()
    assert lines[2].endswith("3.00 (50, 40%)  1.50x PyTorch") and lines[3].endswith(" -") and "8x8" in lines[2]
    assert lines[-1] == "without OpenVINO: not installed"


def scaled():
    points = [{"value": v, **contest(left_out={})} for v in (1, 2)]
    del points[1]["contestants"]["PyTorch"]
    return {"model": "M", "axes": {"batch": {"points": points, "slopes": {OURS: 0.97}}}}


def test_scaling_shows_the_slopes():
    lines = table.scaling_text(scaled()).splitlines()
    assert lines[1].split() == ["batch", "1", "2", "slope"]
    assert lines[2].split() == [OURS, "2.00", "2.00", "0.97"] and lines[3].split() == ["PyTorch", "3.00", "-"]


def test_the_bars_are_the_ratios():
    axes = Figure().subplots()
    runs = [contest(), contest()]
    del runs[1]["contestants"]["PyTorch"]
    figures.draw_ratios(axes, runs, [OURS, "PyTorch"])
    assert sorted(bar.get_height() for bar in axes.patches) == [1, 1, 1.5]
    assert axes.get_ylabel() and len(axes.get_xticklabels()) == 2


def test_the_roof_has_its_ridge_where_memory_and_peak_meet():
    axes = Figure().subplots()
    second = layer(bytes=1000)
    del second["contestants"]["PyTorch"]
    figures.draw_roofline(axes, [layer(), second], bandwidth=5e9)
    roof, ours, peer = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(roof, [[2, 10], [20, 100], [80, 100]])
    np.testing.assert_allclose(ours, [[40, 50], [4, 50]])
    np.testing.assert_allclose(peer, [[40, 50]])


def test_scaling_is_drawn_on_logarithmic_axes():
    axes = Figure().subplots()
    figures.draw_scaling(axes, "batch", scaled()["axes"]["batch"])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"{OURS}, slope 0.97", "PyTorch"]


@pytest.fixture
def quick(monkeypatch):
    """Keep what takes long as plain Python, or starts processes, short."""
    monkeypatch.setattr(gemm, "FLOPS", 1)
    monkeypatch.setattr(gemm, "ROWS", 6)
    monkeypatch.setattr(command, "memory_bandwidth", lambda threads: 1e10)
    answer = {"bytes": 2**21, "baseline": 0, "peak": 2**21, "exact": True, "note": "how"}
    monkeypatch.setattr(memory, "measure_in_child", lambda work: dict(answer))


SMALL = ("--model", "RepVGG-small")
KINDS = {
    "inference": (*SMALL, "--batch", "1", "2", "--repeats", "1", "--peers"),
    "training": (*SMALL, "--batch", "2", "--repeats", "1", "--peers"),
    "layers": (*SMALL, "--repeats", "1", "--peers"),
    "gemm": ("--depths", "2", "--repeats", "1"),
    "memory": (*SMALL, "--batch", "2"),
    "scaling": (*SMALL, "--axis", "batch", "threads", "--batch", "1", "2", "--repeats", "1", "--peers"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_prints_writes_json_and_draws(kind, quick, tmp_path, capsys):
    assert main(["bench", kind, *KINDS[kind], "--figure", str(tmp_path / "a.png")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) >= 3 and "numpy" in out.splitlines()[0] and err.endswith("a.png\n")
    assert image.imread(tmp_path / "a.png").ndim == 3
    assert main(["bench", kind, *KINDS[kind], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["kind"] == kind and result["machine"]["threads"] == get_num_threads()
    assert len(result["runs"]) == (2 if kind == "inference" else 1)


def test_a_network_of_any_shape_is_trained(capsys):
    shape = ("--widths", "2", "3", "--depths", "1", "1", "--strides", "2", "2", "--batch", "2", "--size", "8")
    assert main(["bench", "training", *shape, "--repeats", "1", "--peers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["model"] == "widths 2-3, depths 1-1, strides 2-2"


def test_the_training_step_of_a_cifar_network_is_what_is_timed_unless_told_otherwise(monkeypatch):
    asked = []
    monkeypatch.setattr(command, "bench_training", lambda *arguments: asked.append(arguments) or contest())
    assert main(["bench", "training"]) == 0
    assert asked == [("RepVGG-A0-CIFAR", 128, None, 15, 0, None, None)]


def test_a_single_thread_is_no_axis(monkeypatch):
    asked = []
    monkeypatch.setattr(command, "get_num_threads", lambda: 1)
    monkeypatch.setattr(command, "bench_scaling", lambda model, axes, *rest: asked.append(axes) or scaled())
    main(["bench", "scaling"])
    main(["bench", "scaling", "--axis", "threads"])
    assert list(asked[0]) == ["batch", "size", "width"] and asked[0]["batch"] == scaling.AXES["batch"]
    assert list(asked[1]["threads"]) == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("training", "--widths", "8"), "by its name alone, or by widths, depths and strides together"),
        (("training", "--widths", "8", "--model", "RepVGG-tiny"), "not by both"),
        (("inference", "--peers", "Caffe"), "peers must be of"),
        (("inference", *SMALL, "--peers", "--figure", "/dev/null/a.png", "--json"), "/dev/null/a.png"),
        (("layers", "--size", "0"), "size must be at least 1, got 0"),
        (("scaling", "--axis", "depth"), "invalid choice: 'depth'"),
        (("gemm", "--depths", "-1"), "depths must be at least 1, got -1"),
        (("memory", "--batch", "0"), "batch must be at least 1, got 0"),
        (("fly",), "invalid choice: 'fly'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    try:
        code = main(["bench", *arguments])
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and message in err and len(err.splitlines()) == 1
