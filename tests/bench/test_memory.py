"""The memory that is reported is what was used, above what was there before."""

import builtins
import subprocess

import numpy as np
import pytest

from repvgg_np.bench import bench_memory, memory, memory_child
from repvgg_np.bench.contest import OURS
from repvgg_np.bench.memory_child import measure, start_measuring
from repvgg_np.kernels import get_num_threads

WORK = {"who": OURS, "task": "inference", "model": "RepVGG-small", "batch": 2, "size": None, "seed": 0, "threads": 1}


@pytest.fixture(autouse=True)
def small_before_the_baseline(monkeypatch):
    monkeypatch.setattr(memory_child, "SMALL", "RepVGG-small")
    monkeypatch.setattr(memory_child, "set_num_threads", lambda threads: None)


def test_what_is_filled_and_freed_while_measuring_is_seen_and_nothing_from_before():
    np.ones(2**24)  # 128 MiB, freed at once
    before = np.ones(2**23)  # 64 MiB
    baseline, read_peak, exact = start_measuring()
    assert baseline >= before.nbytes
    np.ones(2**22)  # 32 MiB, freed at once
    if exact:
        # Linux counts pages in batches of 64 for each thread: it is a little behind
        assert abs(read_peak() - baseline - 2**25) < 2**22


def test_without_linuxs_counters_the_highest_since_the_start_is_taken(monkeypatch):
    def refuse(path, *arguments, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(builtins, "open", refuse)
    baseline, read_peak, exact = start_measuring()
    assert not exact and read_peak() >= baseline > 2**20


@pytest.mark.parametrize("task", ["inference", "training"])
def test_ours_and_a_peer_are_measured_alike(task, direct_peer):
    peer = direct_peer()
    peer.training = lambda model, x, labels, settings, threads: [("first", None), ("last", lambda: lambda: None)]
    for who in (OURS, "PyTorch"):
        found = measure(WORK | {"who": who, "task": task})
        assert found["bytes"] == found["peak"] - found["baseline"] >= 0
    assert found["note"] == {"inference": "quick", "training": "last"}[task]


def test_a_peer_that_is_not_installed_says_so(direct_peer):
    direct_peer(package="no_such_package")
    assert measure(WORK | {"who": "PyTorch"}) == {"error": "not installed"}


@pytest.mark.parametrize("task", ["inference", "training"])
def test_a_network_that_peers_do_not_build_is_measured_alone(task, direct_peer):
    direct_peer()
    work = WORK | {"model": "resnet-small", "task": task}
    assert measure(work)["bytes"] >= 0
    assert measure(work | {"who": "PyTorch"}) == {"error": "peers build RepVGG's plain networks only"}


def test_every_contestant_is_a_process_of_its_own_and_compared_with_ours(monkeypatch):
    asked = []

    def answer(work):
        asked.append((work["who"], work["task"]))
        assert work["threads"] == get_num_threads()
        return {"error": "too large"} if work["who"] == "OpenVINO" else {"bytes": 8 if work["who"] == OURS else 12}

    monkeypatch.setattr(memory, "measure_in_child", answer)
    result = bench_memory("repvgg-SMALL", 2)
    names = [OURS, "PyTorch", "ONNX Runtime", "OpenVINO"]
    assert asked == [(name, "inference") for name in names] + [(OURS, "training"), ("PyTorch", "training")]
    assert result["left_out"] == {"OpenVINO": "too large"} and result["model"] == "RepVGG-small"
    assert result["inference"]["PyTorch"]["ratio"] == 1.5 and result["training"][OURS]["ratio"] == 1


def test_if_ours_cannot_be_measured_the_reason_is_told(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: 9 TB\n")
    monkeypatch.setattr(memory.subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(ValueError, match="the measurement of inference failed: MemoryError: 9 TB"):
        bench_memory("RepVGG-small", 2, size=8, peers=[])
    failed.stderr, failed.returncode = "", -9
    assert memory.measure_in_child({}) == {"error": "the process ended with -9"}


@pytest.mark.slow_without_jit
def test_a_larger_batch_needs_more_memory():
    small, large = (bench_memory("RepVGG-tiny", n, peers=[], tasks=("training",))["training"][OURS] for n in (1, 48))
    # Of the first block alone a step keeps the outputs of two convolutions: 16 channels of 32x32, in float32.
    assert large["bytes"] - small["bytes"] > 47 * 2 * 16 * 32 * 32 * 4
