"""Figures are written whole, show what they were given, and survive extreme input."""

from fractions import Fraction

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from repvgg_np import plots
from repvgg_np.fuse import fuse_branches

HISTORY = [
    {"epoch": e, "train_loss": 2 / e, "test_loss": 2.1 / e, "train_accuracy": 0.3 * e, "test_accuracy": 0.29 * e}
    for e in (1, 2, 3)
]


def branches(rng, channels=4):
    shapes = ((channels, channels, 3, 3), (channels, channels, 1, 1), (channels, channels, 1, 1))
    return [(rng.normal(size=shape), rng.normal(size=channels)) for shape in shapes]


def test_the_learning_curve_shows_every_epoch_in_percent():
    axes = Figure().subplots()
    plots.draw_learning_curve(axes, HISTORY)
    train, test = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(train, [[1, 30], [2, 60], [3, 90]])
    np.testing.assert_allclose(test[:, 1], [29, 58, 87])
    assert axes.get_xlabel() and axes.get_ylabel() == "accuracy (%)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "test"]
    plots.draw_learning_curve(axes, HISTORY, "held-out")
    assert axes.get_legend().get_texts()[-1].get_text() == "held-out"


def test_the_learning_curve_passes_over_epochs_without_an_evaluation(tmp_path):
    gap = {"test_loss": None, "test_accuracy": None}
    axes = Figure().subplots()
    plots.draw_learning_curve(axes, [HISTORY[0] | gap, HISTORY[1], HISTORY[2] | gap])
    train, test = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(train, [[1, 30], [2, 60], [3, 90]])
    np.testing.assert_allclose(test, [[2, 58]])
    assert [text.get_text() for text in axes.texts] == ["58.0 %"]
    for count in (1, 3):  # none yet
        plots.learning_curve(tmp_path / "curve.png", [row | gap for row in HISTORY[:count]], "title")
        assert image.imread(tmp_path / "curve.png").ndim == 3


def test_the_confusion_matrix_shows_every_count_and_is_coloured_by_the_mistakes(tmp_path, monkeypatch):
    drawn = {}

    def keep(canvas, file, **options):
        drawn["axes"] = canvas.axes[0]

    monkeypatch.setattr(Figure, "savefig", keep)
    plots.confusion_matrix(tmp_path / "confusion.png", np.array([[8, 2], [0, 0]]), ("cat", "dog"), "title")
    axes = drawn["axes"]
    assert [text.get_text() for text in axes.texts] == ["8", "2", "0", "0"]
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), [[0, 0.2], [0, 0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


def test_the_fused_kernel_that_is_drawn_is_the_sum_of_the_branches_that_are_drawn(rng):
    canvas, pieces = Figure(), branches(rng)
    plots.draw_fusion(canvas, pieces, [(1, 1), (2, 0)])
    drawn = [axes.get_images()[0].get_array() for axes in canvas.axes]
    for row, (c_out, c_in) in zip(np.reshape(np.array(drawn), (2, 4, 3, 3)), [(1, 1), (2, 0)], strict=True):
        np.testing.assert_allclose(row[:3].sum(axis=0), row[3])
        np.testing.assert_array_equal(row[3], fuse_branches(pieces)[0][c_out, c_in])


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([[1.0, -0.25]], ["+1.00", "-0.25"]),
        ([[3, -2], [0, 1]], ["3", "-2", "0", "1"]),
        ([[Fraction(1, 3), Fraction(0)]], ["1/3", "0"]),
    ],
)
def test_a_table_shows_its_numbers_as_the_reader_would_write_them(numbers, texts):
    axes = Figure().subplots()
    plots.draw_numbers(axes, np.array(numbers))
    assert [text.get_text() for text in axes.texts] == texts


def test_an_equation_has_its_signs_between_its_terms():
    canvas = Figure()
    plots.draw_equation(
        canvas, [(name, np.eye(size), plots.BLUE) for name, size in zip("abc", (2, 3, 1), strict=True)], "+="
    )
    assert [axes.get_title() for axes in canvas.axes] == ["a", "b", "c"]
    edges = [axes.get_position().intervalx for axes in canvas.axes]
    signs = {text.get_text(): text.get_position()[0] for text in canvas.texts}
    assert edges[0][1] < signs["+"] < edges[1][0]
    assert edges[1][1] < signs["="] < edges[2][0]
    np.testing.assert_allclose(
        [right - left for left, right in edges], (edges[2][1] - edges[2][0]) * np.array([2, 3, 1])
    )


def test_the_bars_are_the_medians():
    axes = Figure().subplots()
    plots.draw_times(axes, {"a": [1, 2, 30], "b": [4, 5, 6]})
    assert [bar.get_height() for bar in axes.patches] == [2, 5]


@pytest.mark.parametrize("groups", [1, 4])
def test_the_figures_are_written_as_pictures(groups, tmp_path, rng):
    pieces = [(kernel[:, : 4 // groups], bias) for kernel, bias in branches(rng)]
    plots.demo_figure(tmp_path / "demo.png", HISTORY, "stage1.0", pieces, {"a": [1.0], "b": [2.0]}, "title")
    plots.learning_curve(tmp_path / "deep" / "curve.png", HISTORY[:1], "title")
    for path in ("demo.png", "deep/curve.png"):
        assert image.imread(tmp_path / path).shape[2] == 4


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write .*curve.png"):
        plots.learning_curve(tmp_path / "file" / "curve.png", HISTORY, "title")
