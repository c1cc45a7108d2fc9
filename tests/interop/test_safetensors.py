import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.interop import read_safetensors, save_safetensors

from .memory import at_most
from .same import assert_same_arrays
from .strategies import REAL_DTYPES, named_arrays

MEBIBYTE = 1 << 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def encode(header, data=b"", length=None):
    """The bytes of a file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(3,), begin=0, end=12):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def refusal(path):
    """The message with which a file is refused: one line, naming the file."""
    with pytest.raises(ValueError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert "\n" not in message
    return message


@given(named_arrays(REAL_DTYPES), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_what_is_saved_is_what_is_read(tmp_path_factory, named, metadata):
    path = tmp_path_factory.mktemp("safetensors") / "weights"
    save_safetensors(path, named, metadata)
    found, strings = read_safetensors(path)
    assert_same_arrays(found, named)
    assert strings == metadata


@given(named_arrays(REAL_DTYPES))
def test_each_tensor_begins_at_a_multiple_of_its_element_size(tmp_path_factory, named):
    path = tmp_path_factory.mktemp("safetensors") / "weights"
    save_safetensors(path, named)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    for name, fields in json.loads(whole[8 : 8 + length]).items():
        assert (8 + length + fields["data_offsets"][0]) % named[name].itemsize == 0


def test_a_file_is_what_the_format_says_byte_by_byte(path):
    save_safetensors(path, {"b": np.array([1, 2], np.uint8), "w": np.array([[1.0]], np.float32)}, {"k": "v"})
    header = (
        b'{"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},'
        b'"w":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}'
    )
    header += b" " * (-len(header) % 8)
    assert path.read_bytes() == struct.pack("<Q", len(header)) + header + b"\x00\x00\x80\x3f\x01\x02"


def test_bfloat16_is_widened_to_float32_exactly(path):
    bits = np.arange(1 << 16, dtype="<u2")
    path.write_bytes(encode({"x": entry("BF16", (256, 256), 0, bits.nbytes)}, bits.tobytes()))
    found = read_safetensors(path)[0]["x"]
    assert found.dtype == np.float32
    assert found.shape == (256, 256)
    assert np.array_equal(found.view(np.uint32).ravel(), np.arange(1 << 16, dtype=np.uint32) * 65536)
    assert found[0x3F, 0xC0] == 1.5
    assert found[0xC0, 0x49] == -3.140625


def test_a_scalar_in_bfloat16_is_an_array(path):
    path.write_bytes(encode({"x": entry("BF16", (), 0, 2)}, b"\x80\x3f"))
    found = read_safetensors(path)[0]["x"]
    assert type(found) is np.ndarray
    assert found.shape == ()
    assert found == 1


def test_the_buffer_need_not_follow_the_order_of_the_header(path):
    data = np.arange(3, dtype="<f4").tobytes() + b"\1\2"
    path.write_bytes(
        encode({"late": entry("U8", (2,), 12, 14), "empty": entry("I8", (0,), 12, 12), "x": entry()}, data)
    )
    found, _ = read_safetensors(path)
    assert list(found) == ["late", "empty", "x"]
    assert found["late"].tolist() == [1, 2]
    assert found["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"x": entry(begin=1, end=13)}, 13),  # a hole in front
        ({"x": entry(), "y": entry(begin=13, end=25)}, 25),  # a hole between
        ({"x": entry(), "y": entry(begin=11, end=23)}, 23),  # an overlap
        ({"x": entry(), "y": entry()}, 12),  # twice the same
        ({"x": entry()}, 13),  # something behind
        ({"x": entry()}, 11),  # truncated
        ({}, 1),
    ],
)
def test_tensors_must_cover_the_buffer_without_gap_or_overlap(path, header, size):
    path.write_bytes(encode(header, bytes(size)))
    refusal(path)


@pytest.mark.parametrize(
    "fields",
    [
        entry(shape=(4,)),
        entry(shape=(10**12,)),
        entry(shape=(10**12,), end=4 * 10**12),
        entry(shape=(2**62, 4), end=2**66),
        entry(shape=(10**4000,)),
        entry(shape=(10**4000,) * 1000),
        entry(shape=(-3,)),
        entry(shape=(-1, -3)),
        entry(shape=(3.0,)),
        entry(shape=(True, 3)),
        entry(shape=(None,)),
        entry(shape=([3],)),
        entry(shape=(1,) * 32 + (3,)),
        entry(dtype="F64"),
        entry(dtype="F8_E4M3"),
        entry(dtype="f32"),
        entry(dtype=["F32"]),
        entry(dtype=None),
        entry(begin=12, end=0),
        entry(begin=-12, end=0),
        entry(begin=0.0, end=12.0),
        entry(begin=False),
        entry(shape=(0, 10**30), end=0),
        {**entry(), "shape": 3},
        {**entry(), "shape": {"3": 3}},
        {**entry(), "data_offsets": [0]},
        {**entry(), "data_offsets": [0, 12, 12]},
        {**entry(), "data_offsets": {"0": 12}},
        {**entry(), "more": 1},
        {"dtype": "F32", "shape": [3]},
        [],
        3,
        None,
    ],
)
def test_an_entry_that_contradicts_itself_is_refused_before_memory_is_taken(path, fields):
    path.write_bytes(encode({"name\n": fields}, bytes(12)))
    with at_most(64 * MEBIBYTE if len(path.read_bytes()) > MEBIBYTE else MEBIBYTE):
        refusal(path)


@pytest.mark.parametrize("fields", [entry(shape=(4,)), entry(shape=()), entry("F16"), entry(end=11), entry(begin=1)])
def test_a_size_that_contradicts_the_shape_is_named_as_that(path, fields):
    path.write_bytes(encode({"x": fields}, bytes(12)))
    assert "the data_offsets of 'x' contradict its dtype and shape" in refusal(path)


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 10**8, 10**8 + 1, 1000])
def test_a_header_that_lies_about_its_length_is_refused(path, length):
    path.write_bytes(encode({"x": entry()}, bytes(12), length=length))
    with at_most(MEBIBYTE):
        refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b' {"x": 1}',
        b"\xff",
        b'{"x": \xff}',
        b"{" * 100_000,
        b'{"x":' * 100_000,
        b'{"x":' + b"9" * 5000 + b"}",
        b"{} {}",
        b'{"__metadata__": {"a": 1}}',
        b'{"__metadata__": []}',
        b'{"__metadata__": null}',
    ],
)
def test_a_header_that_is_not_the_formats_json_is_refused(path, header):
    path.write_bytes(encode(header))
    refusal(path)


def test_a_key_that_comes_twice_is_refused(path):
    one = json.dumps(entry())
    path.write_bytes(encode(f'{{"x": {one}, "x": {one}}}'.encode(), bytes(12)))
    assert "a key comes twice" in refusal(path)
    path.write_bytes(encode(f'{{"x": {one[:-1]}, "dtype": "F32"}}}}'.encode(), bytes(12)))
    assert "a key comes twice" in refusal(path)


def test_a_bool_that_is_neither_0_nor_1_is_refused(path):
    path.write_bytes(encode({"x": entry("BOOL", (3,), 0, 3)}, b"\0\1\2"))
    assert "neither 0 nor 1" in refusal(path)


def test_a_file_that_is_truthful_but_larger_than_the_memory_is_refused_in_one_line(path, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    save_safetensors(path, {"x": np.zeros(3)})
    monkeypatch.setattr(np, "empty", no_memory)
    assert "it needs more memory than there is" in refusal(path)


def test_a_file_cut_anywhere_is_refused(path):
    save_safetensors(path, {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}, {"k": "v"})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refusal(path)


@pytest.mark.parametrize(
    ("named", "metadata", "message"),
    [
        ({"__metadata__": np.zeros(1)}, None, "reserved"),
        ({"x": np.zeros(1, np.complex64)}, None, "array 'x' has dtype complex64"),
        ({"x": np.array(["text"])}, None, "array 'x' has dtype <U4"),
        ({3: np.zeros(1)}, None, "must be str, got int"),
        ({"\ud800": np.zeros(1)}, None, "not valid Unicode"),
        ({}, {"epoch": 3}, "metadata must map str to str"),
        ({}, {3: "epoch"}, "metadata must map str to str"),
        ({}, ["epoch"], "metadata must map str to str"),
    ],
)
def test_what_cannot_be_stored_is_named_and_a_former_file_stays(path, named, metadata, message):
    path.write_bytes(b"former")
    with pytest.raises(ValueError, match=message):
        save_safetensors(path, named, metadata)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"former"
