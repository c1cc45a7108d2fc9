"""Tables 6 and 7: every row of the paper, its speed, and the accuracies of one's own or of the package."""

import json

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from repvgg_np.analysis import ABLATION_TOP_1
from repvgg_np.analysis.published import TABLE_6, TABLE_7
from repvgg_np.bench import timing
from repvgg_np.cli import main
from repvgg_np.models import CONFIGS, RepVGGConfig
from repvgg_np.tables import ablations
from repvgg_np.tables.ablation_figure import accuracy_figure, draw_accuracies
from repvgg_np.tables.packaged_ablation import packaged_ablation
from repvgg_np.training import summarise

PUBLISHED = {"6": TABLE_6, "7": TABLE_7}
RESULTS = """row,seed,epochs,parameters,fused_parameters,train_accuracy,test_accuracy,fused_test_accuracy,\
changed_predictions,training_images_per_second,images_per_second,fused_images_per_second
repvgg,0,1,9,8,0.5,0.4,0.4,0,1,1,1
repvgg,1,1,9,8,0.6,0.5,0.5,0,1,1,1
plain,0,1,9,8,0.7,0.3,0.3,0,1,1,1
acb,0,1,9,8,0.8,0.8,0.8,0,1,1,1
"""


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """Register a network that plain Python can run; and wait for no threads."""
    monkeypatch.setitem(CONFIGS, "RepVGG-small", RepVGGConfig((1, 1, 2), (2, 4, 4), (2, 2, 2), {}, 32, 10))
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)


@pytest.fixture
def results(tmp_path):
    """A file of four runs: two of one row, one of two, none of all others."""
    path = tmp_path / "results.csv"
    path.write_text(RESULTS)
    return path


def run(capsys, *arguments):
    """Run `repvgg-np table`; return its exit code and stdout."""
    code = main(["table", *(str(argument) for argument in arguments)])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("table", ["6", "7"])
def test_an_ablation_table_has_every_row_of_the_paper_and_accuracies_where_there_are_some(
    table, results, capsys, tmp_path
):
    options = ("--model", "RepVGG-small", "--batch", 1, "--rounds", 1, "--results", results)
    code, out = run(capsys, table, *options, "--figure", tmp_path / "ablation.png")
    lines = out.splitlines()
    assert code == 0 and all(any(line.startswith(row.text) for line in lines) for row in PUBLISHED[table])
    assert any("2  45.00% +- 7.07" in line for line in lines) and image.imread(tmp_path / "ablation.png").ndim == 3
    assert any(line.startswith("accuracies: results.csv") for line in lines)
    code, out = run(capsys, table, *options, "--json")
    rows = {row["variant"]: row for row in json.loads(out)["rows"]}
    assert rows["repvgg"]["accuracy"] == pytest.approx(0.45) and rows["repvgg"]["seeds"] == 2
    if table == "7":
        assert rows["relu-in-branches"]["fused_images_per_second"] is None
        assert rows["diracnet"]["accuracy"] is None and rows["diracnet"]["accuracies"] == []
    fused = {row["fused_images_per_second"] for row in rows.values()}
    assert len(fused) == {"6": 1, "7": 3}[table]  # the same network is timed once; residual blocks; what does not fold


def test_without_a_file_the_accuracies_are_those_of_the_package(capsys, tmp_path):
    found = {row["row"]: row for row in summarise(packaged_ablation()[0])["rows"]}
    for table, published in PUBLISHED.items():
        picture = tmp_path / f"{table}.png"
        code, out = run(capsys, table, "--model", "RepVGG-small", "--no-speed", "--figure", picture)
        assert code == 0 and "accuracies: RepVGG-S-CIFAR, 8 epochs of CIFAR-10" in out
        assert image.imread(picture).ndim == 3
        lines = {line[: len(row.text)]: line for row in published for line in out.splitlines() if row.text in line[:30]}
        for row in published:
            mine = found.get(row.variant)
            assert ("-" if mine is None else f"{mine['test_accuracy']:.2%}") in lines[row.text]


def test_the_package_says_how_its_ablation_came_about():
    lines, facts = packaged_ablation()
    assert set(facts) == {"command", "model", "data", "epochs", "seeds", "machine", "date", "remarks"}
    assert facts["model"] in facts["command"] and f"--epochs {facts['epochs']}" in facts["command"]
    assert f"--seeds {facts['seeds']}" in facts["command"]
    runs = [(line["row"], line["seed"]) for line in lines]
    assert len(set(runs)) == len(runs) and {row for row, _ in runs} <= set(ABLATION_TOP_1)
    assert all(seed < facts["seeds"] for _, seed in runs)
    for line in lines:
        assert line["epochs"] == facts["epochs"] and 0.1 < line["test_accuracy"] < 1
        folds = line["row"] != "relu-in-branches"
        assert all((value is not None) == folds for name, value in line.items() if "fused" in name)


def test_accuracies_and_the_paper_s_are_correlated_where_both_are(results):
    result = ablations.ablation("6", "RepVGG-small", measure=False, results=results)
    assert result["order"]["spearman_training"] == -1  # plain knows its training pictures best
    assert result["spearman"] == {"accuracy": 1.0} and result["order"]["pairs"] == 1
    # The full block is 35 points behind ACB, whose only seed has the spread of the full block's two.
    order = ablations.ablation("7", "RepVGG-small", measure=False, results=results)["order"]
    (pair,) = order["reversed"]
    assert (pair["better"], pair["worse"], pair["clear"]) == ("acb", "repvgg", True)
    assert pair["error"] == pytest.approx(np.sqrt(0.005 * 1.5))


def test_what_the_seeds_do_not_explain_is_said_in_the_paper_s_words(results, capsys):
    _, out = run(capsys, "7", "--model", "RepVGG-small", "--no-speed", "--results", results)
    assert "of 1 pair of rows 1 have another order than in the paper; 1 of them by more than 2 standard errors" in out
    assert "  ACB above Full-featured reparam by 35.00 points, 4.0 standard errors; in the paper below by 1.56" in out
    results.write_text("\n".join(line for line in RESULTS.splitlines() if ",1,1,9" not in line))
    _, out = run(capsys, "7", "--model", "RepVGG-small", "--no-speed", "--results", results)
    assert "with one seed each, nothing is known of the spread" in out and "ACB above" not in out


def test_the_training_parameters_of_tables_6_and_7_are_those_of_repvgg_b0():
    rows = ablations.ablation("6", "RepVGG-B0", measure=False)["rows"]
    assert [row["training_parameters"] for row in rows] == [14_345_512, 14_354_856, 15_808_616, 15_817_960]
    assert {row["fused_parameters"] for row in rows} == {14_339_048}


def test_the_figure_has_a_dot_for_every_seed_the_mean_and_the_deviation():
    here, paper = Figure().subplots(1, 2, sharey=True)
    rows = [{"text": "two", "accuracies": [0.6, 0.8], "paper_top_1": 75.0}]
    rows += [{"text": "none", "accuracies": [], "paper_top_1": None}]
    rows += [{"text": "one", "accuracies": [0.5], "paper_top_1": 72.0}]
    draw_accuracies(here, paper, rows, "text")
    assert [label.get_text() for label in here.get_yticklabels()] == ["none", "one", "two"]  # by the paper's numbers
    dots = [line.get_xdata() for line in here.get_lines() if line.get_marker() == "o"]
    assert [list(values) for values in dots] == [[], [50], [60, 80]]
    one, two = here.containers
    assert one.lines[0].get_xdata()[0] == 50 and not one.has_xerr
    assert two.lines[0].get_xdata()[0] == 70
    (segment,) = two.lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 0], 70 + np.array([-1, 1]) * np.sqrt(200))
    assert [line.get_xydata().tolist() for line in paper.get_lines()] == [[[72, 1]], [[75, 2]]]


def test_the_figure_of_an_ablation_has_rows_beyond_the_paper_s(tmp_path):
    lines = [{"row": "dbb", "accuracies": [0.5], "paper_top_1": None}]
    lines += [{"row": "plain", "accuracies": [0.4, 0.3], "paper_top_1": 72.39}]
    accuracy_figure(tmp_path / "accuracies.png", lines, "title")
    assert image.imread(tmp_path / "accuracies.png").ndim == 3
