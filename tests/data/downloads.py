"""What the tests of downloading share: a file, and how it is fetched."""

import hashlib

import numpy as np

from repvgg_np.data.download import BLOCK, download

from .server import open_directly

CONTENT = np.random.default_rng(0).bytes(5 * BLOCK + 1234)
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()
SOME = 2 * BLOCK + 99  # bytes after which a connection may break


def get(server, folder, md5=MD5, size=SIZE, **options):
    """Download the server's file into a folder, quietly."""
    options = {"opener": open_directly, "progress": False} | options
    return download(server.url, folder / "file.bin", md5, size=size, **options)


def left(folder):
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())
