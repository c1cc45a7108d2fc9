"""The command line: what it prints, what it writes, and the one line that it says about bad input."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import image

import repvgg_np as rv
from repvgg_np.cli import main
from repvgg_np.interop import save_npz
from repvgg_np.models import CONFIGS, RepVGGConfig
from repvgg_np.training import PRESETS, Preset, Settings
from tests.data.cifar_files import random_split, write_folder

SMALL = RepVGGConfig((1, 1, 2), (2, 4, 4), (2, 2, 2), {}, 32, 10)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """Let the command line know a network that plain Python can run."""
    monkeypatch.setitem(CONFIGS, "RepVGG-small", SMALL)


@pytest.fixture
def trained(tmp_path, capsys):
    """Train the small network on a few pictures; return the folder."""
    folder = tmp_path / "run"
    arguments = ["train", "--model", "repvgg-SMALL", "--out", str(folder), "--epochs", "1", "--batch-size", "8"]
    assert main([*arguments, "--limit", "16", "--lr", "0.05"]) == 0
    capsys.readouterr()
    return folder


def run(capsys, *arguments):
    """Run a command; return its exit code, stdout and stderr."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def test_train_writes_model_history_curve_and_checkpoint(trained):
    assert sorted(os.listdir(trained)) == ["checkpoint.npz", "curve.png", "history.csv", "model.npz"]
    model = rv.load(trained / "model.npz")
    assert (
        model.name == "RepVGG-small" and model.form == "training" and model.notes["settings"]["learning_rate"] == 0.05
    )
    assert image.imread(trained / "curve.png").ndim == 3


def test_fuse_then_verify_then_evaluate(trained, capsys):
    model, fused = trained / "model.npz", trained / "fused.npz"
    code, out, _ = run(capsys, "fuse", model)
    assert code == 0 and str(fused) in out and rv.load(fused).form == "inference"
    code, out, _ = run(capsys, "verify", model, "--fused", fused, "--limit", 12)
    assert code == 0 and "equal within rounding" in out and "0 of 12 predictions changed" in out
    code, out, _ = run(capsys, "verify", model, "--limit", 12, "--json")
    report = json.loads(out)
    assert (
        code == 0
        and report["ok"]
        and report["changes"] == []
        and 0 < report["max_error"] <= report["bound"]
        and len(report["blocks"]) == 4
    )
    results = []
    for file in (model, fused):
        code, out, _ = run(capsys, "evaluate", file, "--limit", 12, "--json")
        assert code == 0
        results.append(json.loads(out))
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert [r["form"] for r in results] == ["training", "inference"]
    code, out, _ = run(capsys, "evaluate", fused, "--limit", 12)
    assert code == 0 and "of 12 pictures correct" in out.splitlines()[-1]


def test_evaluate_counts_confusions_and_can_look_at_mirror_images(trained, tmp_path, capsys):
    arguments = ("evaluate", trained / "model.npz", "--limit", 12)
    _, out, _ = run(capsys, *arguments, "--json")
    plain = json.loads(out)
    code, out, _ = run(capsys, *arguments, "--json", "--tta", "--figure", tmp_path / "confusion.png")
    mirrored = json.loads(out)
    assert code == 0 and (plain["tta"], mirrored["tta"]) == (False, True) and plain["loss"] != mirrored["loss"]
    for result in (plain, mirrored):
        confusion = np.array(result["confusion"])
        assert confusion.sum() == 12 and confusion.trace() / 12 == result["accuracy"]
        assert 0 <= result["calibration_error"] <= 1
    assert image.imread(tmp_path / "confusion.png").ndim == 3
    code, out, _ = run(capsys, *arguments, "--tta")
    assert code == 0 and "each seen with its mirror image" in out and "calibration error" in out


def test_a_preset_is_a_recipe_of_which_every_part_can_be_changed(tmp_path, capsys, monkeypatch):
    small = Preset("RepVGG-small", Settings(epochs=1, batch_size=8, flip="alternating", padding=2), "a test")
    monkeypatch.setitem(PRESETS, "small", small)
    data = write_folder(tmp_path / "cifar", random_split("cifar10", "train", np.random.default_rng(0))[0])
    write_folder(tmp_path / "cifar", random_split("cifar10", "test", np.random.default_rng(1))[0])
    arguments = ("train", "--preset", "small", "--data-dir", data, "--out", tmp_path / "run", "--limit", 16)
    code, _, err = run(capsys, *arguments, "--padding", 3, "--lr", 0.01)
    assert code == 0
    notes = rv.load(tmp_path / "run" / "model.npz").notes
    assert Settings.from_dict(notes["settings"]) == dataclasses.replace(small.settings, padding=3, learning_rate=0.01)
    assert notes["dataset"] == "cifar10"
    for part in ("RepVGG-small", "batches of 8", "up to 0.01", "up to 3 pixels", "alternating flips"):
        assert part in err


def test_options_for_kinds_of_parameters_are_part_of_the_recipe(tmp_path, capsys):
    choices = {"optimizer": "muon", "muon_rate": 0.1, "bias_rate": 4.0, "branch_gammas": [1.0, 0.5, 0.25]}
    choices |= {"logit_scale": 0.25, "evaluate_every": 2}
    arguments = ["train", "--model", "RepVGG-small", "--epochs", 1, "--batch-size", 8, "--limit", 16]
    for name, value in choices.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        arguments += [f"--{name.replace('_', '-')}", text]
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "run")
    notes = rv.load(tmp_path / "run" / "model.npz").notes
    assert code == 0 and notes["settings"] | choices == notes["settings"]
    for part in ("Muon, kernels turned by up to 0.1", "beta 4 times", "gammas 1, 0.5, 0.25", "multiplied by 0.25"):
        assert part in err


def test_with_pictures_held_out_the_test_set_is_never_looked_at(tmp_path, capsys):
    data = write_folder(tmp_path / "cifar", random_split("cifar10", "train", np.random.default_rng(0))[0])
    arguments = ("train", "--model", "RepVGG-small", "--data", "cifar10", "--data-dir", data)
    arguments += ("--epochs", 1, "--batch-size", 8, "--json")
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "test")
    assert code == 2 and "test_batch" in err  # there is none
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "run", "--holdout", 5)
    numbers, notes = json.loads(out), rv.load(tmp_path / "run" / "model.npz").notes
    assert code == 0 and notes["holdout_accuracy"] == numbers["holdout_accuracy"] in (0, 0.2, 0.4, 0.6, 0.8, 1)
    assert "test_accuracy" not in numbers and "test_accuracy" not in notes and notes["dataset"] == "cifar10"
    assert "; held-out loss" in err and "test" not in err
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "none", "--holdout", 15)
    assert code == 2 and err.endswith("holdout must be less than the 15 training pictures, got 15\n")


def test_the_trained_network_in_the_package_needs_no_file(tmp_path, capsys):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    image.imsave(tmp_path / "picture.png", picture)
    code, out, _ = run(capsys, "predict", "--pretrained", "--image", tmp_path / "picture.png", "--json")
    assert code == 0 and len(json.loads(out)) == 5


@pytest.mark.slow_without_jit
def test_the_fusion_of_the_trained_network_is_verified_without_any_data(capsys):
    code, out, _ = run(capsys, "verify", "--pretrained", "--limit", 40)
    assert code == 0 and "equal within rounding" in out and "on 40 pictures of synthetic" in out
    assert "accuracy" not in out  # of shapes, by a network that knows cats


def test_verify_fails_with_1_when_the_fused_file_is_wrong(trained, capsys):
    fused = rv.fuse(rv.load(trained / "model.npz"))
    fused.stages[0].reparam.bias.data += 1
    rv.save(fused, trained / "wrong.npz")
    code, out, _ = run(capsys, "verify", trained / "model.npz", "--fused", trained / "wrong.npz", "--limit", 4)
    assert code == 1 and "stage0" in out and "NOT equal" in out


def test_verify_fails_with_1_when_a_prediction_changed_by_more_than_rounding(trained, capsys):
    fused = rv.fuse(rv.load(trained / "model.npz"))
    fused.linear.bias.data[3] += 1000
    rv.save(fused, trained / "wrong.npz")
    arguments = ("verify", trained / "model.npz", "--fused", trained / "wrong.npz", "--limit", 12)
    code, out, _ = run(capsys, *arguments)
    assert code == 1 and "became 3; the logits were" in out and ": more than rounding" in out
    code, out, _ = run(capsys, *arguments, "--json")
    report = json.loads(out)
    assert code == 1 and not report["ok"] and report["changed_predictions"] > 0 and report["pictures"] == 12
    first = report["changes"][0]
    assert first["after"] == 3 != first["before"] and first["margin"] > first["bound"] > 0 and not first["ok"]


def test_training_resumes_where_the_epochs_ended(trained, capsys):
    arguments = ("train", "--model", "RepVGG-small", "--out", trained, "--batch-size", 8, "--limit", 16, "--lr", 0.05)
    before = (trained / "history.csv").read_text()
    code, out, _ = run(capsys, *arguments, "--epochs", 1, "--resume", "--json")
    assert code == 0 and (trained / "history.csv").read_text() == before
    assert json.loads(out)["file"] == str(trained / "model.npz")


def test_predict_names_the_five_likeliest_classes(trained, tmp_path, capsys):
    code, out, _ = run(capsys, "predict", trained / "model.npz", "--row", 3, "--json")
    rows = json.loads(out)
    assert code == 0 and len(rows) == 5
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
    picture = np.random.default_rng(0).integers(0, 256, (50, 80, 3)).astype(np.uint8)
    for name in ("picture.png", "picture.jpg"):
        image.imsave(tmp_path / name, picture)
        code, out, _ = run(capsys, "predict", trained / "model.npz", "--image", tmp_path / name)
        assert code == 0 and len(out.splitlines()) == 6 and name in out


def test_a_test_picture_is_classified_alike_from_its_row_and_from_its_file(trained, tmp_path, capsys):
    from repvgg_np.data import load_dataset

    image.imsave(tmp_path / "row.png", load_dataset("synthetic", "test").images[5].transpose(1, 2, 0))
    _, from_row, _ = run(capsys, "predict", trained / "model.npz", "--row", 5, "--json")
    _, from_file, _ = run(capsys, "predict", trained / "model.npz", "--image", tmp_path / "row.png", "--json")
    assert from_row == from_file


@pytest.mark.parametrize("form", ["training", "inference"])
def test_summary_adds_up(form, capsys):
    code, out, _ = run(capsys, "summary", "repvgg-a0", "--form", form, "--json")
    numbers = json.loads(out)
    assert code == 0 and numbers["parameters"] == {"training": 9_108_968, "inference": 8_309_384}[form]
    assert numbers["parameters"] == sum(layer["parameters"] for layer in numbers["layers"])
    code, out, _ = run(capsys, "summary", "repvgg-a0", "--form", form)
    assert code == 0 and f"{numbers['parameters']:,} parameters" in out and "1280x7x7" in out


def test_summary_without_a_name_lists_every_network(capsys, monkeypatch):
    code, out, _ = run(capsys, "summary")
    assert code == 0
    for name in rv.list_models():
        assert any(line.startswith(f"{name} ") for line in out.splitlines())
    for name in list(CONFIGS)[1:]:
        monkeypatch.delitem(CONFIGS, name)  # one is enough to see what is written of it
    (row,) = json.loads(run(capsys, "summary", "--json")[1])
    assert row["inference_parameters"] == 8_309_384


def test_bench_prints_medians_and_ratios(capsys):
    arguments = ("--model", "RepVGG-small", "--batch", 2, "--repeats", 3, "--peers")
    code, out, _ = run(capsys, "bench", "inference", *arguments, "--json")
    rows = json.loads(out)["runs"][0]["contestants"]
    assert code == 0 and rows["repvgg_np, fused"]["ratio"] == 1 and min(row["median"] for row in rows.values()) > 0
    code, out, _ = run(capsys, "bench", *arguments)  # without a kind it is inference
    assert code == 0 and "repvgg_np, three branches" in out and "RepVGG-small, batch 2" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("summary", "RepVGG-A9"), "name must be a known model, got 'RepVGG-A9'; did you mean"),
        (("summary", "ResNet-18", "--variant", "dbb"), "variant is for RepVGG networks only, ResNet-18 has none"),
        (("summary", "RepVGG-A0", "--size", "0"), "size must be an integer of at least 1, got 0"),
        (("summary", "RepVGG-A0", "--classes", "0"), "num_classes must be an integer of at least 1, got 0"),
        (("train", "--batch-size", "0"), "batch_size must be at least 1, got 0"),
        (("train", "--epochs", "-1"), "epochs must be at least 1, got -1"),
        (("train", "--lr", "nan"), "learning_rate must be a number"),
        (("train", "--branch-gammas", "1,x"), "must be numbers with commas between them, got '1,x'"),
        (("train", "--branch-gammas", "1,1"), "branch_gammas must be three numbers, at least 0, got (1.0, 1.0)"),
        (("train", "--optimizer", "adam"), "optimizer must be one of sgd, muon, got 'adam'"),
        (("train", "--schedule", "sudden"), "schedule must be one of"),
        (("train", "--data", "cifar9"), "cifar10"),
        (("train", "--data", "cifar10", "--data-dir", "nowhere"), "nowhere"),
        (("train", "--threads", "0"), "threads must be from 1 to"),
        (
            ("train", "--out", "/dev/null/run", "--epochs", "1", "--limit", "8", "--model", "repvgg-small"),
            "/dev/null/run",
        ),
        (("demo", "--epochs", "0", "--out", "demo-out"), "epochs must be at least 1, got 0"),
        (("evaluate", "nowhere.npz"), "nowhere.npz"),
        (("evaluate",), "expected a model's file or --pretrained"),
        (("predict", "a.npz", "--pretrained", "--row", "1"), "a model's file or --pretrained, and not both, got a.npz"),
        (("train", "--preset", "cofee"), "preset must be one of minute, coffee, lunch"),
        (("fuse", "nowhere.npz"), "nowhere.npz"),
        (("verify", "nowhere.npz"), "nowhere.npz"),
        (("predict", "nowhere.npz", "--row", "1"), "nowhere.npz"),
        (("bench", "--batch", "0"), "batch must be at least 1, got 0"),
        (("bench", "--repeats", "0"), "repeats must be at least 1, got 0"),
        (("frobnicate",), "invalid choice: 'frobnicate'"),
        (("summary", "--size", "big"), "argument --size: invalid int value: 'big'"),
        ((), "the following arguments are required: command"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert message in err and len(err.splitlines()) == 1 and "Traceback" not in err


def test_a_model_file_in_the_wrong_place_is_refused_in_one_line(trained, tmp_path, capsys):
    model, fused = trained / "model.npz", trained / "fused.npz"
    run(capsys, "fuse", model)
    np.savez(tmp_path / "pickle.npz", a=np.array([{}], dtype=object))
    save_npz(tmp_path / "foreign.npz", {"a": np.zeros(3)}, {})
    (tmp_path / "torn.npz").write_bytes(model.read_bytes()[:-100])
    bare = rv.create_model("RepVGG-small")
    rv.save(bare, tmp_path / "bare.npz")
    (tmp_path / "text.png").write_text("not a picture")
    data = write_folder(tmp_path / "cifar", random_split("cifar10", "test", np.random.default_rng(0))[0])
    for arguments, message in (
        (("fuse", fused), "is fused already"),
        (("verify", fused), "model must be in its training form"),
        (("fuse", tmp_path / "pickle.npz"), "pickle"),
        (("fuse", tmp_path / "foreign.npz"), "is not a model that repvgg_np saved"),
        (("evaluate", tmp_path / "torn.npz"), "torn.npz"),
        (("evaluate", tmp_path / "bare.npz"), "does not say how its pictures were normalised"),
        (("predict", tmp_path / "bare.npz", "--image", "x.png"), "does not say how its pictures were normalised"),
        (("predict", model, "--row", 2000), "row must be from 0 to 1999, got 2000"),
        (("predict", model, "--image", tmp_path / "text.png"), "text.png"),
        (("predict", model, "--image", tmp_path / "none.png"), "none.png"),
        (("evaluate", model, "--data", "cifar10", "--data-dir", data), "was trained on the classes of synthetic"),
        (("verify", model, "--limit", 0), "0"),
    ):
        code, out, err = run(capsys, *arguments)
        assert code == 2 and out == "" and message in err and len(err.splitlines()) == 1, (arguments, err)


def test_a_checkpoint_of_another_model_is_refused(trained, monkeypatch, capsys):
    monkeypatch.setitem(CONFIGS, "RepVGG-other", RepVGGConfig((1, 1), (2, 4), (2, 2), {}, 32, 10))
    arguments = ("train", "--out", trained, "--epochs", 1, "--batch-size", 8, "--limit", 16, "--lr", 0.05, "--resume")
    code, _, err = run(capsys, *arguments, "--model", "RepVGG-other")
    assert code == 2 and "RepVGG-small" in err and "RepVGG-other" in err and len(err.splitlines()) == 1


def test_help_describes_every_command(capsys):
    for command in ("demo", "train", "evaluate", "fuse", "verify", "predict", "summary", "ablate", "bench"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0 and out.startswith(f"usage: repvgg-np {command}")


@pytest.mark.slow_without_jit
def test_the_demo_as_a_process_of_its_own(tmp_path):
    arguments = [sys.executable, "-m", "repvgg_np", "demo", "--epochs", "1", "--out", "out", "--json"]
    done = subprocess.run(
        arguments, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "agg"}
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] and result["changed_predictions"] == 0 and result["accuracy"] == result["fused_accuracy"]
    assert sorted(os.listdir(tmp_path / "out")) == ["demo.png", "fused.npz", "history.csv", "model.npz"]
    assert image.imread(tmp_path / "out" / "demo.png").ndim == 3


@pytest.mark.slow_without_jit
def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m repvgg_np summary RepVGG-B3 | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and len(done.stdout.splitlines()) == 1
