"""What all readers share: one way to open a stranger's file, to fail, and to get from bytes to arrays.

A file of weights comes from somebody else, so nothing that it says about itself is believed: sizes are
compared with what is really there before memory is asked for, and whatever goes wrong ends as a `ValueError`
of one line that names the file and the reason. The bytes of an array are read into a flat `uint8` array
first; `decode` then gives them their element type, in this machine's byte order, and the reader gives them
their shape.

NumPy has no bfloat16: the upper half of a float32's bits. Such numbers are widened to float32, which holds
each of them exactly.
"""

import contextlib
import os
import stat
import struct
import zipfile
import zlib
from math import prod

import numpy as np

BFLOAT16 = "bfloat16"
# The element types that are read and written: NumPy's codes, without the byte order.
NUMERIC_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")

MAX_DIMENSIONS = 32
CHUNK = 1 << 20  # bytes

# What the standard library and NumPy raise, in one version or another, while they read a file that is absent,
# damaged or hostile.
_FILE_ERRORS = (
    *(OSError, EOFError, RuntimeError, ValueError, OverflowError, MemoryError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)


@contextlib.contextmanager
def reading(path):
    """Open a file for reading; all that goes wrong in the body because of the file is a one-line ValueError.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    io.BufferedReader

    Raises
    ------
    ValueError
        `cannot read PATH: REASON`.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path must be a str or an os.PathLike, got {type(path).__name__}")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device could block for ever
            raise ValueError("it is not a regular file")
        with open(path, "rb") as file:
            yield file
    except _FILE_ERRORS as error:
        raise ValueError(_one_line(f"cannot read {os.fspath(path)}: {_reason(error)}")) from error


def _reason(error):
    """Say in words why reading failed."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _one_line(text):
    """Escape what could break a line or a terminal: names and paths may hold any character."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(text, limit=100):
    """Quote a string that came from a file for an error message, shortened."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "..."


def size_of(file):
    """Return the size in bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def element_count(shape):
    """Return how many elements an array of that shape has, as a Python integer that cannot overflow.

    Parameters
    ----------
    shape : list or tuple
        As a file declared it: its items may be anything.

    Raises
    ------
    ValueError
        If it is not at most 32 integers, none of them negative.
    """
    # The shape itself stays out of the messages: a hostile one can take for ever to print.
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"an array's shape has {len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array's shape holds something else than non-negative integers")
    return prod(shape)


def read_exactly(stream, size):
    """Read exactly that many bytes, a chunk at a time.

    Parameters
    ----------
    stream : binary file object
    size : int
        In bytes. The caller has checked it against the size of the file.

    Returns
    -------
    ndarray of uint8, shape (size,)

    Raises
    ------
    ValueError
        If the stream ends too early.
    """
    raw = np.empty(size, np.uint8)
    view = memoryview(raw)
    done = 0
    while done < size:
        count = stream.readinto(view[done : done + CHUNK])
        if not count:
            raise ValueError(f"it is truncated: {size} bytes expected, {done} found")
        done += count
    return raw


def decode(raw, dtype, byte_order="<"):
    """Give bytes their element type.

    Parameters
    ----------
    raw : ndarray of uint8, shape (count * itemsize,)
    dtype : str
        One of `NUMERIC_DTYPES`, or `BFLOAT16`.
    byte_order : {"<", ">"}
        Of the bytes: little-endian or big-endian.

    Returns
    -------
    ndarray, shape (count,)
        In native byte order; without a copy where the bytes already are. bfloat16 becomes float32.

    Raises
    ------
    ValueError
        If a truth value is stored as something else than 0 or 1, which NumPy must not be shown.
    """
    stored = np.dtype(byte_order + ("u2" if dtype == BFLOAT16 else dtype))
    if stored.kind == "b" and raw.size and raw.max() > 1:
        raise ValueError("an array of bool holds a byte that is neither 0 nor 1")
    flat = raw.view(stored).astype(stored.newbyteorder("="), copy=False)
    if dtype == BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat


def storable(arrays, dtypes, reserved):
    """Check what is to be written, before a byte of it is.

    Parameters
    ----------
    arrays : dict[str, array_like]
    dtypes : container of str
        The element types that the format has, as in `NUMERIC_DTYPES`.
    reserved : str
        The name that the format keeps for itself.

    Returns
    -------
    dict[str, ndarray]
        In the same order; each array C-contiguous and little-endian.

    Raises
    ------
    ValueError
        Names the array that cannot be stored, and why.
    """
    result = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise ValueError(f"names of arrays must be str, got {type(name).__name__}")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the name {shown(name)} of an array is not valid Unicode") from error
        if name == reserved:
            raise ValueError(f"the name {reserved!r} is reserved, no array can have it")
        array = np.asarray(value)
        if array.dtype.str[1:] not in dtypes:
            raise ValueError(f"array {shown(name)} has dtype {array.dtype}, which this format cannot hold")
        if array.ndim > MAX_DIMENSIONS:
            raise ValueError(f"array {shown(name)} has {array.ndim} dimensions, more than {MAX_DIMENSIONS}")
        result[name] = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return result
