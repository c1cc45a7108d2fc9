"""Zip archives read within bounded memory.

A zip archive is a row of members, each behind a small local header, and at the end of the file a central
directory that lists them: name, where it starts, its size as stored (`compress_size`), its size once inflated
(`file_size`), a CRC. NumPy's `.npz` and PyTorch's `.pth` are both such archives, mostly of members that are
*stored*: not compressed at all.

The directory is written by whoever made the file and can lie: members that claim petabytes, members that lie
on top of each other so that a small file holds a thousand copies of a large one, or a few kilobytes of
deflated zeros that inflate to fill the memory (a zip bomb). So the claims are added up and compared with the
file's real size before any of them is acted upon, and members are read a chunk at a time, never past the size
that was checked.
"""

import contextlib
import struct
import zipfile

from repvgg_np.interop.files import read_exactly, shown, size_of

# The end of the archive: signature, number of this disk and of the directory's, members on this disk and in
# all, the directory's size and offset, the length of a comment. Neither NumPy nor PyTorch writes a comment.
END_RECORD = struct.Struct("<4sHHHHIIH")
MAX_COUNT = 0xFFFF  # stands for this many members or more
# A deflated stream describes at most 258 bytes with 2 bits: it cannot grow by more than this factor.
MAX_DEFLATE_RATIO = 1032
# All the deflated members of one archive together may inflate to this many bytes, plus this many times the
# file's size. (Weights hardly compress; only large arrays of zeros come near.)
INFLATED_ALLOWANCE = 256 << 20
INFLATED_RATIO = 100


@contextlib.contextmanager
def open_archive(file):
    """Open a zip archive whose directory has been checked against the file.

    Parameters
    ----------
    file : binary file object
        Of a real file.

    Yields
    ------
    zipfile.ZipFile

    Raises
    ------
    ValueError
        If the directory is impossible, suspicious, or uses what no reader here needs (encryption, other
        compressions).
    """
    size = size_of(file)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # zipfile forgives a damaged directory and goes on with what it still finds: some would be lost.
        if min((member.header_offset for member in members), default=None) != 0:
            raise ValueError("its zip directory does not list what the file begins with")
        if min(len(members), MAX_COUNT) != _declared_count(file, size):
            raise ValueError("its zip directory does not list as many members as it says")
        for member in members:
            _check_member(member)
        if len({member.filename for member in members}) < len(members):
            raise ValueError("its zip directory lists the same name twice")
        if sum(member.compress_size for member in members) > size:
            raise ValueError(f"its zip directory lists more bytes than the {size} of the file")
        inflated = sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)
        if inflated > INFLATED_ALLOWANCE + INFLATED_RATIO * size:
            raise ValueError(f"its {size} bytes would inflate to {inflated}: this looks like a zip bomb")
        yield archive


def _declared_count(file, size):
    """Return how many members the record at the very end of the file says there are."""
    file.seek(size - END_RECORD.size)
    signature, _, _, _, count, _, _, _ = END_RECORD.unpack(read_exactly(file, END_RECORD.size).tobytes())
    if signature != b"PK\5\6":
        raise ValueError("it does not end where its zip directory ends")
    return count


def _check_member(member):
    """Refuse a member whose own numbers contradict each other."""
    name = shown(member.filename)
    if member.compress_type == zipfile.ZIP_STORED:
        if member.compress_size != member.file_size:
            raise ValueError(f"its member {name} is stored, yet lists two different sizes")
    elif member.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"its member {name} is compressed by method {member.compress_type}, which is not known here")
    elif member.file_size > MAX_DEFLATE_RATIO * member.compress_size:
        raise ValueError(
            f"its member {name} claims to inflate from {member.compress_size} bytes to {member.file_size}, "
            "which no deflated data can"
        )


def read_member(archive, name):
    """Read a whole member; zipfile compares its CRC when it comes to the end.

    Parameters
    ----------
    archive : zipfile.ZipFile
        From `open_archive`.
    name : str
        Of a member that is there.

    Returns
    -------
    ndarray of uint8, shape (size of the member,)

    Raises
    ------
    ValueError
        If it is not as long as the directory says.
    """
    with archive.open(name) as stream:
        return read_exactly(stream, archive.getinfo(name).file_size)
