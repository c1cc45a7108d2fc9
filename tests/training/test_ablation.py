"""The ablation runner: every row and seed once, on any executor, resumed where it stopped, compared with the paper."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

import repvgg_np as rv
from repvgg_np.cli import main
from repvgg_np.models import CONFIGS, RepVGGConfig
from repvgg_np.training import (
    DataSource,
    Settings,
    TrainingInterrupted,
    ablate,
    ablation_run,
    find_rows,
    load_checkpoint,
    process_pool,
    read_history,
    read_results,
)
from repvgg_np.training.ablation_results import COLUMNS, Results
from tests.data.cifar_files import random_split, write_folder

SETTINGS = Settings(epochs=1, batch_size=5, learning_rate=0.05)
TIMES = ("training_images_per_second", "images_per_second", "fused_images_per_second")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """A network that plain Python can train."""
    monkeypatch.setitem(CONFIGS, "RepVGG-small", RepVGGConfig((1, 2), (3, 4), (4, 2), {}, 32, 10))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """15 training and 3 test pictures of noise in CIFAR's layout, which a process elsewhere can read too."""
    rng = np.random.default_rng(0)
    contents = random_split("cifar10", "train", rng)[0] | random_split("cifar10", "test", rng)[0]
    return DataSource("cifar10", str(write_folder(tmp_path_factory.mktemp("cifar"), contents)))


def run(folder, data, rows=("plain", "relu-in-branches"), seeds=(0, 1), **options):
    options = {"model": "RepVGG-small", "settings": SETTINGS, "progress": False} | options
    return ablate(folder, rows, seeds, data=data, **options)


def untimed(results):
    return [{name: value for name, value in result.items() if name not in TIMES} for result in results]


def test_every_row_is_trained_with_every_seed_and_has_a_line_in_the_results(tmp_path, data):
    results = run(tmp_path, data)
    assert [(r["row"], r["seed"]) for r in results] == [
        ("plain", 0), ("plain", 1), ("relu-in-branches", 0), ("relu-in-branches", 1)
    ]  # fmt: skip
    lines = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert len(lines) == 4 and list(lines[0]) == list(COLUMNS)
    assert sorted(map(str, read_results(tmp_path / "results.csv"))) == sorted(map(str, results))
    for result in results:
        model = rv.load(tmp_path / result["row"] / f"seed-{result['seed']}" / "model.npz")
        assert model.config.block == result["row"] and model.notes["settings"]["seed"] == result["seed"]
        assert model.notes["test_accuracy"] == result["test_accuracy"] and result["epochs"] == 1
        history = read_history(tmp_path / result["row"] / f"seed-{result['seed']}" / "history.csv")
        assert result["train_accuracy"] == history[-1]["train_accuracy"]
        assert result["parameters"] == model.count_parameters() and result["training_images_per_second"] > 0
        if result["row"] == "plain":
            assert result["fused_parameters"] == rv.fuse(model).count_parameters()
            assert result["fused_test_accuracy"] == result["test_accuracy"] and result["changed_predictions"] == 0
        else:
            fused = [value for name, value in result.items() if "fused" in name or "changed" in name]
            assert fused == [None] * 4


def test_a_seed_draws_the_weights_and_the_order_of_the_pictures(tmp_path, data):
    run(tmp_path, data, rows=["plain"])
    one, other = (load_checkpoint(tmp_path / "plain" / f"seed-{seed}" / "checkpoint.npz").state for seed in (0, 1))
    assert any(one[name].tobytes() != other[name].tobytes() for name in one)


def test_what_is_done_is_not_done_again_and_more_rows_and_seeds_can_be_added(tmp_path, data, monkeypatch):
    first = run(tmp_path, data, rows=["plain"], seeds=[0])
    begun, real = [], ablation_run.train
    monkeypatch.setattr(ablation_run, "train", lambda *a, **k: begun.append(a[4]) or real(*a, **k))
    assert run(tmp_path, data, rows=["plain"], seeds=[0]) == first and begun == []
    more = run(tmp_path, data, rows=["plain", "no-1x1"], seeds=[0, 1])
    assert len(more) == 4 and len(begun) == 3 and more[0] == first[0]


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint_and_ends_with_the_same_bits(tmp_path, data, monkeypatch):
    run(tmp_path / "whole", data, rows=["plain"], seeds=[0])
    real = ablation_run.train

    def stopped(model, *args, **options):
        forward, steps = model.forward, iter(range(10))

        def interrupted_forward(x):
            if next(steps) == 2:
                signal.raise_signal(signal.SIGINT)
            return forward(x)

        model.forward = interrupted_forward
        return real(model, *args, **options)

    monkeypatch.setattr(ablation_run, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match="the ablation was interrupted, and is saved in .* do the same again"):
        run(tmp_path / "stopped", data, rows=["plain"], seeds=[0])
    monkeypatch.setattr(ablation_run, "train", real)
    checkpoint = tmp_path / "stopped" / "plain" / "seed-0" / "checkpoint.npz"
    assert load_checkpoint(checkpoint).position.step == 3
    assert not (tmp_path / "stopped" / "results.csv").exists()
    run(tmp_path / "stopped", data, rows=["plain"], seeds=[0])
    one, other = (load_checkpoint(tmp_path / f / "plain/seed-0/checkpoint.npz").state for f in ("whole", "stopped"))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_threads_give_the_same_results_one_run_at_a_time(tmp_path, data):
    here = run(tmp_path / "here", data)
    with ThreadPoolExecutor(3) as executor:
        threads = run(tmp_path / "threads", data, executor=executor, at_once=2)
    assert untimed(threads) == untimed(here)


@pytest.mark.slow_without_jit
def test_processes_give_the_same_results(tmp_path, data):
    options = {"rows": ["plain"], "model": "RepVGG-tiny"}
    here = run(tmp_path / "here", data, **options)
    with process_pool(2) as executor:
        processes = run(tmp_path / "processes", data, executor=executor, **options)
    assert untimed(processes) == untimed(here)


def test_a_run_that_fails_does_not_stop_the_others_and_is_named_at_the_end(tmp_path, data, monkeypatch, capsys):
    real = ablation_run.train

    def fails(model, *args, **options):
        if model.config.block == "plain":
            raise ValueError("training diverged")
        return real(model, *args, **options)

    monkeypatch.setattr(ablation_run, "train", fails)
    for executor in (None, ThreadPoolExecutor(1)):
        folder = tmp_path / str(executor is None)
        with pytest.raises(ValueError, match="2 of 4 runs failed: plain, seed 0: training diverged"):
            run(folder, data, executor=executor, progress=True)
        assert [(r["row"], r["seed"]) for r in read_results(folder / "results.csv")] == [
            ("relu-in-branches", 0), ("relu-in-branches", 1)
        ]  # fmt: skip
        assert "plain, seed 1: failed: training diverged" in capsys.readouterr().err


def test_an_interrupted_worker_interrupts_the_whole_and_no_further_run_is_begun(tmp_path, data, monkeypatch):
    begun = []

    def interrupted(model, *args, **options):
        begun.append(model.config.block)
        raise TrainingInterrupted("saved")

    monkeypatch.setattr(ablation_run, "train", interrupted)
    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt, match="do the same again"):
        run(tmp_path, data, executor=executor, at_once=1)
    assert begun == ["plain"]


class Broken(ThreadPoolExecutor):
    """An executor whose second worker has died: at once, or while it worked."""

    def __init__(self, while_working):
        super().__init__(1)
        self.while_working, self.count = while_working, 0

    def submit(self, function, *args):
        self.count += 1
        if self.count == 1:
            return super().submit(function, *args)
        if self.while_working:
            return super().submit(self.die)
        self.die()

    def die(self):
        raise BrokenExecutor("terminated abruptly")


@pytest.mark.parametrize("while_working", [False, True])
def test_a_worker_that_dies_is_reported_and_what_was_done_is_kept(while_working, tmp_path, data):
    with pytest.raises(ValueError, match="a worker ended unexpectedly.*terminated abruptly.*fewer workers"):
        run(tmp_path, data, executor=Broken(while_working), at_once=1)
    assert [result["row"] for result in read_results(tmp_path / "results.csv")] == ["plain"]


def test_ctrl_c_stops_a_worker_at_work_and_leaves_an_idle_one_alone(monkeypatch):
    monkeypatch.setattr(ablation_run, "set_num_threads", lambda threads: None)
    before = signal.getsignal(signal.SIGINT)
    try:
        ablation_run._begin_worker(1)
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(ablation_run, "_busy", True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow_without_jit
def test_the_command_in_processes_is_stopped_by_ctrl_c_without_a_traceback_and_goes_on(tmp_path, data):
    arguments = [sys.executable, "-m", "repvgg_np", "ablate", "--rows", "plain,no-1x1", "--model", "RepVGG-tiny"]
    arguments += [
        "--data",
        data.name,
        "--data-dir",
        data.data_dir,
        "--run",
        "out",
        "--batch-size",
        "5",
        "--workers",
        "2",
    ]
    arguments += ["--threads", "1", "--lr", "0.01", "--epochs", "100"]
    root = str(Path(rv.__file__).parents[1])
    process = subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    checkpoint = tmp_path / "out" / "plain" / "seed-0" / "history.csv"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() or checkpoint.read_text().count("\n") < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and "Traceback" not in err and "do the same again" in err, err
    position = load_checkpoint(checkpoint.with_name("checkpoint.npz")).position
    assert 2 <= position.epoch < 100


def test_the_command_prints_the_table_or_json(tmp_path, data, capsys):
    arguments = ["ablate", "--data", data.name, "--data-dir", data.data_dir, "--run", str(tmp_path), "--epochs", "1"]
    arguments += ["--model", "repvgg-SMALL", "--rows", "plain, no-1x1,trivial-1x1", "--seeds", "2", "--batch-size", "5"]
    assert main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[1:4]] == ["plain", "no-1x1", "trivial-1x1"] and " +- " in out[1]
    assert out[1].split()[5] == "72.39" and "Spearman" in out[5] and "of 1 pair of rows" in out[7]
    assert main([*arguments, "--json", "--figure", str(tmp_path / "ablation.png")]) == 0
    assert image.imread(tmp_path / "ablation.png").ndim == 3
    numbers = json.loads(capsys.readouterr().out)
    assert len(numbers["results"]) == 6 and len(numbers["rows"]) == 3
    assert numbers["rows"][2]["paper_top_1"] is None and numbers["rows"][0]["seeds"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rows", ""), "rows must name at least one kind of block, got none"),
        (("--rows", "plane"), "variant must be a known kind of block, got 'plane'; did you mean plain"),
        (("--seeds", "0"), "seeds must be at least 1, got 0"),
        (("--workers", "0"), "workers must be at least 1, got 0"),
        (("--epochs", "0"), "epochs must be at least 1, got 0"),
        (("--data", "mnist"), "mnist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    assert main(["ablate", "--run", str(tmp_path / "out"), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused(tmp_path, data):
    with pytest.raises(ValueError, match="at_once must be at least 1, got 0"):
        run(tmp_path, data, at_once=0)
    with pytest.raises(ValueError, match="seeds must be at least one, got none"):
        run(tmp_path, data, seeds=())
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"), process_pool(0):
        pass


def test_a_folder_of_another_ablation_is_refused_with_what_differs(tmp_path, data):
    run(tmp_path, data, rows=["plain"], seeds=[0])
    other = dataclasses.replace(SETTINGS, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"holds another ablation: learning_rate 0.05 \(now 0.1\); choose another"):
        run(tmp_path, data, settings=other)
    with pytest.raises(ValueError, match="holds another ablation: model RepVGG-small .now RepVGG-tiny"):
        run(tmp_path, data, model="RepVGG-tiny")
    with pytest.raises(ValueError, match="holds another ablation: data"):
        run(tmp_path, dataclasses.replace(data, limit=3))
    (tmp_path / "ablation.json").write_text("[1")
    with pytest.raises(ValueError, match="cannot read .*ablation.json"):
        run(tmp_path, data)


def test_an_ablation_from_before_there_was_a_setting_goes_on_with_its_default(tmp_path):
    settings = Settings(epochs=3).as_dict()
    old = {name: value for name, value in settings.items() if name not in ("cutout", "average")}
    (tmp_path / "ablation.json").write_text(json.dumps({"model": "RepVGG-small", "settings": old}))
    Results(tmp_path, {"model": "RepVGG-small", "settings": settings})
    with pytest.raises(ValueError, match=r"holds another ablation: cutout 0 \(now 8\)"):
        Results(tmp_path, {"model": "RepVGG-small", "settings": {**settings, "cutout": 8}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line must be row,seed"),
        ("a,b\n", "its first line must be row,seed"),
        (",".join(COLUMNS) + "\nplain,0\n", "line 2 of .* must be 12 fields"),
        (",".join(COLUMNS) + "\nplain,x,1,1,1,1,1,1,1,1,1,1\n", "line 2 of .* must be 12 fields"),
        (b"\xff\xfe", "holds no results of an ablation"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(text, message, tmp_path):
    path = tmp_path / "results.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_a_result_of_other_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match="result must have the columns row, seed, .* got row"):
        Results(tmp_path, {}).add({"row": "plain"})


def test_the_names_of_both_tables_stand_for_their_rows():
    assert find_rows(["branches"]) == ["plain", "no-1x1", "no-identity", "repvgg"]
    assert len(find_rows(["branches", "variants"])) == 11  # the full block is in both tables
    assert find_rows(["dbb", "dbb", "branches"])[0] == "dbb"
    assert len(find_rows(["beyond"])) == 3
