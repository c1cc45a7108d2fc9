"""Measuring how much memory a call takes."""

import contextlib
import tracemalloc

MEBIBYTE = 1 << 20


@contextlib.contextmanager
def at_most(size):
    """Fail if the body allocates more than that many bytes at once; NumPy's arrays are counted."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= size, f"{peak} bytes taken, at most {size} allowed"
