"""The tables of recipes and choices: means over seeds, what is clear, and packaged runs that are of today's presets."""

import argparse
import json
import math
import shlex

import pytest
from matplotlib import image
from matplotlib.figure import Figure

from repvgg_np.cli import main
from repvgg_np.commands.settings import add_settings, read_settings
from repvgg_np.models import CONFIGS
from repvgg_np.plots import GREY, VERMILION
from repvgg_np.tables import choices, recipes
from repvgg_np.tables.recipes_figure import draw_choices, draw_recipes
from repvgg_np.training import PRESETS


def run_of(recipe, seed, accuracy, **changes):
    """Return a training as the file of recipes has it."""
    run = {
        "recipe": recipe,
        "library": "repvgg_np",
        "model": "RepVGG-W1-CIFAR",
        "seed": seed,
        "epochs": 2,
        "threads": 2,
    }
    run |= {"test_accuracy": accuracy, "fused_test_accuracy": accuracy, "changed_predictions": 1}
    return run | {"mirrored_test_accuracy": accuracy + 0.01, "seconds": 66.0, "epoch_seconds": 60.0} | changes


def change_of(change, options, seed, accuracy):
    """Return a training as the file of choices has it."""
    run = {"change": change, "options": options, "seed": seed, "holdout_accuracy": accuracy}
    return run | {"train_accuracy": 0.5}


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """Put other trainings in the place of the packaged ones."""

    def put(module, runs):
        facts = {"command": "a command", "trained_on": "a machine", "pictures": "some pictures", "runs": runs}
        path = tmp_path / "runs.json"
        path.write_text(json.dumps(facts))
        monkeypatch.setattr(module, "RUNS", path)

    return put


def run(capsys, *arguments):
    """Run `repvgg-np table`; return its exit code and stdout."""
    code = main(["table", *(str(argument) for argument in arguments)])
    return code, capsys.readouterr().out


def test_the_packaged_trainings_are_of_the_presets_as_they_are():
    rows = recipes.recipes()["rows"]
    mine = {row["recipe"]: row for row in rows if row["purpose"]}
    assert {"minute", "coffee", "lunch", "best"} <= set(mine)
    for name, row in mine.items():
        assert (row["model"], row["epochs"]) == (PRESETS[name].model, PRESETS[name].settings.epochs)
        assert len(set(row["seeds"])) == len(row["seeds"])
    for name, settings in json.loads(recipes.RUNS.read_text())["settings"].items():
        now = json.loads(json.dumps(PRESETS[name].settings.as_dict()))
        assert settings == {key: value for key, value in now.items() if key not in ("seed", "evaluate_every")}
    for row in rows:
        if row["library"] == "repvgg_np":
            assert row["recipe"] in PRESETS and row["model"] in CONFIGS


def test_fusion_changed_the_accuracy_of_no_packaged_training():
    runs = [run for run in json.loads(recipes.RUNS.read_text())["runs"] if run["library"] == "repvgg_np"]
    assert runs and all(run["test_accuracy"] == run["fused_test_accuracy"] for run in runs)


def test_the_seeds_of_a_recipe_are_one_row_and_another_library_or_length_is_another(trainings, capsys, tmp_path):
    runs = [run_of("minute", 0, 0.7), run_of("minute", 1, 0.8, seconds=68.0)]
    bare = {"library": "PyTorch", "changed_predictions": None, "mirrored_test_accuracy": None, "seconds": None}
    runs += [run_of("minute", 0, 0.75, epoch_seconds=90.0) | bare]
    runs += [run_of("best", 0, 0.9, model="RepVGG-A0-CIFAR", epochs=15)]
    trainings(recipes, runs)
    ours, theirs, longer = recipes.recipes()["rows"]
    assert ours["accuracies"] == [0.7, 0.8] and ours["purpose"] == PRESETS["minute"].purpose
    assert theirs["accuracies"] == [0.75] and theirs["purpose"] is None and theirs["seconds"] == [None]
    assert longer["purpose"] is None and longer["published"] == 89.77 and ours["published"] is None
    code, out = run(capsys, "recipes", "--figure", tmp_path / "recipes.png")
    assert code == 0 and image.imread(tmp_path / "recipes.png").ndim == 3
    cells = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in cells]
    head, ours, theirs, longer, *_ = cells
    assert dict(zip(head, ours, strict=True)) == {
        "recipe": "minute",
        "network": "RepVGG-W1-CIFAR",
        "epochs": "2",
        "seeds": "2",
        "test pictures": "75.00% +- 7.07",
        "mirrored too": "76.00% +- 7.07",
        "changed": "2",
        "threads": "2",
        "training": "60 s",
        "command": "67 s",
        "published": "-",
    }
    assert theirs[0] == "minute, PyTorch" and theirs[4:] == ["75.00%", "-", "-", "2", "90 s", "-", "-"]
    assert longer[-1] == "89.77%" and "published: after 200 epochs" in out
    assert f"minute is made for {PRESETS['minute'].purpose}" in out and "some pictures" in out
    trainings(recipes, runs[:2])
    assert "published:" not in run(capsys, "recipes")[1]  # nothing to explain


def test_the_figure_of_recipes_has_every_seed_at_its_minutes(trainings):
    runs = [run_of("minute", 0, 0.7), run_of("minute", 1, 0.8, epoch_seconds=120.0)]
    trainings(recipes, [*runs, run_of("other", 0, 0.6, library="PyTorch", epoch_seconds=None)])
    axes = Figure().subplots()
    draw_recipes(axes, recipes.recipes()["rows"])
    (line,) = axes.get_lines()  # without a time there is no place for a dot
    assert line.get_xdata().tolist() == [1, 2] and line.get_ydata().tolist() == pytest.approx([70, 80])


def test_the_figure_names_a_recipe_once_and_each_seed_of_a_network_of_the_paper(trainings):
    runs = [run_of("minute", seed, 0.7 + seed / 10) for seed in (0, 1)]
    runs += [run_of("best", seed, 0.6, model="RepVGG-A0-CIFAR", epoch_seconds=60.0 * (seed + 1)) for seed in (0, 1)]
    trainings(recipes, runs)
    axes = Figure().subplots()
    draw_recipes(axes, recipes.recipes()["rows"])
    names = [(text.get_text(), text.xy) for text in axes.texts]
    assert names == [("minute", pytest.approx((1, 75))), ("A0", pytest.approx((1, 60))), ("A0", pytest.approx((2, 60)))]


def test_the_times_of_another_machine_are_in_no_mean_and_hollow(trainings, capsys):
    elsewhere = {"machine": "a slower one", "seconds": 99.0, "epoch_seconds": 90.0}
    trainings(recipes, [run_of("minute", 0, 0.7), run_of("minute", 1, 0.8, **elsewhere)])
    assert recipes.recipes()["rows"][0]["machines"] == [None, "a slower one"]
    out = run(capsys, "recipes")[1]
    assert "75.00% +- 7.07" in out and "60 s     66 s" in out
    assert "minute of RepVGG-W1-CIFAR, seed 1, on a slower one: training 90 s, command 99 s" in out
    axes = Figure().subplots()
    draw_recipes(axes, recipes.recipes()["rows"])
    dots = [(line.get_fillstyle(), line.get_xdata().tolist()) for line in axes.get_lines()]
    assert dots == [("full", [1]), ("none", [1.5])]
    trainings(recipes, [run_of("minute", 1, 0.8, **elsewhere)])  # nothing but that: no time at all
    assert run(capsys, "recipes")[1].splitlines()[1].split()[-3:] == ["-", "-", "-"]


def test_a_choice_is_clear_from_two_standard_errors_on(trainings, capsys, tmp_path):
    runs = [change_of("none", "", seed, 0.80 + 0.01 * seed) for seed in (0, 1, 2)]
    runs += [change_of("better", "--whiten", seed, 0.82 + 0.01 * seed) for seed in (0, 1, 2)]
    runs += [change_of("worse", "--flip none", seed, 0.79 + 0.01 * seed) for seed in (0, 1, 2)]
    trainings(choices, runs)
    result = choices.choices()
    assert result["deviation"] == pytest.approx(0.01)
    assert [row["change"] for row in result["rows"]] == ["none", "worse", "better"]
    none, worse, better = result["rows"]
    assert none["difference"] is none["error"] is None and not none["clear"]
    assert worse["difference"] == pytest.approx(-0.01) and better["difference"] == pytest.approx(0.02)
    assert worse["error"] == better["error"] == pytest.approx(0.01 * math.sqrt(2 / 3))  # 0.8 of a point
    assert better["clear"] and not worse["clear"]
    code, out = run(capsys, "choices", "--figure", tmp_path / "choices.png")
    assert code == 0 and image.imread(tmp_path / "choices.png").ndim == 3
    assert "+2.00 +- 0.82  clear" in out and "-1.00 +- 0.82         " in out and "a command" in out


def test_the_figure_of_choices_has_every_seed_and_marks_what_is_clear(trainings):
    runs = [change_of("none", "", seed, 0.80 + 0.01 * seed) for seed in (0, 1)]
    trainings(choices, runs + [change_of("better", "--whiten", seed, 0.90 + 0.01 * seed) for seed in (0, 1)])
    axes = Figure().subplots()
    draw_choices(axes, choices.choices()["rows"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "none"]  # from below
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [line.get_color() for line in dots] == [VERMILION, GREY]
    assert dots[0].get_xdata().tolist() == pytest.approx([9.5, 10.5])
    assert dots[1].get_xdata().tolist() == pytest.approx([-0.5, 0.5])


def test_the_options_of_every_packaged_choice_change_the_recipe():
    parser = argparse.ArgumentParser()
    add_settings(parser)
    facts = json.loads(choices.RUNS.read_text())
    _, _, *words = shlex.split(facts["command"])
    settings = {}
    for run in facts["runs"]:
        known, _ = parser.parse_known_args([*words, *shlex.split(run["options"])])
        settings[run["change"], run["seed"]] = read_settings(known)
    first, *others = (changed for (_, seed), changed in settings.items() if seed == 0)
    assert first == read_settings(parser.parse_known_args(words)[0]) and first not in others
    for name in {change for change, _ in settings}:
        assert len({seed for change, seed in settings if change == name}) >= 3
