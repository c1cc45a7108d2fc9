"""An `.npz` file is an archive as it was written, whole and honest about its sizes, or it is refused."""

import struct
import zipfile
import zlib

import numpy as np
import pytest

from repvgg_np.interop import read_npz, save_npz

from .memory import MEBIBYTE, at_most
from .npz_files import header, npy, refusal, write
from .raw_zip import DEFLATED, Member, deflated_zeros, raw_zip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


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
