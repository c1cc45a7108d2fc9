"""A run that was stopped and is resumed leaves the same bits behind as one that was never stopped."""

import dataclasses
import signal

import numpy as np
import pytest

from repvgg_np.interop import read_npz, save_npz
from repvgg_np.training import History, TrainingInterrupted, load_checkpoint, train
from repvgg_np.training import loop as loop_module

from .small import SETTINGS, STEPS, TOTAL_STEPS, count_steps, remains, small_model, small_sets


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves behind that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return remains(folder)


def run(folder, model=None, settings=SETTINGS, **options):
    model = small_model() if model is None else model
    return train(model, *small_sets(), settings, folder, **{"progress": False, "checkpoint_seconds": 1e9, **options})


def press_at(k, times=1):
    """A network in the middle of whose k-th step Ctrl-C is pressed."""

    def at_step(step):
        for _ in range(times if step == k else 0):
            signal.raise_signal(signal.SIGINT)

    return count_steps(small_model(), at_step)


FEW = pytest.mark.slow_without_jit  # for most of the cases: as plain Python, one or two of them must do


@pytest.mark.parametrize("k", [pytest.param(k, marks=FEW if k != 1 else ()) for k in range(TOTAL_STEPS)])
def test_interrupted_at_any_batch_boundary_and_resumed_is_never_interrupted(tmp_path, whole, k):
    with pytest.raises(TrainingInterrupted) as caught:
        run(tmp_path, press_at(k))
    epoch, step = divmod(k, STEPS)
    assert f"in epoch {epoch + 1} after {step + 1} of 4 steps" in str(caught.value)
    assert "resume" in str(caught.value)
    position = load_checkpoint(tmp_path / "checkpoint.npz").position
    assert (position.epoch, position.step) == (epoch, step + 1)
    run(tmp_path, small_model(seed=9), resume=True)  # the first weights do not matter any more
    assert remains(tmp_path) == whole


@pytest.mark.slow_without_jit
def test_a_gap_in_the_history_is_still_one_when_the_run_is_resumed(tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=3, evaluate_every=2)
    run(tmp_path / "whole", settings=settings)
    with pytest.raises(TrainingInterrupted):
        run(tmp_path / "resumed", press_at(STEPS + 1), settings)
    result = run(tmp_path / "resumed", settings=settings, resume=True)
    assert [row["test_loss"] is None for row in result.history] == [True, False, False]
    assert remains(tmp_path / "resumed") == remains(tmp_path / "whole")


@pytest.mark.slow_without_jit
def test_a_run_that_is_interrupted_at_every_single_step_still_ends_with_the_same_bits(tmp_path, whole):
    for _ in range(TOTAL_STEPS):
        with pytest.raises(TrainingInterrupted):
            run(tmp_path, press_at(0), resume=True)
    run(tmp_path, resume=True)
    assert remains(tmp_path) == whole


each_epoch = [0, *(pytest.param(epoch, marks=FEW) for epoch in range(1, SETTINGS.epochs))]


@pytest.mark.parametrize("epoch", each_epoch)
def test_interrupted_during_an_evaluation_it_stops_at_once_and_loses_no_step(tmp_path, whole, epoch):
    model, evaluations = small_model(), iter(range(99))
    forward = model.forward

    def pressing(x):
        if not model.training and next(evaluations) == epoch:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("Ctrl-C waited for the end of the evaluation")
        return forward(x)

    model.forward = pressing
    with pytest.raises(TrainingInterrupted, match=f"in epoch {epoch + 1} after 4 of 4 steps"):
        run(tmp_path, model)
    position = load_checkpoint(tmp_path / "checkpoint.npz").position
    assert (position.epoch, position.step) == (epoch, STEPS)
    run(tmp_path, resume=True)
    assert remains(tmp_path) == whole


@pytest.mark.parametrize("epoch", each_epoch)
def test_interrupted_between_history_and_checkpoint_it_stops_after_both(tmp_path, whole, epoch, monkeypatch):
    row = loop_module._row

    def pressing(position, *rest):
        if position.epoch == epoch:
            signal.raise_signal(signal.SIGINT)
        return row(position, *rest)

    monkeypatch.setattr(loop_module, "_row", pressing)
    with pytest.raises(TrainingInterrupted, match=f"at the end of epoch {epoch + 1}"):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path, resume=True)
    assert remains(tmp_path) == whole


class Killed(BaseException):
    """Ends a run without another word, as a signal would."""


@pytest.mark.parametrize("epoch", each_epoch)
def test_a_row_of_the_history_that_is_past_the_checkpoint_is_written_once(tmp_path, whole, epoch, monkeypatch):
    """Ended between the line of an epoch and its checkpoint."""
    original = History.append

    def dying(self, row):
        original(self, row)
        if row["epoch"] == epoch + 1:
            raise Killed

    monkeypatch.setattr(History, "append", dying)
    with pytest.raises(Killed):
        run(tmp_path, checkpoint_seconds=0)
    monkeypatch.undo()
    run(tmp_path, resume=True)
    assert remains(tmp_path) == whole


def test_a_second_ctrl_c_stops_in_the_middle_of_a_step_and_saves_nothing(tmp_path, whole):
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path, press_at(STEPS + 1, times=2))
    assert type(caught.value) is KeyboardInterrupt
    position = load_checkpoint(tmp_path / "checkpoint.npz").position
    assert (position.epoch, position.step) == (1, 0)  # the end of the first epoch
    run(tmp_path, resume=True)
    assert remains(tmp_path) == whole


@pytest.mark.slow_without_jit
def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path, whole):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(tmp_path, press_at(2))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert remains(tmp_path) == whole


def test_a_finished_run_is_resumed_without_a_step(tmp_path, whole):
    result = run(tmp_path)

    def never(k):
        raise AssertionError

    model = count_steps(small_model(seed=9), never)
    again = run(tmp_path, model, resume=True)
    assert again.history == result.history
    assert again.images_per_second == result.images_per_second
    assert model.notes["test_accuracy"] == result.last_accuracy
    assert not model.training
    assert remains(tmp_path) == whole


def test_where_there_is_no_checkpoint_yet_resuming_is_beginning(tmp_path, whole):
    run(tmp_path / "new", resume=True)
    assert remains(tmp_path / "new") == whole


def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(tmp_path):
    run(tmp_path)
    content = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.npz exists already: go on with that run \(resume\)"):
        run(tmp_path)
    assert (tmp_path / "checkpoint.npz").read_bytes() == content


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path):
    run(tmp_path)
    for name in (".checkpoint.npz.abc.part", ".history.csv.abc.part"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "other.part").write_bytes(b"somebody else's")
    run(tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "history.csv", "other.part"]


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match=r"other settings: epochs 2 \(now 4\)"):
        run(tmp_path, settings=dataclasses.replace(SETTINGS, epochs=4), resume=True)


@pytest.mark.parametrize(("epoch", "step"), [(0, 5), (2, 1), (3, 0)])
def test_a_position_beyond_the_end_is_refused(tmp_path, epoch, step):
    run(tmp_path)
    path = tmp_path / "checkpoint.npz"
    arrays, metadata = read_npz(path)
    row = metadata["history"][0]
    metadata["history"] = [{**row, "epoch": i + 1} for i in range(epoch)]
    metadata["position"].update(epoch=epoch, step=step)
    save_npz(path, arrays, metadata)
    with pytest.raises(ValueError, match="is damaged: its position is beyond the end"):
        run(tmp_path, resume=True)


def test_resuming_says_where_it_starts(tmp_path, capsys):
    with pytest.raises(TrainingInterrupted):
        run(tmp_path, press_at(5))
    capsys.readouterr()
    run(tmp_path, resume=True, progress=True)
    assert "starting in epoch 2 after 2 of 4 steps" in capsys.readouterr().err


@pytest.mark.slow_without_jit
def test_the_mean_loss_of_a_resumed_epoch_is_that_of_all_its_batches(tmp_path, whole):
    """Were the sums of the first part lost, the history would still look plausible: so it is checked by itself."""
    losses = []
    cross_entropy = loop_module.cross_entropy

    def noting(*arguments):
        loss, grad = cross_entropy(*arguments)
        losses.append(loss)
        return loss, grad

    loop_module.cross_entropy = noting
    try:
        with pytest.raises(TrainingInterrupted):
            run(tmp_path, press_at(1))
        result = run(tmp_path, resume=True)
    finally:
        loop_module.cross_entropy = cross_entropy
    means = np.array(losses).reshape(SETTINGS.epochs, STEPS).mean(axis=1)
    # The same four numbers, each scaled by 8 on the way and added in another order: a few roundings.
    assert [row["train_loss"] for row in result.history] == pytest.approx(means, rel=8 * np.finfo(float).eps)
