"""Read a few named files out of a folder or an archive, none of which is trusted.

An archive is read from front to back, as a stream: nothing is ever extracted, so that a member named
`../../x` or a link can do no harm. Every size is checked before the bytes are read.
"""

import dataclasses
import gzip
import tarfile
import zlib
from pathlib import PurePosixPath

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")
LARGEST_ARCHIVE = 1 << 29  # bytes, unpacked; the official archives have less than 2**28


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file to be read: it holds between 1 and `most` records of `record_size` bytes each."""

    record_size: int
    most: int
    required: bool = True

    def check_size(self, where, size):
        """Raise a ValueError that names the file, `where`, if `size` bytes cannot be right."""
        expected = f"a multiple of {self.record_size}, at most {self.record_size * self.most}"
        if size <= 0:
            raise ValueError(f"{where} is empty, expected {expected} bytes")
        if size > self.record_size * self.most:
            raise ValueError(f"{where} is too large: {size} bytes, expected {expected}")
        if size % self.record_size:
            raise ValueError(f"{where} is truncated or of another kind: {size} bytes, expected {expected}")


def read_files(source, wanted):
    """Read files from a folder, or from a tar archive, compressed with gzip or not.

    Parameters
    ----------
    source : pathlib.Path
        The folder or the archive.
    wanted : dict of str to Wanted
        What to read, by base name: in an archive the folder part of a member's name does not matter.

    Returns
    -------
    dict of str to bytes
        The contents. Files that are not `required` may be missing in it.

    Raises
    ------
    ValueError
        If a required file is missing, has an impossible size or cannot be read, or the archive is damaged.
    """
    try:
        contents = _read_folder(source, wanted) if source.is_dir() else _read_archive(source, wanted)
    except (OSError, EOFError, zlib.error, tarfile.TarError, RecursionError) as error:
        where = getattr(error, "filename", None) or source
        raise ValueError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
    for name, file in wanted.items():
        if file.required and name not in contents:
            raise ValueError(f"{source} has no {name}, or is cut short before it")
    return contents


def _read_folder(folder, wanted):
    """Return the contents of the wanted files that are in the folder."""
    contents = {}
    for name, file in wanted.items():
        path = folder / name
        if path.is_file():  # not a folder, nor a pipe that would keep us waiting
            file.check_size(path, path.stat().st_size)
            contents[name] = path.read_bytes()
            file.check_size(path, len(contents[name]))  # it may have changed since
    return contents


def _read_archive(path, wanted):
    """Return the contents of the wanted files that are in the archive."""
    contents = {}
    with open(path, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Capped(gzip.GzipFile(fileobj=raw) if compressed else raw, path)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name not in wanted or not member.isreg() or member.issparse():
                    continue
                if name in contents:
                    raise ValueError(f"{path} holds {name} twice")
                wanted[name].check_size(f"{path}: {name}", member.size)
                contents[name] = archive.extractfile(member).read()
        while stream.read(1 << 20):  # to the very end: gzip's checksum, which finds any damage, stands there
            pass
    return contents


class _Capped:
    """A file that gives no more than `LARGEST_ARCHIVE` bytes: a small archive may unpack to terabytes."""

    def __init__(self, file, path):
        self.file, self.path, self.left = file, path, LARGEST_ARCHIVE

    def read(self, size):
        """Read up to `size` bytes."""
        block = self.file.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise ValueError(f"{self.path} unpacks to more than {LARGEST_ARCHIVE} bytes, which no CIFAR archive does")
        return block
