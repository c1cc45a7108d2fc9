"""Fetch a file over the network: resumed where it broke off, checked by its checksum, whole or absent."""

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

try:
    import fcntl
except ImportError:  # on Windows: two downloads of one file at the same time are not kept apart there
    fcntl = None

ATTEMPTS = 4  # connections that one call makes at most
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 16  # bytes


def download(url, path, md5, *, size=None, opener=urllib.request.urlopen, progress=True):
    """Download `url` to `path`, unless it is there already.

    The bytes go to `path` + ".part", which gets its final name only once its checksum is right. If the
    connection breaks, the next attempt, or the next call, asks the server for the rest only. A second process
    (or thread) that wants the same file meanwhile waits, and then finds it.

    Parameters
    ----------
    url : str
        Where the file comes from.
    path : str or os.PathLike
        Where it goes to; its folder is made if it does not exist.
    md5 : str
        The published checksum, in hexadecimal.
    size : int or None, optional
        The published number of bytes, if known: a server that offers another number is refused before
        anything is read.
    opener : callable, optional
        Called like `urllib.request.urlopen(request, timeout=seconds)`.
    progress : bool, optional
        Whether to show a progress bar on the standard error output.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    ValueError
        If the network fails several times in a row (the part that came is kept, and a further call continues
        it), the checksum is wrong (the part is removed), the folder cannot be written to, or another file has
        that name already.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_name(path.name + ".lock")):
            if path.exists():  # perhaps only since we waited for the lock
                _check(path, md5, "delete it to download it again")
                return path
            if not (part.exists() and _md5(part) == md5):  # else a process died just before the renaming
                _fetch_patiently(url, part, size, opener, progress)
                try:
                    _check(part, md5, "it was removed, run again to download it anew")
                except ValueError:
                    part.unlink()
                    raise
            os.replace(part, path)
    return path


def _fetch_patiently(url, part, size, opener, progress):
    """Complete the file `part` in a few attempts with growing pauses; raise a ValueError if that fails."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return _fetch(url, part, size, opener, progress)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answered {error.code} {error.reason}"
            if error.code == 416:  # range not satisfiable: our part is longer than the server's file
                part.unlink(missing_ok=True)
            elif error.code < 500:  # it will not be otherwise next time
                raise ValueError(f"cannot download {url}: {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    raise ValueError(f"cannot download {url}: {reason}; run again to resume")


def _fetch(url, part, size, opener, progress):
    """Make one connection, append what comes to the file `part`; raise an OSError if that breaks off."""
    received = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "repvgg-np"})
    if received:
        request.add_header("Range", f"bytes={received}-")
    with opener(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            received = 0  # the server sends the whole file, whatever was asked for
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
            raise ConnectionError("the server sent another range of bytes than the one asked for")
        length = response.headers.get("Content-Length", "")
        total = received + int(length) if length.isdecimal() else size
        if size not in (None, total):
            raise ValueError(f"cannot download {url}: the server offers {total} bytes, expected {size}")

        with _disk_errors(part):
            file = open(part, "ab" if received else "wb")  # noqa: SIM115 (closed by the next line)
        with file, _bar(part, received, total, progress) as bar:
            while block := response.read(BLOCK):
                received += len(block)
                if total is not None and received > total:
                    raise ValueError(f"cannot download {url}: the server sends more than the {total} bytes expected")
                with _disk_errors(part):
                    file.write(block)
                bar.update(len(block))
            with _disk_errors(part):
                file.flush()
                os.fsync(file.fileno())
    if total is not None and received < total:
        raise ConnectionError(f"the connection broke after {received} of {total} bytes")


def _bar(part, received, total, progress):
    """Return a progress bar that counts bytes."""
    return tqdm(total=total, initial=received, unit="B", unit_scale=True, desc=part.stem, disable=not progress)


def _check(path, md5, advice):
    """Raise a ValueError with both checksums and the advice, unless the file has the right one."""
    found = _md5(path)
    if found != md5:
        raise ValueError(f"{path} has the md5 checksum {found}, expected {md5}: {advice}")


def _md5(path):
    """Return the MD5 checksum of a file, in hexadecimal."""
    checksum = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()


@contextlib.contextmanager
def _lock(path):
    """Let one process or thread at a time into the body. The lock is a file that is removed at the end.

    The system releases the lock of a process that dies. Where there are no such locks, nobody is kept out.
    """
    if fcntl is None:
        yield
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held the lock before us has removed the file, so ours may have no name any more, and a
            # third one may be about to lock a new file of that name: then join the queue for that one.
            if _is_the_file_at(path, descriptor):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _is_the_file_at(path, descriptor):
    """Return whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _disk_errors(path):
    """Turn the system's errors about files into a ValueError of one line."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
