"""RepVGG once more, in PyTorch's layers and with the official module names: the network that ours is held against."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
TORCH_DTYPE = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


def conv_bn(in_channels, out_channels, size, stride, groups):
    branch = nn.Sequential()
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    branch.add_module("conv", conv)
    branch.add_module("bn", nn.BatchNorm2d(out_channels))
    return branch


class Block(nn.Module):
    """Three branches (two where the shape changes), added up before the ReLU."""

    def __init__(self, in_channels, out_channels, stride, groups):
        super().__init__()
        keeps_shape = in_channels == out_channels and stride == 1
        self.rbr_identity = nn.BatchNorm2d(out_channels) if keeps_shape else None
        self.rbr_dense = conv_bn(in_channels, out_channels, 3, stride, groups)
        self.rbr_1x1 = conv_bn(in_channels, out_channels, 1, stride, groups)

    def forward(self, x):
        total = self.rbr_dense(x) + self.rbr_1x1(x)
        if self.rbr_identity is not None:
            total = total + self.rbr_identity(x)
        return torch.relu(total)


class PlainBlock(nn.Module):
    """One convolution with a bias, and ReLU."""

    def __init__(self, in_channels, out_channels, stride, groups):
        super().__init__()
        self.rbr_reparam = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups)

    def forward(self, x):
        return torch.relu(self.rbr_reparam(x))


class Network(nn.Module):
    """Stages of blocks, the average over the picture, a classifier."""

    def __init__(self, config, form="training"):
        super().__init__()
        kind = Block if form == "training" else PlainBlock
        blocks = [kind(*shape) for shape in config.block_shapes()]
        first = 0
        for stage, depth in enumerate(config.depths):
            part = blocks[first : first + depth]
            self.add_module(f"stage{stage}", part[0] if stage == 0 and depth == 1 else nn.Sequential(*part))
            first += depth
        self.linear = nn.Linear(config.widths[-1], config.num_classes)

    def forward(self, x):
        for name, stage in self.named_children():
            if name != "linear":
                x = stage(x)
        return self.linear(x.mean(dim=(2, 3)))


def make_twin(model):
    """Return this network with the config, the form and the dtype of one of ours, and all its numbers."""
    twin = Network(model.config, model.form).to(TORCH_DTYPE[model.dtype])
    load(twin, model.state_dict())
    return twin.train(model.training)


def load(module, state):
    """Give a module a state dict of arrays; every name must fit."""
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()}, strict=True)
    return module


def as_array(tensor):
    """Copy a tensor's numbers: PyTorch goes on writing into its own."""
    return tensor.detach().numpy().copy()


def as_arrays(state):
    return {name: as_array(tensor) for name, tensor in state.items()}


def evaluate(module, x):
    """Run a module on an array, without gradients."""
    with torch.no_grad():
        return as_array(module(torch.from_numpy(np.ascontiguousarray(x))))
