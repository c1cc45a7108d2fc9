"""What is saved as `.npz` is what is read, and the same as NumPy's own."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repvgg_np.interop import read_npz, save_npz

from .npz_files import header, npy, write
from .raw_zip import Member
from .same import assert_same_arrays
from .strategies import arrays, json_objects, named_arrays


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


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
