"""The second process that compiles is help and no more: without it, everything is compiled here."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from repvgg_np.kernels import jit, momentum, second_process, warm_up, winograd

WARM_UP = sys.modules["repvgg_np.kernels.warm_up"]  # the module; the package's name is the function's


def start(code):
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def test_a_process_that_ends_well_has_no_failure_and_the_bar_ticks_meanwhile():
    ticks = []
    assert second_process.wait(start("import time; time.sleep(0.3)"), lambda: ticks.append(1)) is None
    assert ticks


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("raise ValueError('no memory')", "ValueError: no memory"),
        ("import sys; sys.exit(3)", "it ended with 3"),
        ("import sys; print('x' * 10**6, file=sys.stderr); sys.exit('the last line')", "the last line"),
    ],
)
def test_a_failure_is_told_in_one_line(code, failure):
    assert second_process.wait(start(code), lambda: None) == failure


def test_a_kernel_that_was_compiled_for_a_dtype_is_kept_for_it():
    momentum.step(*(np.zeros(2, np.float32) for _ in range(3)), 0, 0, 0, False)
    assert jit.is_kept(momentum._step, np.float32) and jit.is_kept(momentum._step, np.dtype("float32"))


def test_what_was_kept_starts_no_process(monkeypatch):
    monkeypatch.setattr(WARM_UP, "is_kept", lambda *_: True)
    monkeypatch.setattr(WARM_UP, "_steps_here", lambda *_: {})
    monkeypatch.setattr(WARM_UP, "_steps_there", lambda *_: {})
    monkeypatch.setattr(second_process, "start", None)  # calling it would be an error
    warm_up(training=False)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_an_empty_folder_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(winograd._conv2d._cache._cache_file, "_index_path", str(tmp_path / "none"))
    assert not jit.is_kept(winograd._conv2d, np.float32)


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_a_process_that_cannot_be_started_is_done_without(monkeypatch, two_processors):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert second_process.start(False, np.float32) is None


def test_a_single_processor_compiles_alone(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert second_process.start(False, np.float32) is None


@pytest.mark.parametrize(("training", "dtype"), [(True, np.float32), (False, np.dtype("float64"))])
def test_the_process_finds_the_package_from_any_folder(training, dtype, tmp_path, monkeypatch, two_processors):
    child = "import sys, importlib.util as u; sys.exit(f'{u.find_spec(\"repvgg_np\").origin} {sys.argv[1:]}')"
    monkeypatch.setattr(second_process, "CHILD", child)
    monkeypatch.chdir(tmp_path)
    package = os.path.dirname(os.path.dirname(second_process.__file__))
    expected = f"{os.path.join(package, '__init__.py')} {[str(training), np.dtype(dtype).name]}"
    assert second_process.wait(second_process.start(training, dtype), lambda: None) == expected


def test_warming_up_says_what_went_wrong_elsewhere_and_compiles_here(monkeypatch, capsys):
    compiled = []
    monkeypatch.setattr(WARM_UP, "is_kept", lambda *_: False)
    monkeypatch.setattr(second_process, "start", lambda *_: start("raise MemoryError('full')"))
    monkeypatch.setattr(WARM_UP, "_steps_there", lambda *_: {"all": lambda: compiled.append(1)})
    monkeypatch.setattr(WARM_UP, "_steps_here", lambda *_: {})
    monkeypatch.setattr("time.perf_counter", lambda: 0)  # however long the process takes to fail
    warm_up(training=False)
    assert capsys.readouterr().err == "a second process could not compile (MemoryError: full); compiling here\n"
    assert compiled == [1]


def test_an_interrupt_leaves_no_process_behind(monkeypatch):
    process = start("import time; time.sleep(60)")
    monkeypatch.setattr(WARM_UP, "is_kept", lambda *_: False)
    monkeypatch.setattr(WARM_UP, "_steps_here", lambda *_: {})
    monkeypatch.setattr(second_process, "start", lambda *_: process)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(second_process, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        warm_up(training=False)
    assert process.poll() is not None
