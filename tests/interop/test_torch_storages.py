"""A tensor in a `.pth` file lies in its storage, or it is refused within bounded memory."""

import numpy as np
import pytest

from repvgg_np.interop import read_torch_zip

from .memory import MEBIBYTE, at_most
from .torch_files import (
    FLOATS,
    read_view,
    refusal,
    tensor,
    torch_zip,
    torch_zip_of,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


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
