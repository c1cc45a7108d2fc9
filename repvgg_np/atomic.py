"""Files that are whole or absent: never half-written, whatever happens in between."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path):
    """Open a file that appears under its name only once it is complete.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed over `path`.
    If the body raises, or the process dies, a former file at `path` is untouched.

    Parameters
    ----------
    path : str or os.PathLike
        Where the file is to appear. Its folder is made if it does not exist.

    Yields
    ------
    io.BufferedWriter
        Open for binary writing (and seeking, as zip archives need it).

    Raises
    ------
    ValueError
        If the folder cannot be made or written to, or if the disk is full: one line that names the path and the reason.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are private; a result is an ordinary file
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask():
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
