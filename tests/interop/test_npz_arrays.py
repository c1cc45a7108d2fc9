"""An array in an `.npz` file is plain numbers of the size that its header says, or it is refused."""

import os
import pickle

import numpy as np
import pytest

from .memory import MEBIBYTE, at_most
from .npz_files import header, npy, refusal, write
from .raw_zip import Member


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


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
