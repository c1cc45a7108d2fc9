import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repvgg_np.interop import read_npz, save_npz

from .memory import at_most
from .raw_zip import DEFLATED, Member, deflated_zeros, raw_zip
from .same import assert_same_arrays
from .strategies import arrays, json_objects, named_arrays

MEBIBYTE = 1 << 20


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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


def refusal(path):
    """The message with which a file is refused: one line, naming the file."""
    with pytest.raises(ValueError) as caught:
        read_npz(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert "\n" not in message
    return message


@given(named_arrays(), json_objects)
@example({"stage0.rbr_dense.conv.weight": np.ones((2, 3), np.float32)}, {"model": "RepVGG-A0"})
@example({"name.npy": np.float32(1), "": np.zeros((0, 3)), "a/b": np.arange(3)}, {})
def test_what_is_saved_is_what_is_read(tmp_path_factory, named, metadata):
    path = tmp_path_factory.mktemp("npz") / "weights.npz"
    save_npz(path, named, metadata)
    found, facts = read_npz(path)
    assert_same_arrays(found, {name: np.asarray(array) for name, array in named.items()})
    assert facts == metadata


@given(named_arrays(), json_objects)
def test_equal_content_gives_equal_bytes_in_whatever_memory_and_key_order(tmp_path_factory, named, metadata):
    folder = tmp_path_factory.mktemp("npz")
    save_npz(folder / "one", named, metadata)
    other = {name: np.array(array.astype(array.dtype.newbyteorder("=")), order="F") for name, array in named.items()}
    save_npz(folder / "other", other, dict(reversed(metadata.items())))
    assert (folder / "one").read_bytes() == (folder / "other").read_bytes()


def test_the_bytes_do_not_depend_on_the_clock_or_on_the_path(tmp_path, monkeypatch):
    save_npz(tmp_path / "one", {"x": np.arange(3)}, {"a": 1})
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    save_npz(tmp_path / "a folder" / "other.bin", {"x": np.arange(3)}, {"a": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "a folder" / "other.bin").read_bytes()


@given(named_arrays())
def test_numpy_reads_what_we_write_without_pickle(tmp_path_factory, named):
    path = tmp_path_factory.mktemp("npz") / "weights.npz"
    save_npz(path, named, {"epoch": 3})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        found = {
            name.removesuffix(".npy"): np.lib.format.read_array(archive.open(name), allow_pickle=False)
            for name in archive.namelist()
        }
    assert json.loads(found.pop("__repvgg_np__").tobytes()) == {"epoch": 3}
    assert_same_arrays(found, named)


@given(st.lists(arrays(), min_size=1, max_size=4), st.sampled_from([np.savez, np.savez_compressed]))
def test_what_numpy_writes_is_read_with_empty_metadata(tmp_path_factory, values, save):
    path = tmp_path_factory.mktemp("npz") / "weights.npz"
    named = {f"layer{index}.weight": array for index, array in enumerate(values)}
    save(path, **named)
    found, metadata = read_npz(path)
    assert_same_arrays(found, named)
    assert metadata == {}


def test_version_2_of_the_npy_format_is_read(path):
    data = np.arange(6, dtype="<f4")
    write(path, Member("x.npy", npy(header((2, 3)), data.tobytes(), version=(2, 0))))
    assert np.array_equal(read_npz(path)[0]["x"], data.reshape(2, 3))


def test_fortran_order_and_big_endian_numbers_are_read_by_their_meaning(path):
    data = np.arange(6, dtype=">i4").tobytes()
    write(path, Member("x.npy", npy(header((2, 3), ">i4", fortran_order=True), data)))
    found = read_npz(path)[0]["x"]
    assert found.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert found.dtype == np.dtype("int32")


class Trap:
    """Unpickling an instance makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_array_of_objects_is_refused_as_a_pickle_and_not_loaded(path, tmp_path):
    marker = tmp_path / "executed"
    np.savez(path, x=np.array([Trap(marker)], dtype=object))
    assert "'x.npy' holds Python objects (dtype object), that is a pickle" in refusal(path)
    assert not marker.exists()
    with open(path, "rb") as file:  # the trap does work, where pickles are allowed
        np.load(file, allow_pickle=True)["x"]
    assert marker.exists()


@pytest.mark.parametrize("descr", ["|O", "O", "<O8", "|O8"])
def test_every_spelling_of_the_object_dtype_is_refused(path, descr):
    write(path, Member("x.npy", npy(header((1,), descr), pickle.dumps([1]))))
    assert "pickle" in refusal(path)


@pytest.mark.parametrize(
    "descr",
    ["<U3", "|S3", "|V4", "<M8[s]", "<f16", "<f3", "f4,f4", [("a", "<f4")], ("<f4", (2,)), 4, None, "<U0"],
)
def test_a_dtype_that_is_not_a_plain_number_is_refused(path, descr):
    write(path, Member("x.npy", npy(header((1,), descr), bytes(16))))
    assert "'x.npy' has a dtype that is not a plain number" in refusal(path)


@pytest.mark.parametrize(
    "shape",
    [
        (4,),
        (2,),
        (10**12,),
        (2**62, 4),
        (10**30,),
        (10**4000,),
        (),
        (0,),
        (3, 0),
        (1,) * 32 + (3,),
        (0, 10**30),
    ],
)
def test_a_header_that_lies_about_the_size_is_refused_before_memory_is_taken(path, shape):
    write(path, Member("x.npy", npy(header(shape), bytes(12))))
    with at_most(MEBIBYTE):
        refusal(path)


def test_the_refusal_of_a_lying_header_says_what_was_claimed_and_what_is_there(path):
    write(path, Member("x.npy", npy(header((10**12,)), bytes(12))))
    assert "implies 4000000000000 bytes of data, the archive has 12" in refusal(path)


@pytest.mark.parametrize("shape", [(-3,), (-1, -3), (3.0,), ("3",), (True, 3), (None,), ((3,),)])
def test_a_shape_of_anything_but_non_negative_integers_is_refused(path, shape):
    write(path, Member("x.npy", npy(header(shape), bytes(12))))
    assert "non-negative integers" in refusal(path)


@pytest.mark.parametrize("shape", [[3], 3, "3", None, {3}])
def test_a_shape_that_is_not_a_tuple_is_refused(path, shape):
    write(path, Member("x.npy", npy(header(shape), bytes(12))))
    assert "wrong type" in refusal(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{'descr': '<f4', 'fortran_order': False}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
        b"{[]: 1}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} or print('executed')",
        b"__import__('os').system('false')",
        b"(" * 5000,
        b"-" * 9000 + b"1",
        b"[" * 90 + b"]" * 90,
        b"'\\d' 1if 2else 3",
        b"\xff\x00",
        b"9" * 5000,
    ],
)
def test_a_header_that_is_not_a_plain_dict_is_refused(path, text):
    write(path, Member("x.npy", npy(text, bytes(12))))
    assert "header of 'x.npy'" in refusal(path)


def test_a_header_of_excessive_length_is_refused_unread(path):
    write(path, Member("x.npy", npy(header((3,)), bytes(12), version=(2, 0), length=2**32 - 1)))
    with at_most(MEBIBYTE):
        assert "4294967295 bytes, more than 10000" in refusal(path)


@pytest.mark.parametrize("version", [(3, 0), (0, 0), (1, 1), (9, 9)])
def test_an_unknown_version_of_the_npy_format_is_named(path, version):
    write(path, Member("x.npy", npy(header((3,)), bytes(12), version)))
    assert f"version {version[0]}.{version[1]} " in refusal(path)


def test_a_bool_that_is_neither_0_nor_1_is_refused(path):
    write(path, Member("x.npy", npy(header((3,), "|b1"), b"\0\1\2")))
    assert "neither 0 nor 1" in refusal(path)


def test_a_member_that_is_not_an_npy_file_is_refused(path):
    write(path, Member("x.txt", b"hello"))
    assert "'x.txt' is not an .npy file" in refusal(path)
    write(path, Member("x.npy", b"hello, this is no array"))
    assert "'x.npy' does not begin as npy files do" in refusal(path)


def test_a_name_that_comes_twice_is_refused(path):
    one = Member("x.npy", npy(header((3,)), bytes(12)))
    write(path, one, one)
    assert "the same name twice" in refusal(path)


def test_a_wrong_crc_is_refused(path):
    write(path, Member("x.npy", npy(header((3,)), bytes(12)), crc=1))
    assert "CRC" in refusal(path)


def test_an_archive_without_members_is_refused(path):
    np.savez(path)
    assert "does not list what the file begins with" in refusal(path)


@pytest.mark.parametrize("comment", [b"x", b"a comment of 22 bytes.", bytes(1000)])
def test_an_archive_with_something_behind_it_is_refused(path, comment):
    content = raw_zip([Member("x.npy", npy(header((3,)), bytes(12)))])
    path.write_bytes(content[:-2] + struct.pack("<H", len(comment)) + comment)
    assert "does not end where its zip directory ends" in refusal(path)


def test_an_archive_behind_other_data_is_refused(path):
    path.write_bytes(b"#!/bin/sh" + raw_zip([Member("x.npy", npy(header((3,)), bytes(12)))]))
    assert "does not list what the file begins with" in refusal(path)


def test_an_encrypted_member_is_refused(path):
    write(path, Member("x.npy", npy(header((3,)), bytes(12)), flags=1))
    assert "encrypted" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_other_compressions_are_refused(path, method):
    write(path, Member("x.npy", bytes(12), method))
    assert f"compressed by method {method}" in refusal(path)


def test_a_stored_member_must_have_one_size(path):
    write(path, Member("x.npy", npy(header((10**9,)), bytes(12)), file_size=4 * 10**9))
    with at_most(MEBIBYTE):
        assert "two different sizes" in refusal(path)


def test_a_stored_member_cannot_be_larger_than_the_file(path):
    content = npy(header((10**12,)))
    size = 4 * 10**12 + len(content)
    write(path, Member("x.npy", content, file_size=size, compress_size=size))
    with at_most(MEBIBYTE):
        assert "more bytes than" in refusal(path)


def test_members_that_lie_on_top_of_each_other_are_refused(path):
    content = npy(header((MEBIBYTE // 4,)), bytes(MEBIBYTE))
    write(path, Member("x.npy", content), *(Member(f"{copy}.npy", content, offset=0) for copy in range(1000)))
    with at_most(4 * MEBIBYTE):
        assert "more bytes than" in refusal(path)


def deflate(content):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush()


def test_a_ratio_that_deflate_cannot_reach_is_refused_by_the_directory_alone(path):
    content = npy(header((10**12,)))
    write(path, Member("x.npy", deflate(content), DEFLATED, crc=0, file_size=4 * 10**12 + len(content)))
    with at_most(MEBIBYTE):
        assert "which no deflated data can" in refusal(path)


def test_a_zip_bomb_of_honest_sizes_is_refused_within_bounded_memory(path):
    zeros = deflated_zeros(4096)  # 4 GiB in 4 MiB
    write(path, Member("x.npy", zeros, DEFLATED, crc=0, file_size=4096 * MEBIBYTE))
    with at_most(MEBIBYTE):
        assert "zip bomb" in refusal(path)


def test_a_zip_bomb_cut_into_many_members_is_refused_within_bounded_memory(path):
    zeros = deflated_zeros(128)
    write(path, *(Member(f"{i}.npy", zeros, DEFLATED, crc=0, file_size=128 * MEBIBYTE) for i in range(64)))
    with at_most(MEBIBYTE):
        assert "zip bomb" in refusal(path)


def test_a_zip_bomb_that_claims_to_be_small_is_refused_within_bounded_memory(path):
    content = npy(header((MEBIBYTE // 4,)))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(4096)
    write(path, Member("x.npy", bomb, DEFLATED, crc=0, file_size=MEBIBYTE + len(content)))
    with at_most(8 * MEBIBYTE):
        assert "CRC" in refusal(path)


def test_deflated_data_that_end_too_early_are_refused(path):
    content = npy(header((300,)), bytes(1000))
    crc = zlib.crc32(content)
    write(path, Member("x.npy", deflate(content), DEFLATED, crc=crc, file_size=len(content) + 200))
    refusal(path)


def test_data_behind_the_array_are_refused(path):
    write(path, Member("x.npy", npy(header((3,)), bytes(13))))
    assert "implies 12 bytes of data, the archive has 13" in refusal(path)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (np.zeros(3, np.float32), "row of bytes"),
        (np.zeros((1, 3), np.uint8), "row of bytes"),
        (np.frombuffer(b"{", np.uint8), "not JSON"),
        (np.frombuffer(b"\xff", np.uint8), "not JSON"),
        (np.frombuffer(b"[1]", np.uint8), "not a JSON object"),
        (np.frombuffer(b"[" * 100_000, np.uint8), "nested too deeply"),
    ],
)
def test_damaged_metadata_are_refused(path, facts, word):
    np.savez(path, __repvgg_np__=facts)
    assert word in refusal(path)


def test_a_file_cut_anywhere_is_refused(path):
    save_npz(path, {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}, {"epoch": 1})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refusal(path)


def test_a_flipped_bit_is_refused_or_harms_nothing_but_a_name(path):
    original = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
    save_npz(path, original, {"epoch": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found, _ = read_npz(path)
            except ValueError:
                continue
            # Not every byte of a zip archive is under a checksum (time stamps, say), but every array is.
            values = [array for name, array in found.items() if array.dtype != np.uint8]
            assert [array.tobytes() for array in values] == [array.tobytes() for array in original.values()]


@pytest.mark.parametrize("name", ["absent.npz", ".", "a\0b", "x" * 5000, "absent\nfolder/file"])
def test_a_path_that_cannot_be_read_is_a_value_error_of_one_line(tmp_path, name):
    with pytest.raises(ValueError, match="^cannot read [^\n]*: [^\n]+$"):
        read_npz(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3, b"bytes"])
def test_a_path_of_the_wrong_type_is_named(path):
    with pytest.raises(ValueError, match="path must be a str or an os.PathLike, got"):
        read_npz(path)


@pytest.mark.parametrize(
    ("named", "metadata", "message"),
    [
        ({"__repvgg_np__": np.zeros(1)}, {}, "reserved"),
        ({"x": np.array([None])}, {}, "array 'x' has dtype object"),
        ({"x": np.array(["text"])}, {}, "array 'x' has dtype <U4"),
        ({"x": np.zeros(1, np.longdouble)}, {}, "array 'x' has dtype float128"),
        ({"x": np.zeros((1,) * 33)}, {}, "33 dimensions"),
        ({3: np.zeros(1)}, {}, "must be str, got int"),
        ({"a\0b": np.zeros(1)}, {}, "cannot be the name of a zip member"),
        ({"x" * 70_000: np.zeros(1)}, {}, "cannot be the name of a zip member"),
        ({"\ud800": np.zeros(1)}, {}, "not valid Unicode"),
        ({}, {"x": np.zeros(1)}, "what JSON can hold"),
        ({}, {"x": {1, 2}}, "what JSON can hold"),
        ({}, [1], "metadata must be a dict, got list"),
    ],
)
def test_what_cannot_be_stored_is_named_and_a_former_file_stays(path, named, metadata, message):
    path.write_bytes(b"former")
    with pytest.raises(ValueError, match=message) as caught:
        save_npz(path, named, metadata)
    assert "\n" not in str(caught.value)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"former"


def test_a_saved_array_shares_nothing_with_the_reader(path):
    save_npz(path, {"x": np.arange(3)})
    found = read_npz(path)[0]["x"]
    found += 1
    assert read_npz(path)[0]["x"].tolist() == [0, 1, 2]


def test_a_file_like_numpys_own_is_what_npy_helps_to_write():
    buffer = io.BytesIO(npy(header((3,)), np.arange(3, dtype="<f4").tobytes()))
    assert np.load(buffer).tolist() == [0, 1, 2]
