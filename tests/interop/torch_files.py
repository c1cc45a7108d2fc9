"""A writer of `.pth` files without PyTorch: pickles, instruction by instruction, like `torch.save`'s. And a reader."""

import pickle
import struct
from dataclasses import dataclass

import numpy as np
import pytest

from repvgg_np.interop import read_torch_zip

from .raw_zip import Member, raw_zip

FLOATS = np.arange(12, dtype="<f4")


@dataclass
class Global:
    """An importable name."""

    module: str
    name: str


@dataclass
class Call:
    """A call of an importable function."""

    function: Global
    arguments: tuple


@dataclass
class Reference:
    """A reference to what is kept outside of the pickle."""

    identity: object


@dataclass
class Built:
    """An object that is given attributes."""

    target: object
    state: object


STORAGES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
ORDERED_DICT = Global("collections", "OrderedDict")
REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter")


def tensor(key, dtype, length, offset, shape, strides):
    """Describe a tensor as PyTorch's pickles do; `length` is the storage's, in elements."""
    storage = Reference(("storage", Global("torch", STORAGES[dtype]), key, "cpu", length))
    return Call(REBUILD_TENSOR, (storage, offset, shape, strides, False, Call(ORDERED_DICT, ())))


def parameter(inner):
    """Wrap a tensor as `nn.Parameter` is."""
    return Call(REBUILD_PARAMETER, (inner, True, Call(ORDERED_DICT, ())))


def dumps(value):
    """Pickle, protocol 2."""
    return b"\x80\x02" + _instructions(value) + b"."


def _instructions(value):
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return pickle.dumps(value, 2)[2:-1]
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return b"X" + struct.pack("<I", len(raw)) + raw
        case tuple():
            return b"(" + b"".join(map(_instructions, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_instructions, value)) + b"e"
        case dict():
            items = b"".join(_instructions(key) + _instructions(item) for key, item in value.items())
            return b"}(" + items + b"u"
        case Global():
            return b"c" + f"{value.module}\n{value.name}\n".encode()
        case Call():
            return _instructions(value.function) + _instructions(value.arguments) + b"R"
        case Reference():
            return _instructions(value.identity) + b"Q"
        case Built():
            return _instructions(value.target) + _instructions(value.state) + b"b"
    raise TypeError(f"no instructions for a {type(value).__name__}")


def torch_zip(saved, storages, folder="archive", byte_order=b"little"):
    """Return the bytes of a `.pth` file.

    `saved` is what to pickle, or the pickle's bytes; `storages` maps keys to bytes.
    """
    program = saved if isinstance(saved, bytes) else dumps(saved)
    members = [Member(f"{folder}/data.pkl", program)]
    if byte_order is not None:
        members.append(Member(f"{folder}/byteorder", byte_order))
    members += [Member(f"{folder}/data/{key}", content) for key, content in storages.items()]
    return raw_zip([*members, Member(f"{folder}/version", b"3\n")])


def torch_zip_of(arrays, wrap=lambda state: state):
    """Return the bytes of a `.pth` file that holds these arrays, contiguous, each in a storage of its own."""
    state, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        state[name] = tensor(str(key), array.dtype.str[1:], array.size, 0, array.shape, strides)
        storages[str(key)] = array.tobytes()
    return torch_zip(wrap(state), storages)


def read(path, content):
    path.write_bytes(content)
    return read_torch_zip(path)


def refusal(path, content):
    """The message with which a file is refused: one line, naming the file."""
    with pytest.raises(ValueError) as caught:
        read(path, content)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert "\n" not in message
    assert len(message) < 3000
    return message


def read_view(path, offset, shape, strides):
    """Read one tensor which is a view of twelve floats."""
    return read(path, torch_zip({"x": tensor("0", "f4", 12, offset, shape, strides)}, {"0": FLOATS.tobytes()}))["x"]
