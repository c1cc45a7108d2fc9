"""Damaged files of every format: a reader answers with arrays or with one line of ValueError.

The ordinary run takes a few hundred of each. For a long one:
`REPVGG_NP_FUZZ=20000 pytest tests/interop/test_fuzz.py`.
"""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from repvgg_np.interop import load_weights, save_npz, save_safetensors, timm_names

from .raw_zip import Member, raw_zip
from .torch_files import parameter, tensor, torch_zip

COUNT = int(os.environ.get("REPVGG_NP_FUZZ", "400"))  # files per format
MEBIBYTE = 1 << 20

INTERESTING = [
    *(struct.pack("<I", value) for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1000)),
    *(struct.pack("<Q", value) for value in (0, 10**12, 2**63 - 1, 2**64 - 1)),
    *(
        b"PK\1\2",
        b"PK\3\4",
        b"PK\5\6",
        b"PK\6\6",
        b"\x93NUMPY",
        b"{}",
        b"[[[[",
        b'"',
        b"-1",
        b"9" * 20,
        b"(0, 99999999)",
    ),
    *(
        b"cos\nsystem\n",
        b"ios\nsystem\n",
        b"c__builtin__\neval\n",
        b"\x85R",
        b"(",
        b"t",
        b"R",
        b"b",
        b"Q",
        b"\x93",
        b"\x81",
    ),
    *(
        b"BF16",
        b"F64",
        b"BOOL",
        b"|O8",
        b"|O",
        b">f8",
        b"True",
        b"h\x00",
        b"q\x00",
        b"\x8a\xff",
        b"\xff",
        b"\0",
    ),
]


def small_state():
    rng = np.random.default_rng(3)
    return {
        "stage0.rbr_dense.conv.weight": rng.standard_normal((4, 3, 3, 3), dtype=np.float32),
        "stage0.rbr_identity.num_batches_tracked": np.array(5),
        "stage1.0.rbr_reparam.bias": np.arange(4, dtype=np.float16),
        "linear.weight": np.asfortranarray(rng.standard_normal((3, 4))),
        "flags": np.array([True, False]),
    }


def npz_seed(tmp_path):
    save_npz(tmp_path / "seed", timm_names(small_state()), {"epoch": 3})
    return (tmp_path / "seed").read_bytes()


def compressed_seed(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small_state())
    return buffer.getvalue()


def safetensors_seed(tmp_path):
    save_safetensors(tmp_path / "seed", small_state(), {"format": "np"})
    return (tmp_path / "seed").read_bytes()


def torch_seed(tmp_path):
    floats = np.arange(24, dtype="<f4").tobytes()
    state = {
        "module.stem.conv_kxk.conv.weight": parameter(tensor("0", "f4", 24, 0, (2, 3, 2, 2), (12, 4, 2, 1))),
        "module.stem.identity.bias": tensor("0", "f4", 24, 4, (3, 4), (1, 5)),
        "module.head.fc.bias": tensor("1", "bfloat16", 3, 1, (2,), (1,)),
        "module.flags": tensor("2", "b1", 2, 0, (), ()),
    }
    saved = {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: [1.5, None]}}}
    return torch_zip(saved, {"0": floats, "1": bytes(6), "2": b"\1\0"})


def mutate(rng, content):
    """Damage bytes in one to four places."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not content:
            break
        start = int(rng.integers(len(content)))
        end = start + int(rng.integers(1, 40))
        match rng.integers(8):
            case 0 | 1:
                content[start] ^= 1 << int(rng.integers(8))
            case 2:
                content[start] = int(rng.integers(256))
            case 3:
                del content[start:end]
            case 4:
                content[start:start] = content[start:end]
            case 5:
                piece = INTERESTING[rng.integers(len(INTERESTING))]
                content[start : start + len(piece)] = piece
            case 6:
                content[start:start] = INTERESTING[rng.integers(len(INTERESTING))]
            case 7:
                if rng.integers(4) == 0:
                    del content[start:]
                else:
                    content[start:end] = rng.bytes(end - start)
    return bytes(content)


def mutate_member(rng, content):
    """Damage one member of a zip archive; its sizes and CRC are true again, to get behind those checks."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    # The first member of a .pth is its pickle: by far the most interesting one.
    chosen = 0 if rng.integers(2) else int(rng.integers(len(members)))
    members[chosen][1] = mutate(rng, members[chosen][1])
    return raw_zip([Member(*member) for member in members])


def mutate_header(rng, content):
    """Damage the header of a safetensors file and make its length true again."""
    (length,) = struct.unpack("<Q", content[:8])
    header = mutate(rng, content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


FORMATS = {
    "npz": (npz_seed, mutate_member),
    "compressed npz": (compressed_seed, mutate_member),
    "safetensors": (safetensors_seed, mutate_header),
    "torch": (torch_seed, mutate_member),
}


def fuzz(make_seed, mutate_inside, folder, seed, count):
    """Read `count` damaged files; return how many were refused and how many were read all the same."""
    intact = make_seed(folder)
    path = folder / "damaged"
    refused = accepted = 0
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        content = (mutate if index % 3 == 0 else mutate_inside)(rng, intact)
        path.write_bytes(content)
        try:
            state = load_weights(path)
        except ValueError as error:
            message = str(error)
            assert message.startswith(f"cannot read {path}: "), (index, message)
            assert message.isprintable(), (index, message)
            refused += 1
            continue
        except Exception as error:
            error.add_note(f"seed {seed}, file {index}")
            raise
        assert all(type(name) is str for name in state), index
        assert all(type(array) is np.ndarray and array.dtype.isnative for array in state.values()), index
        assert sum(array.nbytes for array in state.values()) < 20 * MEBIBYTE, index
        accepted += 1
    return refused, accepted


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_gives_arrays_or_one_line_of_value_error(tmp_path, name, seed):
    count = (COUNT + 1) // 2
    refused, accepted = fuzz(*FORMATS[name], tmp_path, seed, count)
    print(f"{name}, seed {seed}: {count} files, {refused} refused, {accepted} read")
    assert refused + accepted == count
    assert refused > count // 10  # the damage reaches what is checked
    assert accepted > 0  # and does not hide all that is behind the first check


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_are_good_before_they_are_damaged(tmp_path, name):
    make_seed, mutate_inside = FORMATS[name]
    (tmp_path / "whole").write_bytes(make_seed(tmp_path))
    assert len(load_weights(tmp_path / "whole")) >= 4
    # Undamaged content survives the repacking.
    if mutate_inside is mutate_member:
        with zipfile.ZipFile(tmp_path / "whole") as archive:
            repacked = raw_zip([Member(member, archive.read(member)) for member in archive.namelist()])
        (tmp_path / "repacked").write_bytes(repacked)
        assert list(load_weights(tmp_path / "repacked")) == list(load_weights(tmp_path / "whole"))


def test_random_bytes_are_refused(tmp_path):
    path = tmp_path / "noise"
    rng = np.random.default_rng(9)
    starts = [b"", b"PK\3\4", b"\x93NUMPY", b"\x80\2", b"\x20\0\0\0\0\0\0\0{"]
    for index in range(COUNT):
        path.write_bytes(starts[index % len(starts)] + rng.bytes(int(rng.integers(200))))
        with pytest.raises(ValueError, match="^cannot read "):
            load_weights(path)
