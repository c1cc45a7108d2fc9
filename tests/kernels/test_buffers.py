"""Memory is used again, but never while anybody looks at it."""

import gc
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels import buffers, conv2d
from tests import strategies

LARGE = (buffers.SMALLEST, 2)  # bytes


@pytest.fixture(autouse=True)
def no_blocks_before():
    buffers.release()
    yield
    buffers.release()


def address(array):
    return array.ctypes.data


@given(
    st.lists(st.integers(0, 40), min_size=0, max_size=4).map(tuple),
    st.sampled_from([np.float32, np.float64, np.uint8, "complex128"]),
)
def test_an_array_has_the_shape_and_dtype_that_were_asked_for(shape, dtype):
    array = buffers.empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    if array.nbytes >= buffers.SMALLEST:
        assert address(array) % buffers.ALIGNMENT == 0


@pytest.mark.parametrize("size", [1 << 15, (1 << 15) + 1, 40_000, 65_535, 65_536, 99_999, 1 << 20])
def test_every_byte_of_an_array_can_be_written(size):
    arrays = [buffers.empty((size,), np.uint8) for _ in range(3)]
    for number, array in enumerate(arrays):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(arrays))


def test_memory_that_nobody_looks_at_is_given_out_again():
    first = buffers.empty(LARGE, np.uint8)
    place = address(first)
    del first
    again = buffers.empty((buffers.SMALLEST // 2,), np.float32)  # of another shape and dtype
    assert address(again) == place
    assert buffers.kept_bytes() < 2 * LARGE[0] * LARGE[1]  # one block, by at most a quarter larger


def test_memory_that_is_in_use_is_not_given_out_even_if_only_a_view_of_a_view_is_left():
    views = {
        "a slice": lambda a: a[1:],
        "a slice of a slice": lambda a: a[5:][3:],
        "another dtype": lambda a: a.view(np.uint16),
        "turned and cut": lambda a: a.T[:1][..., 3:4].reshape(1),
        "a broadcast": lambda a: np.broadcast_to(a[:1], (3, 2)),
        "a window": lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, axis=0)[7:],
        "a memoryview": lambda a: memoryview(a)[3:],
        "a field of a list": lambda a: [a[:1, :1]],
    }
    for name, view_of in views.items():
        array = buffers.empty(LARGE, np.uint8)
        start, end = address(array), address(array) + array.nbytes
        kept = view_of(array)
        del array
        others = [buffers.empty(LARGE, np.uint8) for _ in range(5)]
        assert not any(start <= address(other) < end for other in others), name
        assert kept is not None


class Owner:
    """Holds an array in a cycle, so that only the garbage collector sets it free."""

    def __init__(self, array):
        self.array, self.self = array, self


def test_memory_in_a_cycle_of_references_is_free_once_the_cycle_is_collected():
    array = buffers.empty(LARGE, np.uint8)
    place = address(array)
    owner = Owner(array)
    del array
    assert address(buffers.empty(LARGE, np.uint8)) != place
    del owner
    gc.collect()
    given_out = [buffers.empty(LARGE, np.uint8) for _ in range(2)]
    assert place in [address(array) for array in given_out]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 4)), max_size=60))
def test_arrays_that_live_keep_their_numbers_whatever_is_made_and_dropped(steps):
    alive = {}
    for number, (action, slot, size) in enumerate(steps):
        if action == 0:
            alive.pop(slot, None)
        elif action == 1 and slot in alive:
            alive[slot] = (alive[slot][0][1:], alive[slot][1])
        else:
            array = buffers.empty((size * buffers.SMALLEST // 3, 3), np.uint8)
            array[...] = number
            alive[slot] = (array, number)
        for array, written in alive.values():
            assert (array == written).all()


def test_a_block_that_nobody_wants_for_long_is_given_back(monkeypatch):
    monkeypatch.setattr(buffers, "LONGEST_IDLE", 3)
    del [buffers.empty((3 * buffers.SMALLEST,), np.uint8)][0]
    kept = buffers.kept_bytes()
    assert kept > 3 * buffers.SMALLEST
    alive = [buffers.empty((buffers.SMALLEST,), np.uint8) for _ in range(3)]
    assert buffers.kept_bytes() > kept  # it may be wanted yet
    alive.append(buffers.empty((buffers.SMALLEST,), np.uint8))
    assert len(alive) * buffers.SMALLEST < buffers.kept_bytes() < kept + len(alive) * buffers.SMALLEST


def test_a_block_that_is_wanted_again_and_again_is_kept(monkeypatch):
    monkeypatch.setattr(buffers, "LONGEST_IDLE", 3)
    wanted = {address(buffers.empty((3 * buffers.SMALLEST,), np.uint8)) for _ in range(10)}
    small = buffers.empty((buffers.SMALLEST,), np.uint8)  # a new block: those that nobody wanted are given back
    assert len(wanted) == 1 and buffers.kept_bytes() > 3 * buffers.SMALLEST + small.nbytes


def test_a_block_that_is_in_use_for_long_is_forgotten_and_not_given_out(monkeypatch):
    monkeypatch.setattr(buffers, "LONGEST_IDLE", 1)
    array = buffers.empty(LARGE, np.uint8)
    array[...] = 7
    others = [buffers.empty(LARGE, np.uint8) for _ in range(5)]
    for other in others:
        other[...] = 1
    del others
    assert address(buffers.empty(LARGE, np.uint8)) != address(array) and (array == 7).all()


def test_release_gives_back_what_is_free_and_leaves_what_is_in_use():
    array, free = buffers.empty(LARGE, np.uint8), buffers.empty(LARGE, np.uint8)
    array[...] = 7
    del free
    assert buffers.kept_bytes() > 2 * array.nbytes
    buffers.release()
    assert buffers.kept_bytes() == 0 and (array == 7).all()
    buffers.empty(LARGE, np.uint8)[...] = 1
    assert (array == 7).all()


def test_small_arrays_come_from_the_c_library():
    buffers.empty((buffers.SMALLEST - 1,), np.uint8)
    assert buffers.kept_bytes() == 0
    buffers.empty((buffers.SMALLEST,), np.uint8)
    assert buffers.kept_bytes() > 0


def test_threads_never_get_the_same_memory_at_the_same_time():
    mistakes, ready = [], threading.Barrier(4)

    def work(number):
        ready.wait()
        for _ in range(300):
            arrays = [buffers.empty(LARGE, np.uint8) for _ in range(2)]
            for which, array in enumerate(arrays):
                array[...] = 2 * number + which
            for which, array in enumerate(arrays):
                if not (array == 2 * number + which).all():
                    mistakes.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # Python changes threads as often as it can
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not mistakes
    assert buffers.kept_bytes() <= 20 * LARGE[0] * LARGE[1]  # eight at a time at most, and some that were just dropped


@pytest.mark.parametrize("function", [lambda: buffers.empty(LARGE, np.uint8), buffers.kept_bytes, buffers.release])
def test_one_thread_at_a_time_works_on_the_list_of_blocks(function):
    thread = threading.Thread(target=function)
    with buffers._lock:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join()


@given(strategies.convolutions(), strategies.dtypes, st.sampled_from(["auto", "im2col"]))
def test_what_was_left_in_the_memory_changes_no_bit(case, dtype, algorithm):
    case = case.astype(dtype)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for rubbish in (0, np.nan, np.inf, 1e38):

            def empty(shape, dtype, rubbish=rubbish):
                return np.full(shape, rubbish, dtype)

            patch.setattr(buffers, "empty", empty)
            out = conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm=algorithm)
            results.append(out.tobytes())
    assert len(set(results)) == 1
