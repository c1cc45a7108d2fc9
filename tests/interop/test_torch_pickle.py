"""The pickle in a `.pth` file is a state dict, or it is refused; nothing in it is ever called."""

import collections
import os
import pickle
import struct

import pytest

from repvgg_np.interop import read_torch_zip, restricted_pickle

from .memory import MEBIBYTE, at_most
from .torch_files import (
    FLOATS,
    ORDERED_DICT,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    Built,
    Call,
    Global,
    Reference,
    dumps,
    refusal,
    tensor,
    torch_zip,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


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


def test_pickles_of_python_itself_are_read_at_every_binary_protocol(path):
    plain = {
        "state_dict": {"x": 1},
        "list": [1, -1, 2**40, 0.5, None, True],
        "tuple": ((), (1,), (1, 2), (1, 2, 3, 4)),
    }
    for protocol in (2, 3, 4, 5):
        program = pickle.dumps(collections.OrderedDict(plain), protocol)
        assert "no tensors among 'x'" in refusal(path, torch_zip(program, {}))
