"""Writers of `.npz` files that NumPy would not write, and the words with which a file is refused."""

import struct

import pytest

from repvgg_np.interop import read_npz

from .raw_zip import raw_zip


def npy(header, data=b"", version=(1, 0), length=None):
    """The bytes of an npy file with any header."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    text += b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header(shape, descr="<f4", fortran_order=False):
    return {"descr": descr, "fortran_order": fortran_order, "shape": shape}


def write(path, *members):
    path.write_bytes(raw_zip(members))
    return path


def refusal(path):
    """The message with which a file is refused: one line, naming the file."""
    with pytest.raises(ValueError) as caught:
        read_npz(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert "\n" not in message
    return message
