"""What the tests of this room are given."""

import pytest

from repvgg_np.data import download

from .downloads import CONTENT
from .server import running


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let a download hardly pause between its attempts."""
    monkeypatch.setattr(download, "PAUSE", 0.001)


@pytest.fixture
def server():
    """Serve `CONTENT` from this machine."""
    with running(CONTENT) as it:
        yield it
