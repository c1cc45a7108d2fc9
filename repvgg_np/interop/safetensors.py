"""The safetensors format: names, shapes and types in JSON, then the bytes. Nothing in it can run.

The file begins with eight bytes, the length N of the header (unsigned, little-endian). N bytes of JSON
follow: `{"linear.bias": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}, ...}`, perhaps padded
with spaces. The rest is one buffer; `data_offsets` are where in it a tensor begins and ends, in bytes.
Together the tensors must cover the buffer from its first byte to its last, without a gap and without an
overlap. All numbers are little-endian, all tensors in C's order. The key `__metadata__` may map strings to
strings.

BF16 (bfloat16) is unknown to NumPy and is widened to float32, which is exact. It is never written.
"""

import json
import struct

import numpy as np

from repvgg_np.atomic import atomic_write
from repvgg_np.interop.files import (
    BFLOAT16,
    decode,
    element_count,
    read_exactly,
    reading,
    shown,
    size_of,
    storable,
)

METADATA_NAME = "__metadata__"
LENGTH_SIZE = 8  # bytes in front of the header
ALIGNMENT = 8  # the header is padded so that the data begin at a multiple of this many bytes
MAX_HEADER = 100_000_000  # bytes

DTYPES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BF16": BFLOAT16},
    **{"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1"},
    **{"U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "b1"},
}
_NAMES_OF_DTYPES = {dtype: name for name, dtype in DTYPES.items() if dtype != BFLOAT16}


def save_safetensors(path, arrays, metadata=None):
    """Write named arrays as a safetensors file.

    Parameters
    ----------
    path : str or os.PathLike
        Written whole or not at all.
    arrays : dict[str, array_like]
        Real numbers or truth values of any shape. Their order is kept in the header.
    metadata : dict[str, str], optional
        Strings only: the format has nothing else.

    Raises
    ------
    ValueError
        If an array or the metadata cannot be stored, or the file cannot be written.
    """
    metadata = {} if metadata is None else metadata
    if not _maps_strings(metadata):
        raise ValueError("metadata must map str to str, that is all that safetensors can hold")
    arrays = storable(arrays, _NAMES_OF_DTYPES, reserved=METADATA_NAME)
    # Wide elements first: each tensor then begins at a multiple of its element size, as memory-mapping
    # readers like it.
    in_buffer = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    begin, end = {}, 0
    for name in in_buffer:
        begin[name], end = end, end + arrays[name].nbytes
    header = {METADATA_NAME: metadata} if metadata else {}
    for name, array in arrays.items():
        header[name] = {
            "dtype": _NAMES_OF_DTYPES[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [begin[name], begin[name] + array.nbytes],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in in_buffer:
            file.write(arrays[name].data)


def read_safetensors(path):
    """Read a safetensors file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    arrays : dict[str, ndarray]
        In the header's order. BF16 comes as float32.
    metadata : dict[str, str]
        Empty if the file has none.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated, or contradicts itself.
    """
    with reading(path) as file:
        size = size_of(file)
        header, buffer_size = _read_header(file, size)
        metadata = header.pop(METADATA_NAME, {})
        if not _maps_strings(metadata):
            raise ValueError(f"its {METADATA_NAME} does not map strings to strings")
        entries = {name: _check_entry(name, entry) for name, entry in header.items()}
        _check_cover(entries, buffer_size)
        arrays = {}
        for name, (dtype, shape, begin, end) in entries.items():
            file.seek(size - buffer_size + begin)
            arrays[name] = decode(read_exactly(file, end - begin), dtype).reshape(shape)
        return arrays, metadata


def _read_header(file, size):
    """Read the JSON in front: (header, size in bytes of the buffer behind it)."""
    if size < LENGTH_SIZE:
        raise ValueError(f"it has {size} bytes, too few for a safetensors file")
    (length,) = struct.unpack("<Q", read_exactly(file, LENGTH_SIZE).tobytes())
    if length > MAX_HEADER or length > size - LENGTH_SIZE:
        raise ValueError(f"its header claims {length} bytes; {size - LENGTH_SIZE} follow, and {MAX_HEADER} are allowed")
    text = read_exactly(file, length).tobytes()
    if not text.startswith(b"{"):
        raise ValueError("its header does not begin as a JSON object")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise ValueError(f"its header is not JSON that can be used: {error}") from error
    return header, size - LENGTH_SIZE - length


def _without_duplicates(pairs):
    """Make the dict of a JSON object; a key that comes twice would mean two things to two readers."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key comes twice")
    return result


def _maps_strings(metadata):
    """Tell whether this is a dict from str to str."""
    return isinstance(metadata, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in metadata.items()
    )


def _check_entry(name, entry):
    """Check what the header says of one tensor, by itself: (dtype, shape, begin, end)."""
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the entry of {shown(name)} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in DTYPES:
        raise ValueError(f"the dtype of {shown(name)} must be one of {', '.join(DTYPES)}")
    if type(shape) is not list:
        raise ValueError(f"the shape of {shown(name)} is not a list")
    if type(offsets) is not list or [type(offset) for offset in offsets] != [int, int]:
        raise ValueError(f"the data_offsets of {shown(name)} are not two integers")
    begin, end = offsets
    itemsize = 2 if DTYPES[dtype] == BFLOAT16 else np.dtype(DTYPES[dtype]).itemsize
    if end - begin != element_count(shape) * itemsize:
        raise ValueError(f"the data_offsets of {shown(name)} contradict its dtype and shape")
    return DTYPES[dtype], shape, begin, end


def _check_cover(entries, buffer_size):
    """Check that the tensors cover the buffer without gap or overlap."""
    position = 0
    for begin, end, name in sorted((begin, end, name) for name, (_, _, begin, end) in entries.items()):
        if begin != position:
            raise ValueError(
                f"{shown(name)} begins at byte {begin} of the data, the tensor before it ends at {position}"
            )
        position = end
    if position != buffer_size:
        raise ValueError(f"its tensors take {position} bytes, the file has {buffer_size} for them")
