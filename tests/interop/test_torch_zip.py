"""A `.pth` file is read bit by bit, or refused: the tensors of a state dict, and the archive around them."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .memory import MEBIBYTE, at_most
from .raw_zip import DEFLATED, Member, deflated_zeros, raw_zip
from .same import assert_same_arrays
from .torch_files import (
    FLOATS,
    ORDERED_DICT,
    Built,
    Call,
    Global,
    dumps,
    parameter,
    read,
    read_view,
    refusal,
    tensor,
    torch_zip,
    torch_zip_of,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


@given(
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from(["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1"]),
)
def test_contiguous_tensors_are_read_bit_by_bit(tmp_path_factory, shape, dtype):
    rng = np.random.default_rng(0)
    size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
    named = {
        "a.weight": np.frombuffer(rng.bytes(size), "<" + dtype).reshape(shape),
        "b": np.arange(3, dtype="<i8"),
    }
    path = tmp_path_factory.mktemp("torch") / "weights.pth"
    assert_same_arrays(read(path, torch_zip_of(named)), named)


@given(st.data())
def test_any_strided_view_is_read_as_numpy_sees_it(tmp_path_factory, data):
    # A view made by slicing and transposing a dense array: what training code saves by accident.
    base = np.arange(120, dtype="<f4")
    view = base.reshape(data.draw(st.sampled_from([(120,), (10, 12), (4, 5, 6), (2, 3, 4, 5)])))
    view = view.transpose(data.draw(st.permutations(range(view.ndim))))
    for axis, size in enumerate(view.shape):
        start = data.draw(st.integers(0, size))
        step = data.draw(st.integers(1, 3))
        view = view[(slice(None),) * axis + (slice(start, None, step),)]
    offset = (view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 4
    strides = tuple(stride // 4 for stride in view.strides)
    path = tmp_path_factory.mktemp("torch") / "weights.pth"
    content = torch_zip({"x": tensor("0", "f4", 120, offset, view.shape, strides)}, {"0": base.tobytes()})
    found = read(path, content)["x"]
    assert found.flags.c_contiguous
    assert np.array_equal(found, view)


def test_tensors_that_share_a_storage_become_arrays_that_share_nothing(path):
    state = {
        "whole": tensor("0", "f4", 12, 0, (3, 4), (4, 1)),
        "transposed": tensor("0", "f4", 12, 0, (4, 3), (1, 4)),
        "tail": tensor("0", "f4", 12, 9, (3,), (1,)),
        "bits": tensor("0", "i4", 12, 0, (1,), (1,)),
    }
    found = read(path, torch_zip(state, {"0": FLOATS.tobytes()}))
    assert np.array_equal(found["whole"], FLOATS.reshape(3, 4))
    assert np.array_equal(found["transposed"], FLOATS.reshape(3, 4).T)
    assert found["tail"].tolist() == [9, 10, 11]
    assert found["bits"].dtype == np.int32
    found["whole"][:] = -1
    assert found["tail"].tolist() == [9, 10, 11]
    assert found["transposed"][0, 1] == 4


def test_a_stride_along_a_single_element_may_be_any_number(path):
    assert read_view(path, 0, (1, 3, 1), (10**9, 4, 2**62)).ravel().tolist() == [0, 4, 8]


def test_a_scalar_and_an_empty_tensor_are_read(path):
    scalar = read_view(path, 11, (), ())
    assert type(scalar) is np.ndarray
    assert scalar == 11
    assert read_view(path, 0, (0, 3), (3, 1)).shape == (0, 3)
    empty = torch_zip({"x": tensor("0", "f4", 0, 0, (0,), (1,))}, {"0": b""})
    assert read(path, empty)["x"].shape == (0,)


def test_a_parameter_is_its_tensor(path):
    content = torch_zip({"x": parameter(tensor("0", "f4", 12, 0, (12,), (1,)))}, {"0": FLOATS.tobytes()})
    assert np.array_equal(read(path, content)["x"], FLOATS)


def test_bfloat16_is_widened_to_float32_exactly(path):
    content = torch_zip({"x": tensor("0", "bfloat16", 3, 1, (2,), (1,))}, {"0": b"\0\0\x80\x3f\x49\xc0"})
    found = read(path, content)["x"]
    assert found.dtype == np.float32
    assert found.tolist() == [1, -3.140625]


def test_bools_are_read_and_other_bytes_are_refused(path):
    state = {"x": tensor("0", "b1", 3, 0, (3,), (1,))}
    assert read(path, torch_zip(state, {"0": b"\1\0\1"}))["x"].tolist() == [True, False, True]
    assert "neither 0 nor 1" in refusal(path, torch_zip(state, {"0": b"\1\0\2"}))


def test_the_byte_order_of_the_writer_is_honoured(path):
    state = {"x": tensor("0", "i4", 3, 0, (3,), (1,)), "h": tensor("1", "bfloat16", 1, 0, (1,), (1,))}
    numbers = np.array([1, -2, 3])
    for word, order, half in (
        (b"little", "<", b"\x80\x3f"),
        (b"big", ">", b"\x3f\x80"),
        (None, "<", b"\x80\x3f"),
    ):
        content = torch_zip(state, {"0": numbers.astype(order + "i4").tobytes(), "1": half}, byte_order=word)
        found = read(path, content)
        assert found["x"].tolist() == [1, -2, 3]
        assert found["x"].dtype == np.dtype("int32")
        assert found["h"].tolist() == [1]
    assert "byteorder" in refusal(path, torch_zip(state, {"0": bytes(12), "1": b"\0\0"}, byte_order=b"middle"))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema"])
def test_a_checkpoint_is_unwrapped_and_the_rest_of_it_ignored(path, wrapper):
    one = tensor("0", "f4", 12, 0, (12,), (1,))
    moment = tensor("1", "f4", 10**12, 0, (10**12,), (1,))  # not there at all: it must not be looked at
    saved = {
        "epoch": 3,
        "best": 0.5,
        "arch": "RepVGG-A0",
        "nothing": None,
        "flags": [True, False, -1, 2**40, (1, 2, 3)],
        "input": Call(Global("torch", "Size"), ((3, 224, 224),)),
        "optimizer": {
            "state": {0: {"momentum_buffer": moment}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        wrapper: {"x": one, "y": 3},
    }
    found = read(path, torch_zip(saved, {"0": FLOATS.tobytes()}))
    assert_same_arrays(found, {"x": FLOATS})


def test_the_plain_state_dict_is_preferred_to_its_moving_average(path):
    one, other = (tensor(key, "f4", 12, 0, (12,), (1,)) for key in "01")
    storages = {"0": FLOATS.tobytes(), "1": (-FLOATS).tobytes()}
    saved = {"state_dict_ema": {"x": one}, "state_dict": {"x": other}}
    assert np.array_equal(read(path, torch_zip(saved, storages))["x"], -FLOATS)


def test_a_state_dict_with_attributes_is_read_without_them(path):
    metadata = Call(ORDERED_DICT, ())
    content = dumps(Built(Call(ORDERED_DICT, ()), {"_metadata": metadata, "__class__": 1, "keys": 2}))
    assert "no tensors" in refusal(path, torch_zip(content, {}))
    wrapped = dumps({"state_dict": Built({"x": tensor("0", "f4", 12, 0, (12,), (1,))}, {"_metadata": metadata})})
    assert np.array_equal(read(path, torch_zip(wrapped, {"0": FLOATS.tobytes()}))["x"], FLOATS)


def test_the_folder_of_the_archive_may_have_any_name(path):
    state = {"x": tensor("0", "f4", 12, 0, (12,), (1,))}
    for folder in ("archive", "RepVGG-A0-train", "weights.pth"):
        assert list(read(path, torch_zip(state, {"0": FLOATS.tobytes()}, folder=folder))) == ["x"]


def test_an_archive_that_somebody_compressed_is_read(path):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = compressor.compress(FLOATS.tobytes()) + compressor.flush()
    program = Member("archive/data.pkl", dumps({"x": tensor("0", "f4", 12, 0, (12,), (1,))}))
    content = raw_zip([program, Member("archive/data/0", deflated, DEFLATED)])
    assert np.array_equal(read(path, content)["x"], FLOATS)


def test_a_zip_bomb_is_refused_within_bounded_memory(path):
    state = dumps({"x": tensor("0", "f4", MEBIBYTE << 8, 0, (MEBIBYTE << 8,), (1,))})
    storage = Member("archive/data/0", deflated_zeros(1024), DEFLATED, crc=0, file_size=1 << 30)
    content = raw_zip([Member("archive/data.pkl", state), storage])
    with at_most(8 * MEBIBYTE):
        assert "zip bomb" in refusal(path, content)


def test_an_archive_must_have_one_pickle(path):
    pickled = dumps({"x": tensor("0", "f4", 12, 0, (12,), (1,))})
    members = [Member("a/data.pkl", pickled), Member("b/data.pkl", pickled)]
    assert "2 members FOLDER/data.pkl" in refusal(path, raw_zip(members))
    assert "0 members FOLDER/data.pkl" in refusal(path, raw_zip([Member("data.pkl", pickled)]))


def test_a_wrong_crc_is_refused(path):
    state = dumps({"x": tensor("0", "f4", 12, 0, (12,), (1,))})
    members = [Member("archive/data.pkl", state), Member("archive/data/0", FLOATS.tobytes(), crc=1)]
    assert "CRC" in refusal(path, raw_zip(members))


def test_a_file_cut_anywhere_is_refused(path):
    whole = torch_zip_of({"a": FLOATS.reshape(3, 4), "b": np.arange(3)})
    assert len(read(path, whole)) == 2
    for size in range(len(whole)):
        refusal(path, whole[:size])
