import signal

import pytest


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C does what it usually does, even if these tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # whoever changed it has put it back
    signal.signal(signal.SIGINT, before)
