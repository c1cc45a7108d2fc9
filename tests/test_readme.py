"""What the README says can be done can be done: its Python runs, its commands parse, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.cli import _parser
from repvgg_np.demo import MODEL

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDENTED = re.findall(r"^    (.*)$", README, flags=re.MULTILINE)


@pytest.mark.slow_without_jit
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start = INDENTED.index("import repvgg_np as rv")
    end = next(i for i in range(start, len(INDENTED)) if INDENTED[i].startswith("rv.save("))
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    exec("\n".join(INDENTED[start : end + 1]), {"x": x})
    assert capsys.readouterr().out.startswith("True ")
    assert (tmp_path / "plain.npz").exists()


@pytest.mark.slow_without_jit
def test_the_main_jobs_blocks_are_computed_by_what_the_readme_prints():
    pictures = np.random.default_rng(0).normal(size=(256, 3, 32, 32)).astype(np.float32)
    report = rv.verify_fusion(rv.create_model(MODEL, num_classes=10), pictures)
    printed = re.findall(r"^ +(stage[\d.]+) +(im2col|winograd) ", README.split("## CIFAR-10")[0], flags=re.MULTILINE)
    assert printed == [(block.name, block.algorithm) for block in report.blocks]


def test_the_commands_of_the_readme_parse():
    commands = [part.strip() for line in INDENTED for part in line.split("&&") if part.strip().startswith("repvgg-np ")]
    assert len(commands) >= 7
    for command in commands:
        _parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("page", ["README.md", "tests/README.md", "tutorials/README.md"])
def test_the_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_map_of_the_house_names_every_room_and_no_other():
    rooms = set(re.findall(r"`([a-z_]+(?:\.py|/))`", README.split("## The house")[1].split("Where to begin")[0]))
    package = ROOT / "repvgg_np"
    present = {f"{p.name}/" for p in package.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    present |= {p.name for p in package.glob("*.py") if p.name != "__init__.py"}
    assert rooms == present
