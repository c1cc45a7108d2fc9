"""The trained network in the package: it loads, it says where it comes from, and its two forms are one function."""

import hashlib
import json

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.data import load_dataset, normalise
from repvgg_np.models.pretrained import FOLDER, FORMS, pretrained_path
from repvgg_np.training import Settings


def test_both_forms_together_are_under_4_megabytes():
    assert sum(pretrained_path(form).stat().st_size for form in FORMS) < 4_000_000


def test_the_fused_file_is_the_fusion_of_the_other_bit_by_bit():
    fused, stored = rv.fuse(rv.load_pretrained()), rv.load_pretrained("inference")
    assert stored.form == "inference"
    assert {name: array.tobytes() for name, array in fused.state_dict().items()} == {
        name: array.tobytes() for name, array in stored.state_dict().items()
    }


@pytest.mark.slow_without_jit
def test_its_fusion_is_verified_on_pictures_that_it_has_never_seen():
    model = rv.load_pretrained()
    pictures = load_dataset("synthetic", "test").images[:8]
    report = rv.verify_fusion(model, normalise(pictures, model.notes["mean"], model.notes["std"]))
    assert report.ok and 0 < report.max_error <= report.bound


def test_it_knows_the_classes_the_normalisation_and_the_settings_that_made_it():
    model = rv.load_pretrained()
    assert model.notes["classes"][3] == "cat" and model.notes["dataset"] == "cifar10"
    assert 0.4 < np.mean(model.notes["mean"]) < 0.5 and 0.2 < np.mean(model.notes["std"]) < 0.3
    assert Settings.from_dict(model.notes["settings"]).epochs == model.notes["epochs"]


def test_the_text_beside_it_says_how_it_was_made():
    facts = json.loads((FOLDER / "cifar10.json").read_text())
    notes = rv.load_pretrained().notes
    assert facts["command"].startswith("repvgg-np train ") and f"--seed {facts['seed']}" in facts["command"]
    assert facts["model"] == rv.load_pretrained().name
    assert facts["history"][-1]["test_accuracy"] == notes["test_accuracy"] == facts["test_accuracy"]
    difference = abs(facts["fused_test_accuracy"] - facts["test_accuracy"])
    assert difference <= (facts["changed_predictions"] + 0.5) / 10_000  # a tie that rounding decides changes one
    for form in FORMS:
        path = pretrained_path(form)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == facts["sha256"][path.name]


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="form must be training or inference, got 'deploy'"):
        rv.load_pretrained("deploy")
