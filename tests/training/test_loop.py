import dataclasses
import errno
import os
import sys
import threading

import numpy as np
import pytest

from repvgg_np.data import Augmentation, batches, mean_and_std
from repvgg_np.training import (
    COLUMNS,
    SGD,
    Settings,
    TrainingDiverged,
    WeightAverage,
    cosine,
    cross_entropy,
    evaluate,
    load_checkpoint,
    mixup,
    one_cycle,
    read_history,
    train,
    whiten_first_layer,
)
from tests.threads import each_thread_count

from .small import CLASSES, CONFIG, SETTINGS, STEPS, count_steps, remains, small_model, small_set, small_sets


def run(folder, model=None, settings=SETTINGS, sets=None, **options):
    model = small_model() if model is None else model
    return model, train(model, *(sets or small_sets()), settings, folder, **{"progress": False, **options})


@pytest.mark.slow_without_jit
def test_training_makes_the_loss_fall_and_learns_what_can_be_learnt(tmp_path):
    settings = Settings(epochs=12, batch_size=16, learning_rate=0.05)
    sets = small_set(96, seed=1), small_set(60, seed=2)
    model, result = run(tmp_path, settings=settings, sets=sets)
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < losses[0] / 2
    assert result.last_accuracy > 0.9  # a third would be guessing
    assert result.best_accuracy == max(row["test_accuracy"] for row in result.history)
    assert result.last_accuracy == evaluate(model, sets[1], result.mean, result.std, progress=False).accuracy
    assert not model.training


@pytest.mark.slow_without_jit
def test_a_run_is_forward_loss_backward_step_over_all_batches_of_all_epochs(tmp_path):
    """The same in a dozen lines, with nothing that saves, resumes or reports: the same bits."""
    model, (train_set, _) = small_model(), small_sets()
    mean, std = mean_and_std(train_set)
    whiten_first_layer(model, train_set, mean, std)
    average = WeightAverage(model, 0.9)
    augment = Augmentation(flip="alternating", operations=1, cutout=6)
    optimizer = SGD(model.named_parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    step = 0
    for epoch in range(2):
        options = {"mean": mean, "std": std, "seed": 0, "epoch": epoch, "augment": augment, "drop_last": True}
        for number, (x, y) in enumerate(batches(train_set, 8, **options)):
            x, targets = mixup(x, y, 3, 0.4, np.random.default_rng([0, epoch, 3, number]))
            _, grad_logits = cross_entropy(model(x), targets, 0.1)
            model.backward(grad_logits)
            optimizer.step(one_cycle(step, 8, 0.05))
            average.update(step)
            step += 1
    average.apply()
    trained, _ = run(tmp_path)
    expected = {name: array.tobytes() for name, array in model.state_dict().items()}
    assert {name: array.tobytes() for name, array in trained.state_dict().items()} == expected


def test_the_history_says_what_happened(tmp_path):
    settings = dataclasses.replace(SETTINGS, schedule="cosine", mixup=0.0)
    _, result = run(tmp_path, settings=settings)
    rows = read_history(tmp_path / "history.csv")
    assert rows == result.history
    assert [row["epoch"] for row in rows] == [1, 2]
    last_steps = [STEPS - 1, 2 * STEPS - 1]
    assert [row["learning_rate"] for row in rows] == [cosine(step, 2 * STEPS, 0.05) for step in last_steps]
    counts = [row["train_accuracy"] * STEPS * 8 for row in rows]  # of 32 pictures, a power of two: exact
    assert all(0 <= count == round(count) for count in counts)
    assert all(row["images_per_second"] > 0 and row["seconds"] > 0 for row in rows)
    assert result.images_per_second == sum(row["images_per_second"] for row in rows) / 2
    assert set(rows[0]) == set(COLUMNS)


def test_an_epoch_without_an_evaluation_leaves_a_gap_in_the_history_and_the_same_network(tmp_path, capsys):
    settings = dataclasses.replace(SETTINGS, epochs=3)
    every, all_of_them = run(tmp_path / "every", settings=settings)
    model, evaluations = small_model(), []
    forward = model.forward
    model.forward = lambda x: (None if model.training else evaluations.append(len(x)), forward(x))[1]
    settings = dataclasses.replace(settings, evaluate_every=2)
    _, some = run(tmp_path / "some", model, settings, progress=True)
    assert evaluations == [20, 20]  # after the second epoch, and after the last
    assert [row["test_accuracy"] is None for row in some.history] == [True, False, False]
    assert [row["test_loss"] is None for row in some.history] == [True, False, False]
    assert some.history == read_history(tmp_path / "some" / "history.csv")
    assert some.history[1]["test_loss"] == all_of_them.history[1]["test_loss"]
    assert some.best_accuracy == max(row["test_accuracy"] for row in all_of_them.history[1:])
    assert [("test loss" in line) for line in capsys.readouterr().err.splitlines()] == [False, True, True]
    states = [{name: array.tobytes() for name, array in net.state_dict().items()} for net in (every, model)]
    assert states[0] == states[1]


def test_the_network_takes_along_what_belongs_to_its_weights(tmp_path):
    model, result = run(tmp_path)
    mean, std = mean_and_std(small_sets()[0])
    assert model.notes == {
        "classes": list(CLASSES),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "dataset": "colours",
        "epochs": 2,
        "test_accuracy": result.last_accuracy,
    }
    assert result.mean.tobytes() == mean.tobytes()


@pytest.mark.slow_without_jit
def test_the_same_seed_gives_the_same_bits_and_another_gives_others(tmp_path):
    for name, settings in (("a", SETTINGS), ("b", SETTINGS), ("c", dataclasses.replace(SETTINGS, seed=1))):
        run(tmp_path / name, settings=settings)
    assert remains(tmp_path / "a") == remains(tmp_path / "b") != remains(tmp_path / "c")


@pytest.mark.slow_without_jit
@pytest.mark.parametrize(
    "change",
    [
        {"mixup": 0.0},
        {"augment": False},
        {"label_smoothing": 0.0},
        {"nesterov": False},
        {"decay": "all"},
        {"padding": 1},
        {"flip": "random"},
        {"rand_augment": 0},
        {"magnitude": 30},
        {"cutout": 0},
        {"whiten": False},
        {"average": 0.05},
        {"bias_rate": 2},
        {"branch_gammas": (1, 1, 0.5)},
        {"logit_scale": 0.5},
    ],
)
def test_every_setting_has_an_effect(tmp_path, change):
    run(tmp_path / "a", settings=dataclasses.replace(SETTINGS, epochs=1))
    run(tmp_path / "b", settings=dataclasses.replace(SETTINGS, epochs=1, **change))
    assert remains(tmp_path / "a")[0] != remains(tmp_path / "b")[0]


@pytest.mark.slow_without_jit
def test_one_thread_and_all_threads_give_the_same_bits(tmp_path):
    for name, _ in zip(("one", "all"), each_thread_count(), strict=True):
        run(tmp_path / name)
    assert remains(tmp_path / "one") == remains(tmp_path / "all")


@pytest.mark.slow_without_jit
def test_a_run_without_checkpoints_in_between_has_the_same_bits(tmp_path):
    run(tmp_path / "often", checkpoint_seconds=0)
    run(tmp_path / "rarely", checkpoint_seconds=1e9)
    assert remains(tmp_path / "often") == remains(tmp_path / "rarely")


@pytest.mark.parametrize("size", [1, 5, 8, 9, 17])
def test_an_odd_last_batch_never_reaches_batch_norm(tmp_path, size):
    """Fewer pictures than a batch are one batch; else only whole batches are trained on."""
    sizes, model = [], small_model()
    forward = model.forward
    model.forward = lambda x: (sizes.append(len(x)) if model.training else None, forward(x))[1]
    run(tmp_path, model, dataclasses.replace(SETTINGS, epochs=1), (small_set(size, 1), small_set(5, 2)))
    assert sizes == ([size] if size < 8 else [8] * (size // 8))


def test_pictures_are_small_at_first_and_whole_in_evaluations(tmp_path):
    seen, model = {True: [], False: []}, small_model()
    forward = model.forward
    model.forward = lambda x: (seen[model.training].append(x.shape[2:]), forward(x))[1]
    run(tmp_path, model, dataclasses.replace(SETTINGS, first_size=16))
    assert seen[True] == [(24, 24)] * STEPS + [(32, 32)] * STEPS
    assert set(seen[False]) == {(32, 32)}


def test_a_float64_network_is_trained_in_float64(tmp_path):
    model, _ = run(tmp_path, small_model(dtype=np.float64), dataclasses.replace(SETTINGS, epochs=1))
    floats = [array for array in model.state_dict().values() if array.dtype.kind == "f"]
    assert all(array.dtype == np.float64 for array in floats)


@pytest.mark.slow_without_jit
def test_training_works_outside_the_main_thread(tmp_path):
    run(tmp_path / "a")
    thread = threading.Thread(target=run, args=(tmp_path / "b",))
    thread.start()
    thread.join()
    assert remains(tmp_path / "a") == remains(tmp_path / "b")


def test_progress_is_one_line_per_epoch_where_stderr_is_no_terminal(tmp_path, capsys):
    run(tmp_path / "loud", progress=True)
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line]
    assert printed.out == ""
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("test loss" in line and "images/s" in line for line in lines)
    run(tmp_path / "silent", progress=False)
    assert capsys.readouterr() == ("", "")


class Terminal:
    """A stderr that says it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_after_each_epoch_whoever_asked_is_told_when_all_is_saved(tmp_path):
    told = []

    def note(rows):
        told.append([row["epoch"] for row in rows])
        assert rows == read_history(tmp_path / "history.csv")
        assert load_checkpoint(tmp_path / "checkpoint.npz").position.epoch == len(rows)

    run(tmp_path, after_epoch=note)
    assert told == [[1], [1, 2]]


def test_on_a_terminal_a_bar_shows_loss_accuracy_and_speed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    run(tmp_path, progress=True)
    text, _ = sys.stderr.text, monkeypatch.undo()
    assert "epoch 2/2:   0%" in text
    assert "/4 [" in text
    assert "epoch 2/2: training loss" in text


# What ends a run before its time


def blows_up(at, with_what):
    """Return a network whose last bias gets that value in the middle of a step, as if a step had blown it up."""
    model = small_model()

    def at_step(k):
        if k == at:
            model.linear.bias.data[0] = with_what

    return count_steps(model, at_step)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_the_checkpoint_stays(tmp_path, value):
    with pytest.raises(TrainingDiverged) as caught:
        run(tmp_path, blows_up(at=5, with_what=value))
    message = str(caught.value)
    assert message.startswith(
        "training diverged in epoch 2 after 2 of 4 steps: the loss is nan, at a learning rate of 0.0"
    )
    assert "smaller learning rate" in message
    assert "\n" not in message
    bits, sums, history, _ = remains(tmp_path)
    assert sums[:2] == (1, 0)
    assert [row["epoch"] for row in history] == [1]
    assert np.isfinite(np.frombuffer(bits["model linear.bias"], np.float32)).all()


@pytest.mark.parametrize("at", [0, *(pytest.param(at, marks=pytest.mark.slow_without_jit) for at in (3, 5, 7))])
def test_weights_that_are_no_numbers_are_never_saved(tmp_path, at):
    """The loss of the step that ruins the weights is finite; the next would say it, but a checkpoint comes first."""
    with pytest.raises(TrainingDiverged, match=r"the network is not finite any more \(first in linear\.bias\)"):
        run(tmp_path, blows_up(at=at, with_what=np.nan), checkpoint_seconds=0)
    bits, sums, _, _ = remains(tmp_path)
    assert sums[:2] == divmod(at, STEPS)
    assert np.isfinite(np.frombuffer(bits["model linear.bias"], np.float32)).all()


def test_an_absurd_learning_rate_is_reported_without_warnings(tmp_path):
    settings = dataclasses.replace(SETTINGS, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(TrainingDiverged, match="smaller learning rate"):
        run(tmp_path, settings=settings)
    assert remains(tmp_path)[1][:2] == (0, 0)


@pytest.mark.slow_without_jit
def test_a_full_disk_comes_through_and_the_former_checkpoint_stays(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    content = {}

    def fill_the_disk(k):
        if k == 6:
            content["before"] = (tmp_path / "full" / "checkpoint.npz").read_bytes()

            def full(descriptor):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(ValueError, match=r"cannot write .*checkpoint\.npz: No space left on device"):
        run(tmp_path / "full", count_steps(small_model(), fill_the_disk), checkpoint_seconds=0)
    assert (tmp_path / "full" / "checkpoint.npz").read_bytes() == content["before"]
    monkeypatch.undo()
    run(tmp_path / "full", resume=True)
    assert remains(tmp_path / "full") == remains(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(tmp_path):
    (tmp_path / "file").write_text("")

    def never(k):
        raise AssertionError

    with pytest.raises(ValueError, match="cannot write .*file"):
        run(tmp_path / "file", count_steps(small_model(), never))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint_seconds": -1}, "checkpoint_seconds must be a number of at least 0, got -1"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds .* got nan"),
        ({"settings": {"epochs": 2}}, "settings must be a Settings, got dict"),
        (
            {"sets": (small_set(20, 1), small_set(5, 2, classes=("r", "g", "b")))},
            "test_set must have the classes of train_set",
        ),
        ({"model": small_model(config=dataclasses.replace(CONFIG, num_classes=4))}, "model must have the 3 classes"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
