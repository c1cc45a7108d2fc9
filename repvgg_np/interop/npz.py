r"""NumPy's `.npz`: a zip archive in which every member is an `.npy` file, one array each, called `NAME.npy`.

An `.npy` file begins with the six bytes `\x93NUMPY`, two bytes of version, and the length of a header (two
bytes in version 1.0, four in 2.0). The header is a Python dict written as text, like `{'descr': '<f4',
'fortran_order': False, 'shape': (3, 4), }`; the array's bytes follow, nothing else.

An array of dtype `object` would be a *pickle* instead, a program that runs when it is loaded: refused here,
as is every dtype that is not a plain number.

To an archive of our own belongs a dict of facts (which model, which epoch): JSON in UTF-8, kept as a uint8
array under the name `__repvgg_np__`, so that any reader of `.npz` still reads the file. Equal content gives
equal bytes: the time stamps are constant.
"""

import ast
import json
import re
import struct
import zipfile

import numpy as np

from repvgg_np.atomic import atomic_write
from repvgg_np.interop.bounded_zip import open_archive
from repvgg_np.interop.files import (
    NUMERIC_DTYPES,
    decode,
    element_count,
    read_exactly,
    reading,
    shown,
    storable,
)

METADATA_NAME = "__repvgg_np__"
SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
# ast.literal_eval may exhaust the C stack on long texts; NumPy draws its line at the same length.
MAX_HEADER = 10_000
MAX_MEMBER_NAME = 65_535  # bytes; the zip format counts them in 16 bits
_DESCR = re.compile(rf"([<>|]?)({'|'.join(NUMERIC_DTYPES)})")


def save_npz(path, arrays, metadata=None):
    """Write named arrays, and a dict of facts about them, as one uncompressed `.npz` without pickle.

    Parameters
    ----------
    path : str or os.PathLike
        Written whole or not at all.
    arrays : dict[str, array_like]
        Numbers or truth values of any shape. Their order is kept; their memory order is not.
    metadata : dict, optional
        Whatever JSON can hold.

    Raises
    ------
    ValueError
        If an array or the metadata cannot be stored, or the file cannot be written.
    """
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata must be a dict, got {type(metadata).__name__}")
    arrays = storable(arrays, NUMERIC_DTYPES, reserved=METADATA_NAME)
    for name in arrays:
        if "\0" in name or len((name + SUFFIX).encode()) > MAX_MEMBER_NAME:
            raise ValueError(f"the name {shown(name)} of an array cannot be the name of a zip member")
    try:
        text = json.dumps(metadata, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be what JSON can hold: {error}") from error
    facts = np.frombuffer(text.encode(), np.uint8)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {METADATA_NAME: facts, **arrays}.items():
            member = zipfile.ZipInfo(name + SUFFIX, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # the same on every system; the rights below are Unix's
            member.external_attr = 0o600 << 16
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


def read_npz(path):
    """Read an `.npz`, ours or anybody's, compressed or not; never a pickle.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    arrays : dict[str, ndarray]
        In the archive's order, C-contiguous, in native byte order.
    metadata : dict
        What `save_npz` was given; empty for an archive that it did not write.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, holds objects, or lies about its sizes.
    """
    with reading(path) as file, open_archive(file) as archive:
        arrays = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(SUFFIX)
            if name == member.filename:
                raise ValueError(f"its member {shown(name)} is not an {SUFFIX} file")
            arrays[name] = _read_npy(archive, member)
        facts = arrays.pop(METADATA_NAME, None)
        return arrays, {} if facts is None else _parse_metadata(facts)


def _read_npy(archive, member):
    """Read one array; the size that its header implies must be the member's, before memory is asked for."""
    with archive.open(member) as stream:
        header_size, (byte_order, dtype), fortran_order, shape = _read_header(stream, member)
        implied = element_count(shape) * np.dtype(dtype).itemsize
        present = member.file_size - header_size
        if implied != present:
            raise ValueError(
                f"the header of {shown(member.filename)} implies {implied} bytes of data, the archive has {present}"
            )
        flat = decode(read_exactly(stream, implied), dtype, byte_order)
    # In Fortran's order the first index runs fastest: those are the transposed array's bytes in C's order.
    array = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    return array.astype(array.dtype, order="C", copy=False)


def _read_header(stream, member):
    """Read up to where an array's bytes begin: (bytes read, (byte order, dtype), fortran_order, shape)."""
    name = shown(member.filename)
    magic = read_exactly(stream, len(MAGIC) + 2).tobytes()
    length_format = {MAGIC + b"\1\0": "<H", MAGIC + b"\2\0": "<I"}.get(magic)
    if length_format is None:
        if magic.startswith(MAGIC):
            raise ValueError(
                f"{name} has version {magic[-2]}.{magic[-1]} of the npy format, only 1.0 and 2.0 are known"
            )
        raise ValueError(f"{name} does not begin as npy files do")
    length_size = struct.calcsize(length_format)
    (length,) = struct.unpack(length_format, read_exactly(stream, length_size).tobytes())
    if length > MAX_HEADER:
        raise ValueError(f"the header of {name} has {length} bytes, more than {MAX_HEADER}")
    text = read_exactly(stream, length).tobytes().decode("latin1")
    try:
        header = ast.literal_eval(text.strip())
        if set(header) != {"descr", "fortran_order", "shape"} or type(header) is not dict:
            raise ValueError("three other keys expected")
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"the header of {name} is not what the npy format asks for") from error
    if type(header["fortran_order"]) is not bool or type(header["shape"]) is not tuple:
        raise ValueError(f"the header of {name} has a fortran_order or a shape of the wrong type")
    dtype = _parse_descr(header["descr"], name)
    return len(magic) + length_size + length, dtype, header["fortran_order"], header["shape"]


def _parse_descr(descr, name):
    """Split a header's `descr`, like '<f4', into byte order and dtype; refuse what is not a plain number."""
    if isinstance(descr, str) and descr.lstrip("<>|=").startswith("O"):
        raise ValueError(f"{name} holds Python objects (dtype object), that is a pickle, which is never loaded")
    match = _DESCR.fullmatch(descr) if isinstance(descr, str) else None
    if match is None:
        raise ValueError(f"{name} has a dtype that is not a plain number: {shown(str(descr))}")
    order, dtype = match.groups()
    return (">" if order == ">" else "<"), dtype


def _parse_metadata(facts):
    """Turn the array kept under the reserved name back into a dict."""
    if facts.dtype != np.uint8 or facts.ndim != 1:
        raise ValueError(f"its {METADATA_NAME} is not a row of bytes")
    try:
        metadata = json.loads(facts.tobytes().decode())
    except ValueError as error:
        raise ValueError(f"its {METADATA_NAME} is not JSON: {error}") from error
    if type(metadata) is not dict:
        raise ValueError(f"its {METADATA_NAME} is not a JSON object")
    return metadata
