"""The tables: what they print is what is counted, measured and published, and their figures show it."""

import json

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from repvgg_np.analysis.published import TABLE_4, PublishedNetwork
from repvgg_np.bench import networks as bench_networks
from repvgg_np.bench import timing
from repvgg_np.bench.timing import time_one_at_a_time
from repvgg_np.cli import main
from repvgg_np.data import load_dataset
from repvgg_np.models import CONFIGS, RepVGGConfig, create_model, save
from repvgg_np.tables import ensemble, figures, kernels, networks
from repvgg_np.tables.network_figure import label_corners
from repvgg_np.tables.text import Footnotes, columns, speed
from tests.models.small_networks import SMALL_NETWORKS

SMALL = RepVGGConfig((1, 1, 2), (2, 4, 4), (2, 2, 2), {}, 32, 10)
ROWS = (
    PublishedNetwork("RepVGG-one", "RepVGG-small", 70.0, 300, "0.00", "0.0", "9.9"),
    PublishedNetwork("ResNet-18", "ResNet-small", 71.0, 200, "0.00", "0.0", "0.0"),
    PublishedNetwork("ResNet-50", "RepVGG-small", 72.0, 100, "0.00", "0.0", "0.0"),
)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Register networks that plain Python can run, in a table of their own; and wait for no threads."""
    monkeypatch.setitem(CONFIGS, "RepVGG-small", SMALL)
    monkeypatch.setitem(CONFIGS, "ResNet-small", SMALL_NETWORKS["ResNet"])
    monkeypatch.setitem(networks.TABLES, "4", ROWS)
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)


def run(capsys, *arguments):
    """Run `repvgg-np table`; return its exit code, stdout and stderr."""
    try:
        code = main(["table", *(str(argument) for argument in arguments)])
    except SystemExit as stop:  # argparse
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def test_without_a_name_the_tables_are_listed(capsys):
    code, out, _ = run(capsys)
    names = [line.split()[0] for line in out.splitlines()[:-1]]
    others = ["cost", "depthwise", "memory", "ensemble", "recipes", "choices"]
    assert code == 0 and names == ["1", "2", "3", "4", "5", "6", "7", *others]


@pytest.mark.parametrize("name", ["2", "3"])
def test_the_architecture_is_the_paper_s(name, capsys):
    code, out, _ = run(capsys, name, "--json")
    rows = json.loads(out)["rows"]
    assert code == 0 and len(rows) == {"2": 5, "3": 7}[name] and all(row["agrees"] for row in rows)
    _, out, _ = run(capsys, name)
    assert out.count(" yes\n") == len(rows)


def test_a_table_of_networks_has_counts_speeds_notes_and_orders(capsys, tmp_path):
    picture = tmp_path / "networks.png"
    code, out, err = run(capsys, "4", "--batch", 1, "--rounds", 2, "--figure", picture)
    assert code == 0 and "wrote" in err and image.imread(picture).ndim == 3
    assert "0.0 (9.9)" in out and "[1] the first version" in out and "Spearman's rank correlation with the paper" in out
    code, out, _ = run(capsys, "4", "--batch", 1, "--rounds", 1, "--json")
    result = json.loads(out)
    for row in result["rows"]:
        quick, slow = row["quartiles"]
        assert 1 / slow * (1 - 1e-9) <= row["images_per_second"] <= 1 / quick * (1 + 1e-9)
        assert row["gflops"] == pytest.approx(2e-9 * row["flops"] * row["images_per_second"])
    assert set(result["speed"]["spearman"]) == {"paper", "flops", "winograd_multiplications", "memory_access"}


def test_without_speed_nothing_is_timed(capsys, monkeypatch):
    monkeypatch.setattr(bench_networks, "time_one_at_a_time", None)
    for name in ("1", "4", "6", "7", "cost"):
        model = ["--model", "RepVGG-small"] if name in ("6", "7", "cost") else []
        code, out, _ = run(capsys, name, "--no-speed", *model)
        assert code == 0 and "images/s  fused" not in out and "GFLOP/s" not in out


def test_the_order_is_compared_with_the_paper_s_and_with_flops():
    speeds = (1, 3, 2)  # the paper's order is 3, 2, 1
    rows = [
        {"text": text, "flops": flops, "winograd_multiplications": flops}
        | {"memory_access": 4000 - 40 * flops, "parameters": 990 - 10 * flops}
        | {"images_per_second": speed, "paper_images_per_second": paper}
        for text, flops, speed, paper in zip("abc", (10, 40, 30), speeds, (300, 200, 100), strict=True)
    ]
    found = networks.compare_speed(rows, 1)
    assert found["spearman"]["paper"] == -0.5 and found["spearman"]["flops"] == -1
    assert found["paper_spearman"]["flops"] == 0.5
    assert found["spearman"]["memory_access"] == 1  # all of it parameters and 40 bytes: the opposite of the FLOPs
    assert found["paper_spearman"]["memory_access"] == -0.5
    assert found["disagreements"] == {"b": ["a"], "c": ["a"]}
    assert [pair[:2] for pair in found["more_flops"]] == [["b", "a"], ["c", "a"], ["b", "c"]]
    assert found["more_flops"][0][2] == 4


def test_a_single_network_has_no_order(capsys):
    code, out, _ = run(capsys, "cost", "--model", "RepVGG-small", "--batch", 1, "--rounds", 1)
    assert code == 0 and "Spearman" not in out and "rank correlation" not in out


def test_only_one_network_is_alive_at_a_time():
    alive, most = set(), []

    class Work:
        def __init__(self, name):
            self.name = name
            alive.add(name)
            most.append(set(alive))

        def __call__(self):
            most.append(set(alive))

        def __del__(self):
            alive.discard(self.name)

    times = time_one_at_a_time({name: lambda name=name: Work(name) for name in "abc"}, 3, pause=0)
    assert all(len(names) == 1 for names in most) and set().union(*most) == set("abc") and not alive
    assert all(len(seconds) == 3 * timing.PLANS[0][2] for seconds in times.values())


def test_filled_kernels_let_activations_neither_vanish_nor_overflow(rng):
    model = create_model("RepVGG-tiny", seed=None, form="inference")
    bench_networks.fill(model, 0)
    logits = model(rng.normal(size=(1, 3, 8, 8)).astype(np.float32))
    assert 1e-3 < np.abs(logits).mean() < 1e3


def test_kernel_sizes_differ_in_flops_as_their_areas_do(capsys, tmp_path):
    options = ("--channels", 4, "--batch", 1, "--size", 6, "--rounds", 1)
    code, out, _ = run(capsys, "1", *options, "--figure", tmp_path / "kernels.png")
    assert code == 0 and "5x5 [1]" in out and "10.06" in out and image.imread(tmp_path / "kernels.png").ndim == 3
    rows = kernels.kernel_sizes(4, 1, 6, 1, measure=False)["rows"]
    assert [row["flops"] // 576 for row in rows] == [1, 9, 25, 49, 2]  # 4 x 4 x 6 x 6; depthwise a fourth of 3x3
    assert rows[4]["flops"] * 4 == rows[1]["flops"]


@pytest.mark.slow_without_jit
def test_the_table_of_memory_is_written_and_drawn(capsys, tmp_path):
    code, out, _ = run(capsys, "memory", "--batch", 1, "--figure", tmp_path / "memory.png")
    assert code == 0 and image.imread(tmp_path / "memory.png").ndim == 3
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert "1.00x" in lines["plain, two 3x3"] and "3.00x" in lines["residual, two 3x3 (ResNet-18)"]


def trained(path, variant=None):
    """Save a network of random weights as if the ten synthetic classes had been learned."""
    model = create_model("RepVGG-small", 10, 0, variant=variant)
    classes = [str(name) for name in load_dataset("synthetic", "test").classes]
    model.notes = {"dataset": "synthetic", "classes": classes, "mean": [0.5] * 3, "std": [0.3] * 3}
    save(model, path)
    return path


def test_the_accuracy_after_no_deletion_is_the_network_s_own(capsys, tmp_path):
    first, second = trained(tmp_path / "a.npz"), trained(tmp_path / "b.npz", "residual-reorg")
    options = ("--limit", 6, "--draws", 2)
    code, out, _ = run(capsys, "ensemble", "--weights", first, second, *options, "--figure", tmp_path / "deleted.png")
    assert code == 0 and "a: 24 paths" in out and image.imread(tmp_path / "deleted.png").ndim == 3
    code, out, _ = run(capsys, "ensemble", "--weights", first, *options, "--json")
    row = json.loads(out)["networks"]["a"]
    assert row["paths"] == 24 and row["pictures"] == 6 and sum(row["lengths"]) == 24
    assert {curve[0] for kind in ("branches", "blocks") for curve in row[kind]} == {row["accuracy"]}
    assert [len(curve) for curve in row["branches"]] == [6, 6] and [len(curve) for curve in row["blocks"]] == [2, 2]


def test_names_stand_to_the_right_and_above_unless_another_is_there():
    far = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert label_corners(far, ["a", "b", "c"]) == [(True, True)] * 3
    near = np.array([[0.0, 0.0], [0.001, 0.0], [1.0, 1.0]])
    first, second, _ = label_corners(near, ["long name", "long name", "c"])
    assert first == (True, True) and second != first


def test_the_figure_draws_the_mean_of_all_orders():
    axes = Figure().subplots()
    figures.draw_deletions(axes, [[1.0, 0.5], [1.0, 0.3, 0.1]], "net", "red")
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [[0, 100], [1, 40]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["8"], "invalid choice: '8'"),
        (["4", "--batch", "0"], "batch must be at least 1, got 0"),
        (["4", "--rounds", "0"], "rounds must be at least 1, got 0"),
        (["4", "--no-speed", "--figure", "x.png"], "--figure draws speed, so it cannot go with --no-speed"),
        (["1", "--channels", "0"], "channels must be at least 1, got 0"),
        (["6", "--model", "ResNet-small", "--no-speed"], "variant is for RepVGG networks only"),
        (["6", "--results", "nowhere.csv", "--no-speed"], "cannot read nowhere.csv"),
        (["cost", "--model", "RepVGG-A9", "--no-speed"], "name must be a known model, got 'RepVGG-A9'"),
        (["cost", "--size", "0", "--no-speed"], "size must be an integer of at least 1, got 0"),
        (["memory", "--batch", "0"], "batch must be at least 1, got 0"),
        (["ensemble"], "the following arguments are required: --weights"),
        (["ensemble", "--weights", "nowhere.npz"], "cannot read nowhere.npz"),
    ],
)
def test_bad_input_is_one_line_and_2(arguments, message, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out and err.count("\n") == 1 and message in err


def test_a_network_with_nothing_to_delete_is_named(capsys, tmp_path):
    code, _, err = run(capsys, "ensemble", "--weights", trained(tmp_path / "plain.npz", "plain"), "--limit", 4)
    assert code == 2 and err.count("\n") == 1 and "plain: model must have blocks" in err
    code, _, err = run(capsys, "ensemble", "--weights", trained(tmp_path / "a.npz"), "--draws", 0, "--limit", 4)
    assert code == 2 and "draws must be at least 1, got 0" in err


def test_columns_are_aligned_and_a_note_has_one_number():
    assert columns(["a", "bb"], [["long", "1"], ["x", "22"]]) == ["a     bb", "long   1", "x     22"]
    notes = Footnotes()
    assert [notes.mark(note) for note in ("one", None, "two", "one")] == ["[1]", "", "[2]", "[1]"]
    assert notes.lines() == ["[1] one", "[2] two"]
    assert [speed(value) for value in (None, 1234.5, 56.78, 0.123)] == ["-", "1,234", "56.8", "0.12"]


def test_the_published_networks_are_all_in_the_registry():
    assert all(row.model in CONFIGS for row in TABLE_4)
    assert ensemble.KINDS == ("branches", "blocks")
