"""How bad input has to be refused."""

import contextlib

import pytest


@contextlib.contextmanager
def refused(*fragments):
    """Expect a ValueError of one line in which all these fragments occur."""
    with pytest.raises(ValueError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
