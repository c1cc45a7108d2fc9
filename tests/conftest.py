"""The one Hypothesis profile, and what all tests share."""

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from repvgg_np import fusion_bound, rounding
from repvgg_np.kernels import set_num_threads
from tests.rounding_formula import ARITHMETICS, Arithmetic

# Without the JIT every kernel is a Python loop: the same theorems, on fewer examples.
WITHOUT_JIT = bool(numba.config.DISABLE_JIT)
settings.register_profile(
    "repvgg_np",
    parent=settings.get_profile("ci"),
    max_examples=8 if WITHOUT_JIT else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repvgg_np")


def pytest_collection_modifyitems(items):
    """Leave out what takes minutes as plain Python; the jitted pass runs it."""
    if WITHOUT_JIT:
        skip = pytest.mark.skip(reason="too slow as plain Python; the jitted pass runs it")
        for item in items:
            if item.get_closest_marker("slow_without_jit"):
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """What is as small as here gains nothing from a second thread, and waits for it where the processor is busy."""
    set_num_threads(1)


@pytest.fixture
def all_threads():
    """All threads, for one test."""
    set_num_threads(numba.config.NUMBA_NUM_THREADS)
    yield numba.config.NUMBA_NUM_THREADS
    set_num_threads(1)


@pytest.fixture
def rng():
    """Return a generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(params=ARITHMETICS)
def arithmetic(request, monkeypatch):
    """Return the arithmetic of this machine, or a coarse one that the bounds then believe in."""
    arithmetic = Arithmetic(request.param)
    if request.param == "coarse":
        for module in (rounding, fusion_bound):
            monkeypatch.setattr(module, "gamma", arithmetic.gamma)
            monkeypatch.setattr(module, "underflow_guard", arithmetic.guard)
    return arithmetic
