"""The same files, seen by the libraries that they come from."""

import warnings

import numpy as np
import pytest

from repvgg_np.interop import (
    load_weights,
    official_names,
    read_safetensors,
    read_torch_zip,
    save_safetensors,
    timm_names,
)

from .same import assert_same_arrays
from .strategies import REAL_DTYPES

pytestmark = pytest.mark.peers


def as_arrays(state):
    """PyTorch's tensors as NumPy arrays; bfloat16 widened by PyTorch itself."""
    import torch

    return {
        name: (value.float() if value.dtype == torch.bfloat16 else value).detach().contiguous().numpy()
        for name, value in state.items()
    }


def tensors_of_every_kind(torch):
    """Tensors of each type and memory layout, some of which share their numbers."""
    torch.manual_seed(0)
    base = torch.randn(4, 6, 5)
    state = {
        str(dtype): (torch.randn(3, 2) * 50).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)
    }
    for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        state[str(dtype)] = torch.randint(0, 2, (3, 2)).to(dtype)
    return {
        **state,
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "dense": base,
        "transposed": base.transpose(0, 2),
        "sliced": base[1:3, ::2, 1:],
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "one row": base[3:, :1],
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read_as_torch_sees_it(tmp_path, protocol):
    torch = pytest.importorskip("torch")
    state = tensors_of_every_kind(torch)
    path = tmp_path / "weights.pth"
    torch.save(state, path, pickle_protocol=protocol)
    assert_same_arrays(read_torch_zip(path), as_arrays(state))
    torch.save(
        {"epoch": 3, "best": 0.5, "state_dict": state, "shape": torch.Size([1, 2])},
        path,
        pickle_protocol=protocol,
    )
    assert_same_arrays(load_weights(path), as_arrays(state))


def official_network(torch):
    """The official repository's module names, in a small network, and its optimizer after one step."""
    nn = torch.nn

    def conv_bn(size, kernel):
        layers = nn.Sequential()
        layers.add_module("conv", nn.Conv2d(size[0], size[1], kernel, bias=False))
        layers.add_module("bn", nn.BatchNorm2d(size[1]))
        return layers

    def block(size):
        result = nn.Module()
        result.rbr_identity = nn.BatchNorm2d(size[1]) if size[0] == size[1] else None
        result.rbr_dense = conv_bn(size, 3)
        result.rbr_1x1 = conv_bn(size, 1)
        return result

    net = nn.Module()
    net.stage0 = block((3, 4))
    net.stage1 = nn.Sequential(block((4, 4)), block((4, 4)))
    net.linear = nn.Linear(4, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    sum(parameter.square().sum() for parameter in net.parameters()).backward()
    optimizer.step()
    return net, optimizer


def test_a_training_checkpoint_of_torch_is_read_with_its_official_names(tmp_path):
    torch = pytest.importorskip("torch")
    net, optimizer = official_network(torch)
    expected = as_arrays(net.state_dict())
    path = tmp_path / "checkpoint.pth.tar"
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    torch.save(
        {
            "epoch": 3,
            "arch": "RepVGG-A0",
            "state_dict": torch.nn.DataParallel(net).state_dict(),
            "best_acc1": 72.41,
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        },
        path,
    )
    assert_same_arrays(load_weights(path), expected)
    torch.save(timm_names(net.state_dict()), path)
    assert_same_arrays(load_weights(path), expected)


def test_what_is_more_than_a_state_dict_is_refused_by_its_name(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pth"
    for saved, name in (
        (torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
        ({"x": torch.zeros(2, 2).to_sparse()}, "torch._utils._rebuild_sparse_tensor"),
        ({"x": torch.zeros(2, dtype=torch.complex64)}, "torch.ComplexFloatStorage"),
        ({"x": torch.zeros(2, dtype=torch.uint16)}, "torch._utils._rebuild_tensor_v3"),
        ({"state_dict": {"x": torch.zeros(2)}, "best": np.float64(3)}, "numpy"),
        ({"state_dict": {"x": torch.zeros(2)}, "dtype": torch.float32}, "torch.float32"),
    ):
        torch.save(saved, path)
        with pytest.raises(ValueError, match=f"it wants '{name}"):
            load_weights(path)
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):  # TorchScript is on its way out, its files are still about
            warnings.simplefilter("ignore", kind)
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)), path)
    with pytest.raises(ValueError, match="it wants '__torch__"):
        load_weights(path)


def test_an_expanded_tensor_is_refused_and_its_contiguous_copy_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    expanded = torch.ones(1, 3).expand(1000, 3)
    torch.save({"x": expanded}, path)
    with pytest.raises(ValueError, match="has 3000 elements, its storage only 3"):
        load_weights(path)
    torch.save({"x": expanded.contiguous()}, path)
    assert_same_arrays(load_weights(path), {"x": np.ones((1000, 3), np.float32)})


def test_the_old_format_of_torch_is_refused_with_the_way_out_which_works(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    state = {"x": torch.arange(3.0)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError) as caught:
        load_weights(path)
    instruction = str(caught.value).partition("newer PyTorch: ")[2]
    exec(instruction, {"torch": torch, "path": path})  # does what the message says
    assert_same_arrays(load_weights(path), as_arrays(state))


def every_dtype():
    rng = np.random.default_rng(1)
    return {
        f"{dtype} \u00e9": rng.integers(0, 2, (2, index % 3, 3)).astype(dtype)
        for index, dtype in enumerate(REAL_DTYPES)
    }


def test_the_safetensors_library_reads_what_we_write(tmp_path):
    pytest.importorskip("safetensors")
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = tmp_path / "weights.safetensors"
    save_safetensors(path, every_dtype(), {"key": "\u00fc"})
    found = load_file(path)
    assert_same_arrays({name: found[name] for name in every_dtype()}, every_dtype())
    with safe_open(path, "np") as file:
        assert file.metadata() == {"key": "\u00fc"}


def test_what_the_safetensors_library_writes_is_read(tmp_path):
    pytest.importorskip("safetensors")
    from safetensors.numpy import save_file

    path = tmp_path / "weights.safetensors"
    save_file(every_dtype(), path, {"key": "value"})
    found, metadata = read_safetensors(path)
    assert_same_arrays({name: found[name] for name in every_dtype()}, every_dtype())
    assert metadata == {"key": "value"}


@pytest.mark.parametrize("name", ["repvgg_a0", "repvgg_b1g4"])
def test_the_names_of_timms_networks_are_all_recognised(name):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        net = timm.create_model(name)
    names = list(net.state_dict())
    official = official_names(dict.fromkeys(names))
    assert list(timm_names(official)) == names
    assert not set(official) & set(names)
    parts = {part for parameter in official for part in parameter.split(".")}
    assert {"stage0", "stage4", "rbr_dense", "rbr_1x1", "rbr_identity", "linear"} <= parts
    assert not [parameter for parameter in official if not parameter.startswith(("stage", "linear"))]


def test_the_names_of_timms_fused_network_are_all_recognised():
    pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    from timm.utils.model import reparameterize_model

    names = list(reparameterize_model(timm.create_model("repvgg_a0")).state_dict())
    official = official_names(dict.fromkeys(names))
    assert list(timm_names(official)) == names
    assert [name for name in official if ".rbr_reparam." not in name] == ["linear.weight", "linear.bias"]
