import pickle

import numpy as np
import pytest

from repvgg_np.interop import load_weights, save_npz, save_safetensors, timm_names

from .raw_zip import Member, raw_zip
from .same import assert_same_arrays
from .torch_files import torch_zip_of


def small_state():
    """Parameters of a network's first two blocks, under official names."""
    rng = np.random.default_rng(5)
    shapes = {
        "stage0.rbr_dense.conv.weight": (4, 3, 3, 3),
        "stage0.rbr_dense.bn.running_var": (4,),
        "stage0.rbr_1x1.conv.weight": (4, 3, 1, 1),
        "stage1.0.rbr_identity.weight": (4,),
        "stage1.0.rbr_reparam.bias": (4,),
        "linear.weight": (10, 4),
    }
    state = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    return {**state, "stage0.rbr_1x1.bn.num_batches_tracked": np.int64(7)[...]}


def write_torch(path, state):
    path.write_bytes(torch_zip_of(state))


def write_checkpoint(path, state):
    path.write_bytes(torch_zip_of(state, lambda state: {"epoch": 1, "state_dict": state}))


def save_compressed(path, state):
    """An open file, because NumPy would add a suffix to a path."""
    with path.open("wb") as file:
        np.savez_compressed(file, **state)


every_writer = pytest.mark.parametrize(
    "write", [save_npz, save_compressed, save_safetensors, write_torch, write_checkpoint]
)


@every_writer
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pth.tar", ".jpeg", ""])
def test_a_format_is_recognised_by_its_content_whatever_the_suffix(tmp_path, write, suffix):
    path = tmp_path / f"weights{suffix}"
    write(path, small_state())
    assert_same_arrays(load_weights(path), small_state())
    assert_same_arrays(load_weights(str(path)), small_state())


@every_writer
def test_names_of_timm_and_of_data_parallel_come_out_official(tmp_path, write):
    path = tmp_path / "weights"
    write(path, timm_names(small_state()))
    assert_same_arrays(load_weights(path), small_state())
    for names in (small_state(), timm_names(small_state())):
        write(path, {f"module.{name}": array for name, array in names.items()})
        assert_same_arrays(load_weights(path), small_state())


@every_writer
def test_other_names_come_as_they_are(tmp_path, write):
    state = {
        "conv1.weight": np.ones((2, 3), np.float32),
        "module.x": np.zeros(2),
        "head.fc.bias": np.zeros(3),
    }
    write(tmp_path / "weights", state)
    assert_same_arrays(load_weights(tmp_path / "weights"), state)


def test_the_facts_of_our_own_archives_are_no_weights(tmp_path):
    save_npz(tmp_path / "weights.npz", small_state(), {"model": "RepVGG-A0"})
    assert_same_arrays(load_weights(tmp_path / "weights.npz"), small_state())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is neither"),
        (b"PK", "it is neither"),
        (b"hello, world", "it is neither"),
        (b"PK\3\4 and then nothing of a zip archive", "not a zip file"),
        (raw_zip([]), "does not list what the file begins with"),
        (raw_zip([Member("photo.jpeg", b"")]), "neither an .npz nor written by torch.save"),
        (
            raw_zip([Member("x.npy", b""), Member("photo.jpeg", b"")]),
            "neither an .npz nor written by torch.save",
        ),
        (pickle.dumps({"x": 1}, 2), "PyTorch wrote before version 1.6"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "torch.save(torch.load(path, map_location='cpu'), path)"),
        (b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", "numpy.savez"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds no arrays"),
        (b"\x03\0\0\0\0\0\0\0{}", "its header claims 3 bytes"),
    ],
)
def test_a_file_of_no_known_format_is_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_names_a_parameter_twice_is_refused_with_its_path(tmp_path):
    path = tmp_path / "weights"
    save_npz(path, {"stem.identity.bias": np.zeros(1), "stage0.rbr_identity.bias": np.zeros(1)})
    with pytest.raises(ValueError, match=f"cannot read {path}: the names 'stem.identity.bias' and "):
        load_weights(path)


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_not_a_file_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="^cannot read .*: (No such file or directory|it is not a regular file)$"):
        load_weights(tmp_path / name)
