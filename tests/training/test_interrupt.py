import signal
import threading

import pytest

from repvgg_np.training.interrupt import DeferredInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_the_first_ctrl_c_is_noted_and_the_second_raises():
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()
    with pytest.raises(KeyboardInterrupt):  # as before
        press()


def test_where_nothing_can_be_lost_the_first_raises_and_is_noted_and_so_does_the_second():
    with DeferredInterrupt() as interrupt:
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()


def test_what_was_pressed_just_before_raises_there_too():
    with DeferredInterrupt() as interrupt:
        press()
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            raise AssertionError


def test_after_a_place_where_nothing_can_be_lost_ctrl_c_waits_again():
    with DeferredInterrupt() as interrupt:
        with interrupt.at_once():
            pass
        press()
        assert interrupt.requested


def test_what_was_done_with_ctrl_c_before_is_done_again_after_an_exception():
    with pytest.raises(ZeroDivisionError), DeferredInterrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_ctrl_c_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with DeferredInterrupt() as interrupt:
            press()
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_outside_the_main_thread_nothing_is_changed():
    handlers = []

    def defer():
        with DeferredInterrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=defer)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
