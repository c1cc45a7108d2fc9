"""A trained network goes into the package whole: both forms, and a record that says how it was made."""

import hashlib
import json
import sys

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.training import package_weights as module
from repvgg_np.training import train

from .small import SETTINGS, small_model, small_sets

pytestmark = pytest.mark.slow_without_jit


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Put the packaged files into a folder of this test's own."""
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(module, "pretrained_path", lambda form="training": tmp_path / "package" / f"{form}.npz")
    return tmp_path / "package"


def test_a_run_becomes_two_networks_and_the_record_of_it(place, tmp_path, monkeypatch, capsys):
    model = small_model()
    train(model, *small_sets(), SETTINGS, tmp_path / "run", progress=False)
    model.notes["settings"] = SETTINGS.as_dict()
    rv.save(model, tmp_path / "run" / "model.npz")
    monkeypatch.setattr(module, "load_dataset", lambda name, split, folder: small_sets()[1])
    command = "repvgg-np train --seed 0"
    monkeypatch.setattr(sys, "argv", ["package_weights", str(tmp_path / "run"), "--command", command])
    module.main()
    trained, fused = rv.load(place / "training.npz"), rv.load(place / "inference.npz")
    assert (trained.form, fused.form) == ("training", "inference")
    for name, array in rv.fuse(trained).state_dict().items():
        np.testing.assert_array_equal(fused.state_dict()[name], array)
    record = json.loads((place / module.RECORD).read_text())
    assert record["command"] == command and record["seed"] == SETTINGS.seed
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert record["history"][-1]["test_accuracy"] == record["test_accuracy"]
    assert record["sha256"]["training.npz"] == hashlib.sha256((place / "training.npz").read_bytes()).hexdigest()
    assert f"{record['test_accuracy']:.2%} of the test pictures correct" in capsys.readouterr().out


def test_what_is_no_run_is_refused_before_anything_is_written(place, tmp_path):
    with pytest.raises(ValueError, match=r"model\.npz"):
        module.package_weights(tmp_path, small_sets()[1], "repvgg-np train")
    assert not list(place.iterdir())
