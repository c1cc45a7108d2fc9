"""Ctrl-C that waits for the end of a training step, so that no half-made step is ever saved."""

import contextlib
import signal
import threading


class DeferredInterrupt:
    """While this context is open, Ctrl-C only sets `requested`; whoever trains looks at it between two steps.

    A second Ctrl-C raises KeyboardInterrupt at once, wherever the program is. Outside the main thread, where Python
    delivers no signals, and where Ctrl-C is ignored (as under nohup), nothing is changed.

    Attributes
    ----------
    requested : bool
        Whether Ctrl-C has been pressed.
    """

    def __init__(self):
        self.requested = False
        self._at_once = False
        self._installed = False
        self._previous = None

    def __enter__(self):
        """Begin to defer."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            # None: a handler that Python knows nothing of, and could not put back.
            if self._previous not in (signal.SIG_IGN, None):
                signal.signal(signal.SIGINT, self._handle)
                self._installed = True
        return self

    def __exit__(self, *exception):
        """Do again with Ctrl-C what was done before."""
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number, frame):
        at_once = self._at_once or self.requested
        self.requested = True
        if at_once:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_once(self):
        """Let Ctrl-C raise KeyboardInterrupt at once inside this context, which changes nothing that is saved.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; also if it was pressed just before.
        """
        self._at_once = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False
