"""Machine code that is kept from an earlier start is never older than any file that it came from."""

import os
import shutil
import subprocess
import sys
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


def test_the_thread_count_is_what_was_set(all_threads):
    assert get_num_threads() == all_threads
    set_num_threads(1)
    assert get_num_threads() == 1


@pytest.mark.parametrize(
    ("seconds", "progress", "message"),
    [
        (1, True, ""),
        (30, False, ""),
        (30, True, "compiled the kernels in 30 s; they are kept for the next start\n"),
    ],
)
def test_warming_up_says_nothing_unless_it_took_long(seconds, progress, message, capsys, monkeypatch):
    clock = iter([0, seconds])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    warm_up(training=True, progress=progress)
    assert capsys.readouterr().err == message


COMPILE_AND_RUN = """
import sys
import numpy as np
from repvgg_np.kernels import batch_norm
for dtype in sys.argv[1:]:
    x = np.arange(12, dtype=dtype).reshape(6, 2)
    out = np.empty_like(x)
    batch_norm.scale_and_shift(x, np.array([2, 3], dtype), np.array([1, 5], dtype), out)
    assert (out == x * [2, 3] + [1, 5]).all() and out.dtype == dtype
"""


@pytest.mark.slow_without_jit
def test_processes_that_compile_at_once_never_get_each_others_code(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def start(*dtypes):
        return subprocess.Popen(
            [sys.executable, "-c", COMPILE_AND_RUN, *dtypes], env=environment, stderr=subprocess.PIPE
        )

    # The same function for different dtypes, by processes that all find an empty cache: Numba would give both results
    # the same file name.
    for processes in ([start("float32"), start("float64"), start("float32", "float64")], [start("float64", "float32")]):
        for process in processes:
            _, error = process.communicate()
            assert process.returncode == 0, error.decode()


WARM_UP_AND_RUN = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
import repvgg_np as rv
from repvgg_np.kernels import warm_up

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("repvgg_np.kernels.")]
    functions = {f for module in modules for f in vars(module).values() if isinstance(f, Dispatcher)}
    return {f"{f.py_func.__name__}{signature}" for f in functions for signature in f.overloads}

training = sys.argv[1] == "training"
warm_up(training)
warm = compiled()
model = rv.create_model("RepVGG-A0-CIFAR", num_classes=3, seed=0)
x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
if training:
    for pictures in (x, x[:1, :, :17, :9]):
        logits = model(pictures)
        model.backward(logits)
        model.backward(logits, input_gradient=False)
model.eval()
for network in (model, rv.fuse(model)):
    network(x), network(x[:1])
print(sorted(compiled() - warm))
"""


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("what", ["training", "inference"])
def test_after_warming_up_nothing_is_left_to_compile(what):
    run = subprocess.run([sys.executable, "-c", WARM_UP_AND_RUN, what], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
