"""Machine code that is kept from an earlier start is never older than any file that it came from."""

import shutil
from pathlib import Path

import numba
import pytest

from repvgg_np.kernels import gemm, get_num_threads, jit, set_num_threads, warm_up, winograd


def test_a_change_in_any_kernel_file_changes_the_digest(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    shutil.copytree(Path(jit.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "__file__", str(folder / "jit.py"))
    digest = jit.kernels_digest.__wrapped__
    before = digest()
    assert digest() == before
    for path in sorted(folder.glob("*.py")):
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        assert digest() != before, path.name
        path.write_text(text)
    assert digest() == before


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled, so nothing is kept")
def test_the_digest_is_part_of_what_numba_compares():
    for dispatcher in (gemm.multiply, winograd._conv2d):
        assert jit.kernels_digest() in dispatcher._cache._cache_file._source_stamp


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_threads_that_are_not_there_are_refused(threads):
    with pytest.raises(ValueError, match=f"threads must be from 1 to .* on this machine, got {threads}"):
        set_num_threads(threads)


def test_the_thread_count_is_what_was_set():
    threads = get_num_threads()
    set_num_threads(1)
    assert get_num_threads() == 1
    set_num_threads(threads)


def test_warming_up_says_nothing_unless_it_took_long(capsys, monkeypatch):
    warm_up(training=True, progress=False)
    warm_up(training=False, progress=True)
    assert capsys.readouterr().err == ""
    clock = iter([0, 30])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    warm_up(training=False, progress=True)
    assert capsys.readouterr().err == "compiled the kernels in 30 s; they are kept for the next start\n"
