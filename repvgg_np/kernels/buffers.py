"""Arrays in memory that was used before.

The operating system gives a program fresh memory page by page, at one to two microseconds for each 4 KB: an array of
5 MB costs about two milliseconds before the first number is in it, as long as the convolution that fills it. A network
makes arrays of the same sizes again and again, so blocks of memory are kept here, and given out again as soon as nobody
looks at them any more.

Python knows when that is: every array that is a view of a block holds a reference to it, and so does every view of
that array. A block to which only the list in this file refers is free.
"""

import contextlib
import sys
import threading

import numpy as np

SMALLEST = 32 * 1024  # bytes: what is smaller comes from memory that the C library has at hand
ALIGNMENT = 64  # bytes: no register is loaded from two lines of the cache
LONGEST_IDLE = 4096  # how many arrays are made before a block that nobody wanted is given back

_blocks = {}  # by size: lists of [memory, its first aligned byte, number of the call that last gave it out]
_calls = 0
_reuse = True
_lock = threading.Lock()


def _references(blocks, index):
    """Return how many references there are to a block's memory: the list's, and some that every call sees."""
    return sys.getrefcount(blocks[index][0])


_FREE = _references([[np.empty(1, np.uint8), 0, 0]], 0)  # to a block that nobody looks at


def empty(shape, dtype):
    """Make an array with unspecified contents, as `numpy.empty` does, in memory that was used before if there is some.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
        C-contiguous; unless it is small, aligned to 64 bytes.
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size < SMALLEST or not _reuse:
        return np.empty(shape, dtype)
    with _lock:
        memory, skip, _ = _find(size + ALIGNMENT)
        return memory[skip : skip + size].view(dtype).reshape(shape)


def _find(size):
    """Return a free block of at least `size` bytes; make one if there is none."""
    global _calls
    _calls += 1
    step = 1 << max(0, size.bit_length() - 3)
    size = -(-size // step) * step  # arrays that are nearly as large share their blocks
    blocks = _blocks.setdefault(size, [])
    for _ in range(len(blocks)):
        # The last one is asked first: what was free a moment ago is still in the cache. One that is in use goes to the
        # front, so that the next calls need not ask it again.
        if _references(blocks, -1) == _FREE:
            blocks[-1][2] = _calls
            return blocks[-1]
        blocks.insert(0, blocks.pop())
    for others in _blocks.values():
        others[:] = [block for block in others if _calls - block[2] <= LONGEST_IDLE]
    memory = np.empty(size, np.uint8)
    blocks.append([memory, -memory.ctypes.data % ALIGNMENT, _calls])
    return blocks[-1]


@contextlib.contextmanager
def without_reuse():
    """Let all arrays come from NumPy, and go as soon as nobody looks at them: for whoever measures what is in use."""
    global _reuse
    before, _reuse = _reuse, False
    try:
        yield
    finally:
        _reuse = before


def kept_bytes():
    """Return how many bytes the blocks have, those in use and the free ones.

    Returns
    -------
    int
    """
    with _lock:
        return sum(size * len(blocks) for size, blocks in _blocks.items())


def release():
    """Give all free blocks back to the operating system. Arrays that are in use stay as they are."""
    with _lock:
        _blocks.clear()  # a block in use lives on for as long as its arrays, and is not given out again
