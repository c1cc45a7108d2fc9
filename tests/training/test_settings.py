import dataclasses
import json

import numpy as np
import pytest

from repvgg_np.training import Settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", -1, "epochs must be at least 1, got -1"),
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("epochs", 2.0, "epochs must be an integer, got 2.0"),
        ("epochs", True, "epochs must be an integer, got True"),
        ("epochs", "3", "epochs must be an integer, got '3'"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("evaluate_every", 0, "evaluate_every must be at least 1, got 0"),
        ("evaluate_every", None, "evaluate_every must be an integer, got None"),
        ("seed", -1, "seed must be at least 0, got -1"),
        ("seed", None, "seed must be an integer, got None"),
        ("learning_rate", 0, "learning_rate must be a number, more than 0, got 0"),
        ("learning_rate", -0.1, "learning_rate must be a number, more than 0, got -0.1"),
        ("learning_rate", float("nan"), "learning_rate .* got nan"),
        ("learning_rate", float("inf"), "learning_rate .* got inf"),
        ("learning_rate", 10**400, "learning_rate must be a number, more than 0, got 1000"),
        ("learning_rate", "0.1", "learning_rate .* got '0.1'"),
        ("learning_rate", None, "learning_rate .* got None"),
        ("learning_rate", True, "learning_rate .* got True"),
        ("learning_rate", 1j, "learning_rate .* got 1j"),
        ("muon_rate", 0, "muon_rate must be a number, more than 0, got 0"),
        ("bias_rate", -1, "bias_rate must be a number, more than 0, got -1"),
        ("logit_scale", float("inf"), "logit_scale must be a number, more than 0, got inf"),
        ("optimizer", "adam", "optimizer must be one of sgd, muon, got 'adam'"),
        ("branch_gammas", 1.0, "branch_gammas must be three numbers, at least 0, got 1.0"),
        ("branch_gammas", (1, 1), r"branch_gammas .* got \(1, 1\)"),
        ("branch_gammas", (1, -1, 1), "branch_gammas .* got"),
        ("branch_gammas", (1, float("nan"), 1), "branch_gammas .* got"),
        ("branch_gammas", "111", "branch_gammas .* got '111'"),
        ("momentum", 1, "momentum must be a number, at least 0 and less than 1, got 1"),
        ("momentum", -0.1, "momentum .* got -0.1"),
        ("weight_decay", -1e-4, "weight_decay must be a number, at least 0, got -0.0001"),
        ("label_smoothing", 1.0, "label_smoothing must be a number, at least 0 and less than 1, got 1.0"),
        ("label_smoothing", -0.1, "label_smoothing .* got -0.1"),
        ("mixup", -1, "mixup must be a number, at least 0, got -1"),
        ("warmup_epochs", 20, "warmup_epochs must be a number, at least 0 and less than the 20 epochs, got 20"),
        ("warmup_epochs", -1, "warmup_epochs .* got -1"),
        ("schedule", "cosin", "schedule must be one of cosine, one_cycle, got 'cosin'"),
        ("schedule", ["cosine"], r"schedule must be one of .* got \['cosine'\]"),
        ("decay", "none", "decay must be one of official, kernels, all, got 'none'"),
        ("augment", "no", "augment must be True or False, got 'no'"),
        ("flip", "up", "flip must be one of random, alternating, none, got 'up'"),
        ("padding", -1, "padding must be at least 0, got -1"),
        ("rand_augment", 1.5, "rand_augment must be an integer, got 1.5"),
        ("magnitude", 31, "magnitude must be at most 30, got 31"),
        ("cutout", -2, "cutout must be at least 0, got -2"),
        ("first_size", 20, "first_size must be one of 8, 16, 24, 32, got 20"),
        ("whiten", None, "whiten must be True or False, got None"),
        ("average", 1, "average must be a number, at least 0 and less than 1, got 1"),
        ("nesterov", 2, "nesterov must be True or False, got 2"),
    ],
)
def test_a_choice_out_of_range_is_refused_in_one_line(name, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        Settings(**{name: value})
    assert "\n" not in str(caught.value)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match=r"nesterov needs a momentum of more than 0, got 0\.0"):
        Settings(nesterov=True, momentum=0)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(epochs=1, schedule="one_cycle", warmup_epochs=0.5, nesterov=True, mixup=0.2, seed=2**70),
        Settings(epochs=np.int64(3), learning_rate=np.float32(0.1), momentum=0, augment=np.False_, warmup_epochs=1),
        Settings(optimizer="muon", branch_gammas=(1, np.float32(0.5), 0)),
    ],
)
def test_settings_survive_json(settings):
    stored = json.loads(json.dumps(settings.as_dict()))
    assert stored == settings.as_dict() and Settings.from_dict(stored) == settings


@pytest.mark.parametrize(
    ("first", "epochs", "sizes"),
    [
        (32, 3, [32, 32, 32]),
        (24, 4, [24, 24, 32, 32]),
        (16, 3, [16, 24, 32]),
        (16, 8, [16, 16, 24, 24, 24, 32, 32, 32]),
        (16, 2, [24, 32]),
        (8, 1, [32]),
        (8, 4, [8, 16, 24, 32]),
    ],
)
def test_pictures_grow_in_equal_parts_of_the_run_and_are_whole_in_the_last_epoch(first, epochs, sizes):
    settings = Settings(first_size=first, epochs=epochs)
    assert [settings.size(epoch) for epoch in range(epochs)] == sizes


@pytest.mark.parametrize(
    ("every", "evaluated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (6, [5]), (3, [3, 5])]
)
def test_every_so_many_epochs_are_evaluated_and_the_last_always(every, evaluated):
    settings = Settings(epochs=5, evaluate_every=every)
    assert [epoch + 1 for epoch in range(5) if settings.evaluates(epoch)] == evaluated


def test_what_a_dict_lacks_has_its_default_and_what_is_unknown_is_refused():
    assert Settings.from_dict({"epochs": 3}) == Settings(epochs=3)
    with pytest.raises(ValueError, match="settings must be among epochs, .* got epoch, rate"):
        Settings.from_dict({"epoch": 3, "rate": 1})


def test_settings_cannot_be_changed_under_a_running_training():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 3
