"""What was measured on is described, and its limits are limits."""

import builtins

import numpy as np

from repvgg_np.bench import machine
from repvgg_np.bench.machine import Peak, describe_machine, machine_line, memory_bandwidth
from repvgg_np.kernels import get_num_threads


def test_the_description_names_what_timings_depend_on():
    found = describe_machine()
    assert found["threads"] == get_num_threads() and found["processors"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    line = machine_line(found)
    assert found["processor"] in line and f"numpy {np.__version__}" in line and "\n" not in line


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    assert list(describe_machine()["versions"]) == ["numpy"]


def test_without_proc_the_platform_names_the_processor(monkeypatch):
    def refuse(path, *arguments, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "abacus")
    assert describe_machine()["processor"] == "abacus"


def test_a_call_of_the_peak_takes_as_long_as_was_asked(monkeypatch):
    seconds = iter([0.1, 9.0, 0.1] + [0.4, 9.0, 9.0] + [1.1, 1.2, 1.3] + [5.0] * 3 + [9.0] * 3)  # some are disturbed
    monkeypatch.setattr(Peak, "_seconds", lambda self: next(seconds))
    peak = Peak(1, least_seconds=1)
    assert peak.flops == peak() == 2 * Peak(1, least_seconds=0).flops


def test_a_time_that_does_not_grow_with_the_work_is_no_measure_of_the_peak(monkeypatch):
    seconds = iter([8.0] * 9 + [16.0] * 3 + [1.0] * 3 + [2.0] * 3)  # at first, threads that wait for one another
    monkeypatch.setattr(Peak, "_seconds", lambda self: next(seconds))
    waited = Peak(1, least_seconds=1)
    assert waited.flops == 4 * Peak(1, least_seconds=1).flops


def test_the_bandwidth_is_the_fastest_copy(monkeypatch):
    clock = iter([0, 2, 10, 11, 20, 24])  # 2 s, 1 s, 4 s
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(clock))
    assert memory_bandwidth(1, megabytes=1 / 1024, repeats=3) == 2 * 1024
