import collections
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.interop import read_torch_zip, restricted_pickle

from .memory import at_most
from .raw_zip import DEFLATED, Member, deflated_zeros, raw_zip
from .same import assert_same_arrays
from .torch_files import (
    ORDERED_DICT,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    Built,
    Call,
    Global,
    Reference,
    dumps,
    parameter,
    tensor,
    torch_zip,
    torch_zip_of,
)

MEBIBYTE = 1 << 20
FLOATS = np.arange(12, dtype="<f4")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


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


# --- what must be refused: programs


class Trap:
    """Unpickling an instance calls a function."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_that_the_pickle_wants_to_call_is_named_and_not_called(path, tmp_path, protocol):
    marker = tmp_path / "executed"
    program = pickle.dumps({"state_dict": {"x": Trap(os.mkdir, str(marker))}}, protocol)
    # Protocol 0, which is text, has even another instruction for a dict, and is refused for that first.
    reason = "instruction DICT" if protocol == 0 else f"'{os.name}.mkdir'"
    assert reason in refusal(path, torch_zip(program, {}))
    assert not marker.exists()
    pickle.loads(program)  # the trap does work, where pickles are loaded
    assert marker.exists()


def through_the_shell(marker):
    return f"touch '{marker}'"


@pytest.mark.parametrize(
    ("module", "name", "argument"),
    [
        ("os", "system", through_the_shell),
        ("posix", "system", through_the_shell),
        ("subprocess", "getoutput", through_the_shell),
        ("builtins", "eval", lambda marker: f"open({str(marker)!r}, 'w').close()"),
        ("builtins", "exec", lambda marker: f"open({str(marker)!r}, 'w').close()"),
        ("__builtin__", "eval", lambda marker: f"open({str(marker)!r}, 'w').close()"),
        ("builtins", "getattr", str),
        ("builtins", "__import__", str),
        ("importlib", "import_module", str),
        ("runpy", "run_path", str),
        ("torch", "load", str),
        ("torch.storage", "_load_from_bytes", str),
        ("numpy", "load", str),
        ("numpy.core.multiarray", "scalar", str),
        ("collections", "defaultdict", str),
        ("collections", "OrderedDict.fromkeys", str),
        ("collections OrderedDict", "x y", str),
        ("collections.", "OrderedDict", str),
        ("torch._utils", "_rebuild_tensor_v2.__globals__", str),
        ("repvgg_np.interop.restricted_pickle", "run", str),
        ("argparse", "Namespace", str),
        ("a\x1b[31m", "b", str),
    ],
)
@pytest.mark.parametrize("place", ["alone", "nested", "as an attribute", "as an argument", "as a storage"])
def test_every_other_name_is_refused_wherever_it_stands(path, tmp_path, module, name, argument, place):
    marker = tmp_path / "executed"
    call = Call(Global(module, name), (argument(marker),))
    saved = {
        "alone": call,
        "nested": {"optimizer": [{"x": (1, [call])}]},
        "as an attribute": Built(Call(ORDERED_DICT, ()), {"hook": call}),
        "as an argument": Call(REBUILD_PARAMETER, (call, True, Call(ORDERED_DICT, ()))),
        "as a storage": Reference(("storage", call, "0", "cpu", 12)),
    }[place]
    message = refusal(path, torch_zip(saved, {}))
    assert "it wants '" in message
    if module.isprintable() and name.isprintable():
        wanted = f"{module} {name}".replace(" ", ".", 1)
        assert f"it wants '{wanted}', which no state dict needs, and nothing of it was run" in message
    assert not marker.exists()


def short(text):
    raw = text.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "'os.system'"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", "'os.system'"),
        (b"\x80\x02(icollections\nOrderedDict\n.", "INST"),
        (b"\x80\x04" + short("os") + short("system") + b"\x93.", "'os.system'"),
        (b"\x80\x04K\x01" + short("system") + b"\x93.", "not a string"),
        (b"\x80\x02(ccollections\nOrderedDict\no.", "OBJ"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"P0\n.", "PERSID"),
        (b"\x80\x02](K\x01e(lK\x01\x85R.", "LIST"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02N)R.", "not a function"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "not a function"),
        (b"\x80\x02ccollections\nOrderedDict\nNR.", "not a function"),
        (b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "OrderedDict in a way"),
        (b"\x80\x02ccollections\nOrderedDict\n}b.", "fills something that is not a dict"),
        (b"\x80\x02N}b.", "fills something that is not a dict"),
        (b"\x80\x02)(K\x01e.", "fills something that is not a list"),
        (b"\x80\x02]K\x01K\x02s.", "fills something that is not a dict"),
        (b"\x80\x02}(K\x01u.", "key without a value"),
        (b"\x80\x02NQ.", "refers to a storage in an unknown way"),
        (
            b"\x80\x02(X\x06\x00\x00\x00systemctorch\nFloatStorage\nX\x00\x00\x00\x00X\x00\x00\x00\x00K\x00tQ.",
            "'system'",
        ),
        (b"\x80\x02ctorch\nSize\n)R.", "torch.Size that is not a tuple"),
        (b"\x80\x02h\x05.", "broken (KeyError)"),
        (b"\x80\x02a.", "broken (IndexError)"),
        (b"\x80\x02u.", "broken (IndexError)"),
        (b"\x80\x02(\x86.", "broken (IndexError)"),
        (b"\x80\x02.", "broken (IndexError)"),
        (b"\x80\x02", "pickle exhausted"),
        (b"", "pickle exhausted"),
        (b"\x80\x02N", "pickle exhausted"),
        (b"\xff", "unknown"),
        (b"\x80\x02N.", "holds a NoneType"),
        (b"\x80\x02}.", "no state dict"),
        (b"\x80\x02].", "holds a list"),
        (b"\x80\x02}X\x0a\x00\x00\x00state_dict]s.", "no tensors among 'state_dict'"),
        (b"S'\\d'\n.", "it"),
    ],
)
def test_a_program_beyond_a_state_dict_is_refused(path, program, word):
    assert word in refusal(path, torch_zip(program, {}))


def test_the_admitted_functions_take_only_what_pytorch_gives_them(path):
    good = tensor("0", "f4", 12, 0, (12,), (1,))
    storage, offset, shape, strides, *rest = good.arguments
    for arguments in (
        (),
        (storage,),
        (storage, offset, shape, strides, *rest, None, None),
        (None, offset, shape, strides, *rest),
        (good, offset, shape, strides, *rest),
        (storage, None, shape, strides, *rest),
        (storage, True, shape, strides, *rest),
        (storage, offset, [12], strides, *rest),
        (storage, offset, shape, [1], *rest),
    ):
        content = torch_zip({"x": Call(REBUILD_TENSOR, arguments)}, {"0": FLOATS.tobytes()})
        assert "describes a tensor" in refusal(path, content)
    for arguments in ((), (good,), (storage, True, None), (None, True, None)):
        content = torch_zip({"x": Call(REBUILD_PARAMETER, arguments)}, {"0": FLOATS.tobytes()})
        assert "describes a parameter" in refusal(path, content)
    for identity in (
        ("storage", "FloatStorage", "0", "cpu", 12),
        ("storage", Global("torch", "FloatStorage"), 0, "cpu", 12),
        ("storage", Global("torch", "FloatStorage"), "0", "cpu", 12.0),
        ("storage", Global("torch", "FloatStorage"), "0", "cpu"),
        ("storage", Call(ORDERED_DICT, ()), "0", "cpu", 12),
        ["storage", Global("torch", "FloatStorage"), "0", "cpu", 12],
        "storage",
    ):
        content = torch_zip({"x": Call(REBUILD_TENSOR, (Reference(identity), 0, (12,), (1,), *rest))}, {"0": bytes(48)})
        assert "refers to a storage in an unknown way" in refusal(path, content)


def nested_pairs(depth):
    """A pickle's tuple of two times the same tuple of ...: 2**depth leaves in a few bytes."""
    return b")" + b"q\x00h\x00\x86" * depth


def test_a_tuple_of_exponential_size_is_never_walked(path):
    pairs = nested_pairs(200)
    head = b"\x80\x02}"
    key = head + pairs + b"NsX\x01\x00\x00\x00xNs."  # hashing it would never end
    assert "no tensors" in refusal(path, torch_zip(key, {}))
    good = tensor("0", "f4", 12, 0, (12,), (1,))
    storage = dumps(good.arguments[0])[2:-1]
    shape = (
        b"X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + pairs + pairs + b"\x89NtRs."
    )
    assert "non-negative integers" in refusal(path, torch_zip(head + shape, {"0": FLOATS.tobytes()}))
    for target in (b"R", b"Q", b"b", b"\x93"):
        refusal(path, torch_zip(head + pairs + pairs + target + b".", {}))


def test_a_container_that_holds_itself_is_not_followed_for_ever(path):
    program = b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s."
    assert "no tensors" in refusal(path, torch_zip(program, {}))


def test_deep_nesting_is_read_without_recursion(path):
    assert "holds a tuple" in refusal(path, torch_zip(b"\x80\x02)" + b"\x85" * 300_000 + b".", {}))


@pytest.mark.parametrize("instruction", [b"}", b"]", b"(", b"\x89", b"\x8c\x00", b"\x8a\x00", b")\x94"])
def test_a_program_of_too_many_instructions_is_refused_within_bounded_memory(path, monkeypatch, instruction):
    monkeypatch.setattr(restricted_pickle, "MAX_INSTRUCTIONS", 30_000)
    path.write_bytes(torch_zip(b"\x80\x04" + instruction * MEBIBYTE + b".", {}))
    # The file itself twice, and at most 250 bytes an instruction.
    with at_most(path.stat().st_size * 2 + 30_000 * 250), pytest.raises(ValueError, match="than 30000 instr"):
        read_torch_zip(path)


def test_a_program_of_too_many_bytes_is_refused_unread(path):
    size = 65 * MEBIBYTE
    content = torch_zip(b"\x80\x02X" + struct.pack("<I", size) + bytes(size) + b".", {})
    path.write_bytes(content)
    del content
    with at_most(MEBIBYTE), pytest.raises(ValueError, match="pickle has more than 67108864 bytes"):
        read_torch_zip(path)


# --- what must be refused: tensors that do not lie in their storages


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (12,), (1,)),
        (0, (13,), (1,)),
        (12, (), ()),
        (12, (1,), (1,)),
        (-1, (1,), (1,)),
        (2**70, (1,), (1,)),
        (0, (3,), (6,)),
        (0, (3, 4), (4, 2)),
        (0, (2,), (2**62,)),
        (0, (2,), (-1,)),
        (11, (12,), (-1,)),
        (0, (-12,), (1,)),
        (0, (-3, -4), (4, 1)),
        (0, (10**12,), (1,)),
        (0, (10**12,), (0,)),
        (0, (13,), (0,)),
        (0, (10**6, 10**6), (0, 0)),
        (0, (2**62, 2**62, 2**62), (0, 0, 0)),
        (0, (10**30,), (0,)),
        (0, (0, 10**30), (1, 1)),
        (0, (0, 2**62, 2**62), (1, 1, 1)),
        (0, (3, 4), (1,)),
        (0, (3,), (4, 1)),
        (0, (), (1,)),
        (0, (1,) * 33, (1,) * 33),
        (0, (3.0,), (1,)),
        (0, ("3",), (1,)),
        (0, (True,), (1,)),
        (0, (3,), (1.0,)),
        (0, ((3,),), (1,)),
    ],
)
def test_a_tensor_outside_of_its_storage_is_refused_within_bounded_memory(path, offset, shape, strides):
    with at_most(MEBIBYTE), pytest.raises(ValueError, match="^cannot read [^\n]+$"):
        read_view(path, offset, shape, strides)


@pytest.mark.parametrize("length", [0, 11, 13, 3, 48, -12, 10**12, 2**62, 2**300])
def test_a_storage_must_be_as_long_as_the_pickle_says(path, length):
    content = torch_zip({"x": tensor("0", "f4", length, 0, (1,), (1,))}, {"0": FLOATS.tobytes()})
    with at_most(MEBIBYTE):
        assert "the storage of tensor 'x' should have" in refusal(path, content)


@pytest.mark.parametrize("key", ["1", "", "../data.pkl", "0/", "/etc/passwd", "\ud800"])
def test_a_storage_that_is_missing_is_named(path, key):
    content = torch_zip({"x": tensor(key, "f4", 12, 0, (12,), (1,))}, {"0": FLOATS.tobytes()})
    assert "of tensor 'x' is missing" in refusal(path, content)


def test_a_storage_shared_to_fill_the_memory_is_refused(path):
    floats = MEBIBYTE
    state = {f"x{i}": tensor("0", "f4", floats, 0, (floats,), (1,)) for i in range(1000)}
    content = torch_zip(state, {"0": bytes(4 * floats)})
    path.write_bytes(content)
    with at_most(4 * MEBIBYTE), pytest.raises(ValueError, match="share 4194304 bytes so often"):
        read_torch_zip(path)


def test_a_storage_seen_as_several_types_counts_once(path):
    state = {
        f"{dtype}{i}": tensor("0", dtype, 8 * MEBIBYTE // size, 0, (8 * MEBIBYTE // size,), (1,))
        for dtype, size in (("f8", 8), ("f4", 4), ("f2", 2), ("i8", 8), ("i4", 4), ("i2", 2))
        for i in range(2)
    }
    path.write_bytes(torch_zip(state, {"0": bytes(8 * MEBIBYTE)}))
    with at_most(4 * MEBIBYTE), pytest.raises(ValueError, match="share 8388608 bytes so often"):
        read_torch_zip(path)


def test_storages_are_forgotten_after_their_last_use(path):
    named = {f"x{i}": np.zeros(MEBIBYTE, "<f4") for i in range(16)}
    path.write_bytes(torch_zip_of(named))
    del named
    with at_most(64 * MEBIBYTE + 3 * 4 * MEBIBYTE):
        found = read_torch_zip(path)
    assert len(found) == 16


# --- what must be refused: archives


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


def test_pickles_of_python_itself_are_read_at_every_binary_protocol(path):
    plain = {
        "state_dict": {"x": 1},
        "list": [1, -1, 2**40, 0.5, None, True],
        "tuple": ((), (1,), (1, 2), (1, 2, 3, 4)),
    }
    for protocol in (2, 3, 4, 5):
        program = pickle.dumps(collections.OrderedDict(plain), protocol)
        assert "no tensors among 'x'" in refusal(path, torch_zip(program, {}))
