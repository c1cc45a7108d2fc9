"""A training step of the same three-branch network in PyTorch.

Imported only where PyTorch is installed.
"""

import numpy as np
import torch

from repvgg_np.training import DECAYS


class Block(torch.nn.Module):
    """The RepVGG block in its training form: three branches, two where the shape changes."""

    def __init__(self, in_channels, out_channels, stride, groups):
        super().__init__()
        self.rbr_dense = _convolution_and_norm(in_channels, out_channels, 3, stride, groups)
        self.rbr_1x1 = _convolution_and_norm(in_channels, out_channels, 1, stride, groups)
        same_shape = in_channels == out_channels and stride == 1
        self.rbr_identity = torch.nn.BatchNorm2d(out_channels) if same_shape else None

    def forward(self, x):
        """Add the branches, then ReLU."""
        total = self.rbr_dense(x) + self.rbr_1x1(x)
        if self.rbr_identity is not None:
            total = total + self.rbr_identity(x)
        return torch.nn.functional.relu(total)


def _convolution_and_norm(in_channels, out_channels, size, stride, groups):
    """Return a branch."""
    convolution = torch.nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    parts = {"conv": convolution, "bn": torch.nn.BatchNorm2d(out_channels)}
    branch = torch.nn.Sequential()
    for name, part in parts.items():
        branch.add_module(name, part)
    return branch


class Network(torch.nn.Module):
    """The blocks under their official names, the average over the picture, the classifier."""

    def __init__(self, model):
        super().__init__()
        for stage, part in model.children().items():
            if stage.startswith("stage"):
                layers = list(part.children().values()) if not hasattr(part, "stride") else [part]
                blocks = [Block(b.in_channels, b.out_channels, b.stride, b.groups) for b in layers]
                self.add_module(stage, blocks[0] if hasattr(part, "stride") else torch.nn.Sequential(*blocks))
        self.linear = torch.nn.Linear(model.config.widths[-1], model.num_classes)

    def forward(self, x):
        """Classify."""
        for name, stage in self.named_children():
            if name != "linear":
                x = stage(x)
        return self.linear(x.mean(dim=(2, 3)))


class Trainer:
    """A network and its optimizer; called without arguments, it takes a step and returns the loss.

    Parameters
    ----------
    model : RepVGG
        In training form; its numbers are copied.
    x : ndarray (N, 3, H, W)
    labels : ndarray (N,)
    settings : Settings
    threads : int
    memory_format : torch.memory_format
    compiled : bool
    """

    def __init__(self, model, x, labels, settings, threads, memory_format, compiled=False):
        torch.set_num_threads(threads)
        self.network = Network(model).train().to(memory_format=memory_format)
        self._load(model.state_dict())
        self._run = torch.compile(self.network, dynamic=False) if compiled else self.network
        self._x = torch.from_numpy(np.ascontiguousarray(x)).contiguous(memory_format=memory_format)
        self._labels = torch.from_numpy(labels)
        named = dict(self.network.named_parameters())
        decays = DECAYS[settings.decay]
        decayed = {name for name, parameter in model.named_parameters() if decays(name, parameter.peek())}
        groups = [
            {"params": [named[name] for name in named if name in decayed], "weight_decay": settings.weight_decay},
            {"params": [named[name] for name in named if name not in decayed], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
        )

    def __call__(self):
        """Take a step; return the loss before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(self._run(self._x), self._labels)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def _load(self, state):
        """Give the network all its numbers."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        self.network.load_state_dict(tensors, strict=True)

    def begin(self, state):
        """Begin anew, with the numbers of a state dict of ours and without momentum."""
        self._load(state)
        self._optimizer.state.clear()

    def parameters(self):
        """Return a copy of every parameter by its name."""
        return {name: p.detach().numpy().copy() for name, p in self.network.named_parameters()}
