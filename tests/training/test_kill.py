"""Runs in processes of their own, killed from outside at moments of nobody's choosing."""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import repvgg_np

from .small import TOTAL_STEPS, remains

pytestmark = pytest.mark.slow_without_jit

CHILD = Path(__file__).with_name("child.py")
KILLS = int(os.environ.get("REPVGG_NP_KILLS", "4"))
SEED = int(os.environ.get("REPVGG_NP_KILL_SEED", secrets.randbits(32)))


def start(folder, checkpoint_seconds=0.0, pause=0.0):
    """Start a run, and wait for its first step (or its end, if there is none left to do)."""
    root = str(Path(repvgg_np.__file__).parents[1])
    command = [sys.executable, "-W", "error", str(CHILD), str(folder), str(checkpoint_seconds), str(pause)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root})
    child.stdout.readline()
    return child


def finish(child):
    """Wait for the end; return the exit code and what was printed."""
    printed = child.communicate(timeout=300)[0]
    return child.returncode, printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves behind that was never stopped, and how long it takes from its first step on."""
    folder = tmp_path_factory.mktemp("whole")
    child = start(folder)
    began = time.perf_counter()
    assert finish(child)[0] == 0
    return remains(folder), time.perf_counter() - began


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, whole):
    expected, duration = whole
    print(f"{KILLS} kills, REPVGG_NP_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    landed, runs = 0, 0
    while landed < KILLS:
        folder, runs, finished = tmp_path / str(runs), runs + 1, False
        while not finished:
            child = start(folder)
            if landed < KILLS:
                time.sleep(rng.uniform(0, 0.5 * duration))
                child.kill()
            code, _ = finish(child)
            assert code in (0, -signal.SIGKILL)
            landed, finished = landed + (code != 0), code == 0
        assert remains(folder) == expected
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.npz", "history.csv"]


def test_a_run_that_is_interrupted_from_outside_saves_says_how_to_go_on_and_ends_with_the_same_bits(tmp_path, whole):
    expected, _ = whole
    child = start(tmp_path, checkpoint_seconds=1e9, pause=0.05)
    child.send_signal(signal.SIGINT)
    code, printed = finish(child)
    assert code == 130
    assert printed.count("step") < TOTAL_STEPS
    assert "training was interrupted in epoch 1 after" in printed
    assert "resume" in printed
    child = start(tmp_path)
    assert finish(child)[0] == 0
    assert remains(tmp_path) == expected
