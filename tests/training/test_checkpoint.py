import dataclasses
import errno
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.interop import read_npz, save_npz
from repvgg_np.training import (
    COLUMNS,
    SGD,
    Position,
    Settings,
    describe_run,
    load_checkpoint,
    save_checkpoint,
)

from .small import CONFIG, SETTINGS, small_model, small_set, small_sets

MEAN, STD = np.array([0.1, 0.2, 0.3], np.float32), np.array([1, 2, 3], np.float32)


def run(seed=0, settings=SETTINGS, sets=None, config=CONFIG, mean=MEAN):
    """A network, its optimizer, the settings, and what the run is a run of."""
    model = small_model(seed, config)
    optimizer = SGD(model.named_parameters(), settings.learning_rate)
    return model, optimizer, settings, describe_run(model, *(sets or small_sets()), mean, STD)


def row(epoch):
    return {"epoch": epoch, **dict.fromkeys(COLUMNS[1:], 0.1)}


@pytest.fixture
def saved(tmp_path):
    """The path of a checkpoint in the second epoch, and what was saved."""
    model, optimizer, settings, facts = run(seed=1)
    rng = np.random.default_rng(0)
    optimizer.load_state_dict(
        {name: rng.standard_normal(v.shape).astype(v.dtype) for name, v in optimizer.state_dict().items()}
    )
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, model, optimizer, settings, Position(1, 2, 32, 0.1, 7.0, 1.5), facts, [row(1)])
    return path, model.state_dict(), optimizer.state_dict()


def same_bits(found, expected):
    return found.keys() == expected.keys() and all(found[name].tobytes() == a.tobytes() for name, a in expected.items())


def test_what_is_saved_is_what_is_restored(saved):
    path, state, momentum = saved
    model, optimizer, settings, facts = run(seed=2)
    checkpoint = load_checkpoint(path)
    assert checkpoint.settings == settings
    assert checkpoint.position == Position(1, 2, 32, 0.1, 7.0, 1.5)
    assert checkpoint.history == [row(1)]
    assert checkpoint.facts == facts
    assert facts["classes"] == ["red", "green", "blue"]
    assert np.array(facts["mean"], np.float32).tobytes() == MEAN.tobytes()
    checkpoint.restore(model, optimizer, settings, facts)
    assert same_bits(model.state_dict(), state)
    assert same_bits(optimizer.state_dict(), momentum)


@given(st.floats(0, allow_infinity=False), st.floats(0, 1e9), st.integers(0, 2**60))
def test_the_running_sums_keep_every_bit(tmp_path_factory, loss_sum, correct, images):
    path = tmp_path_factory.mktemp("run") / "checkpoint.npz"
    position = Position(0, 1, images, loss_sum, correct)
    model = small_model()
    save_checkpoint(path, model, SGD(model.named_parameters(), 0.1), SETTINGS, position, {}, [])
    found = load_checkpoint(path).position
    assert (found.images, found.loss_sum.hex(), found.correct.hex()) == (images, loss_sum.hex(), correct.hex())


def more_contrast(dataset):
    images = dataset.images.copy()
    images[0, 0, 0, 0] ^= 1
    return dataclasses.replace(dataset, images=images)


def relabelled(dataset):
    labels = dataset.labels.copy()
    labels[-1] = (labels[-1] + 1) % 3
    return dataclasses.replace(dataset, labels=labels)


TRAIN, TEST = small_sets()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"settings": dataclasses.replace(SETTINGS, learning_rate=0.1)},
            r"other settings: learning_rate 0\.05 \(now 0\.1\)",
        ),
        ({"settings": dataclasses.replace(SETTINGS, seed=1, epochs=9)}, r"epochs 2 \(now 9\), seed 0 \(now 1\)"),
        (
            {"settings": Settings(epochs=9)},
            r"epochs 2 \(now 9\), batch_size 8 \(now 128\), learning_rate 0.05 \(now 0.1\) and 9 more",
        ),
        (
            {"sets": (more_contrast(TRAIN), TEST)},
            r"other network or data: train_set colours, 36 pictures, sha256 \w+ \(now",
        ),
        ({"sets": (relabelled(TRAIN), TEST)}, r"network or data: train_set colours"),
        ({"sets": (TRAIN, small_set(21, seed=2))}, r"test_set colours, 20 pictures, .* \(now colours, 21 pictures"),
        ({"sets": (TRAIN, dataclasses.replace(TEST, name="grey"))}, r"test_set colours, .* \(now grey, 20 pictures"),
        ({"mean": MEAN + 1}, r"other network or data: mean \[0\.1"),
        ({"config": dataclasses.replace(CONFIG, widths=(4, 8))}, r"architecture depths .* \(4, 4\), .* \(4, 8\)"),
        ({"config": dataclasses.replace(CONFIG, strides=(2, 2))}, "architecture depths"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(saved, other, message):
    path = saved[0]
    model, optimizer, settings, facts = run(seed=2, **other)
    before, velocities = model.state_dict(), optimizer.state_dict()
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path).restore(model, optimizer, settings, facts)
    assert str(caught.value).startswith(f"{path} is a checkpoint of a run with other ")
    assert "\n" not in str(caught.value)
    assert same_bits(model.state_dict(), before)
    assert same_bits(optimizer.state_dict(), velocities)


def test_arrays_that_do_not_fit_the_network_are_refused_and_nothing_is_taken_over(saved):
    path = saved[0]
    arrays, metadata = read_npz(path)
    del arrays["model/linear.bias"]
    save_npz(path, arrays, metadata)
    model, optimizer, settings, facts = run(seed=2)
    before, velocities = model.state_dict(), optimizer.state_dict()
    with pytest.raises(ValueError, match="is a checkpoint of another network: .* lacks linear.bias"):
        load_checkpoint(path).restore(model, optimizer, settings, facts)
    assert same_bits(model.state_dict(), before)
    assert same_bits(optimizer.state_dict(), velocities)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(format="other"), "is not a training checkpoint"),
        (lambda facts: facts.pop("position"), "is damaged: 'position'"),
        (lambda facts: facts.update(position=3), "is damaged"),
        (
            lambda facts: facts["position"].update(step=-1),
            "is damaged: step of its position must be of type int and at least 0, got -1",
        ),
        (lambda facts: facts["position"].update(loss_sum=math.nan), "is damaged: loss_sum"),
        (lambda facts: facts["position"].update(extra=1), "is damaged: .*extra"),
        (lambda facts: facts["position"].update(epoch="1"), "is damaged"),
        (lambda facts: facts["position"].update(epoch=2), "its history must have a row for each of the 2 epochs"),
        (lambda facts: facts.update(history=[{"epoch": 1}]), "its history must have a row"),
        (lambda facts: facts.update(history=None), "is damaged"),
        (lambda facts: facts["settings"].update(epochs=0), "is damaged: epochs must be at least 1, got 0"),
        (lambda facts: facts.update(settings=[1]), "is damaged"),
        (lambda facts: facts.update(facts=[1]), "is damaged"),
    ],
)
def test_a_checkpoint_with_impossible_facts_is_refused(saved, change, message):
    path = saved[0]
    arrays, metadata = read_npz(path)
    change(metadata)
    save_npz(path, arrays, metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_missing_and_a_truncated_checkpoint_are_refused(saved, tmp_path):
    path = saved[0]
    with pytest.raises(ValueError, match=r"cannot read .*missing\.npz: No such file"):
        load_checkpoint(tmp_path / "missing.npz")
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cannot read"):
            load_checkpoint(path)


def test_a_full_disk_leaves_the_former_checkpoint_as_it_was(saved, monkeypatch):
    path = saved[0]
    content = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    model, optimizer, settings, facts = run(seed=2)
    with pytest.raises(ValueError, match=r"cannot write .*checkpoint\.npz: No space left on device"):
        save_checkpoint(path, model, optimizer, settings, Position(), facts, [])
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["checkpoint.npz"]
