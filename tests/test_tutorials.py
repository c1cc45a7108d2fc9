"""The tutorials run from a clean kernel, every claim in them holds, and each has the parts that a reader relies on.

Running them (marker `tutorials`) needs the extra `tutorials`. With REPVGG_NP_TUTORIALS=quick in the environment, a
notebook that trains or times does less of it. What is stored in the files is checked in any case.
"""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 180  # for a notebook: what its readers are promised

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sources(book, kind):
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


def outputs(book):
    return [output for cell in book["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]


def answers(book):
    """Return the folded answers to the exercises."""
    return re.findall(r"<details>.*?</details>", "\n".join(sources(book, "markdown")), flags=re.DOTALL)


def kinds_of(output):
    return set(output.get("data", {}))


@every_notebook
def test_a_tutorial_begins_with_its_question_and_what_the_reader_needs(path):
    first = sources(read(path), "markdown")[0]
    assert read(path)["cells"][0]["cell_type"] == "markdown"
    assert re.match(rf"# {int(path.stem[:2])}\. \S", first)
    assert first.index("**The question.**") < first.index("**You need.**") < first.index("**Time.**")
    assert "?" in first


@every_notebook
def test_a_tutorial_asks_for_a_guess_before_it_shows(path):
    asked = [i for i, cell in enumerate(read(path)["cells"]) if "**Predict first.**" in "".join(cell["source"])]
    assert len(asked) >= 2
    assert all(read(path)["cells"][i + 1]["cell_type"] == "code" for i in asked)


@every_notebook
def test_a_tutorial_ends_with_three_exercises_and_the_files_it_walked_through(path):
    last = sources(read(path), "markdown")[-1]
    exercises, files = last.split("## Exercises")[1].split("## In the package")
    assert re.findall(r"^\*\*(\d)\.\*\*", exercises, flags=re.MULTILINE) == ["1", "2", "3"]
    assert len(answers(read(path))) == exercises.count("<summary>Answer</summary>") == 3
    assert "](../repvgg_np/" in files


@every_notebook
def test_the_links_of_a_tutorial_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", "\n".join(sources(read(path), "markdown"))):
        assert (path.parent / target).exists(), target


@every_notebook
def test_a_tutorial_is_stored_as_it_ran_from_a_clean_kernel(path):
    book = read(path)
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell["id"] for cell in book["cells"]] == [f"cell-{i:02d}" for i in range(len(book["cells"]))]
    assert all(cell["metadata"] == {} for cell in book["cells"])
    assert book["metadata"]["language_info"] == {"name": "python"}


@every_notebook
def test_what_a_tutorial_shows_has_no_error_no_warning_and_nobodys_folder(path):
    for output in outputs(read(path)):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        text = json.dumps({kind: value for kind, value in output.get("data", {}).items() if kind != "image/png"})
        text += "".join(output.get("text", ""))
        assert not re.search(r"/(home|work|tmp|root|Users|usr)/|[A-Z]:\\", text)
        assert not re.search(r"\d\.\d{6,}\s*(ms|s|us)\b", text), "a time with more digits than anybody measures"


@every_notebook
def test_every_figure_of_a_tutorial_is_embedded(path):
    cells = [cell for cell in read(path)["cells"] if "plt.show()" in "".join(cell["source"])]
    assert cells
    for cell in cells:
        assert any("image/png" in kinds_of(output) for output in cell["outputs"]), cell["id"]


def test_the_map_names_every_tutorial_once_and_no_other():
    named = re.findall(r"^\| \[.*?\]\((\d\d_\w+\.ipynb)\)", (FOLDER / "README.md").read_text(), flags=re.MULTILINE)
    assert named == [path.name for path in NOTEBOOKS]
    assert len(NOTEBOOKS) >= 1


@pytest.mark.tutorials
@pytest.mark.slow_without_jit
@every_notebook
def test_a_tutorial_runs_and_so_do_the_answers_to_its_exercises(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(path, as_version=4)
    for answer in answers(read(path)):
        for code in re.findall(r"^```python\n(.*?)^```", answer, flags=re.DOTALL | re.MULTILINE):
            book.cells.append(nbformat.v4.new_code_cell(code))
    nbclient.NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for output in outputs(book):
        assert output.get("name") != "stderr", output["text"]
