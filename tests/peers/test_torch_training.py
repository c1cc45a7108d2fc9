"""A training step of ours is PyTorch's: loss, gradients, running statistics, and what SGD makes of the weights."""

import numpy as np
import pytest

from repvgg_np.models import RepVGG
from repvgg_np.training.loss import cross_entropy
from repvgg_np.training.sgd import SGD
from tests.peers.random_state import randomise
from tests.peers.test_torch import NETWORKS
from tests.peers.tolerance import assert_same_results, network_roundings, sensitivities
from tests.peers.twin import Network, as_array, as_arrays, load, torch

pytestmark = pytest.mark.peers

# A decay strong enough to be seen, and a learning rate at which three steps change what the network does.
LEARNING_RATES, WEIGHT_DECAY, LABEL_SMOOTHING = (0.05, 0.1, 0.02), 0.01, 0.1


def parameter_groups(net, decay):
    """The parameters with and without weight decay, each rule as its source words it."""
    layers = (torch.nn.Conv2d, torch.nn.Linear)
    kernels = {f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, layers)}
    spared = {
        "official": lambda name: "bias" in name or "bn" in name,  # rbr_identity.weight has neither, and is decayed
        "kernels": lambda name: name not in kernels,
        "all": lambda name: False,
    }[decay]
    named = list(net.named_parameters())
    return [
        {"params": [p for name, p in named if not spared(name)], "weight_decay": WEIGHT_DECAY},
        {"params": [p for name, p in named if spared(name)], "weight_decay": 0},
    ]


def torch_training(config, data, labels, decay, nesterov, momentum):
    """Train PyTorch's network for three steps; return everything that there is to compare after each."""
    net = load(Network(config).double(), {key: array for key, array in data.items() if key != "x"}).train()
    groups = [group for group in parameter_groups(net, decay) if group["params"]]
    optimizer = torch.optim.SGD(groups, lr=1, momentum=momentum, nesterov=nesterov)
    results = {}
    for step, learning_rate in enumerate(LEARNING_RATES):
        x = torch.from_numpy(data["x"][step].copy()).requires_grad_()
        logits = net(x)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        results |= {f"{step}: loss": as_array(loss), f"{step}: logits": as_array(logits)}
        results |= {f"{step}: gradient of x": as_array(x.grad)}
        results |= {f"{step}: gradient of {name}": as_array(p.grad) for name, p in net.named_parameters()}
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        results |= {f"{step}: {name} after it": array for name, array in as_arrays(net.state_dict()).items()}
    return results


def our_training(config, data, labels, decay, nesterov, momentum):
    """The same with ours."""
    model = RepVGG(config, rng=None, dtype=np.float64)
    model.load_state_dict({key: array for key, array in data.items() if key != "x"})
    optimizer = SGD(model.named_parameters(), 1, momentum, nesterov, WEIGHT_DECAY, decay)
    results = {}
    for step, learning_rate in enumerate(LEARNING_RATES):
        logits = model(data["x"][step])
        loss, grad_logits = cross_entropy(logits, labels, LABEL_SMOOTHING)
        grad_x = model.backward(grad_logits)
        results |= {f"{step}: loss": np.asarray(loss), f"{step}: logits": logits}
        results |= {f"{step}: gradient of x": grad_x}
        results |= {f"{step}: gradient of {name}": p.grad.copy() for name, p in model.named_parameters()}
        optimizer.step(learning_rate)
        results |= {f"{step}: {name} after it": array for name, array in model.state_dict().items()}
    return results


def assert_same_training(name, rng, *settings):
    config = NETWORKS[name]
    model = randomise(RepVGG(config, rng=rng, dtype=np.float64), rng)
    x = rng.normal(size=(len(LEARNING_RATES), 6, 3, config.input_size, config.input_size))
    labels = rng.integers(config.num_classes, size=6)
    data = {"x": x, **model.state_dict()}
    sensitivity = sensitivities(lambda moved: torch_training(config, moved, labels, *settings), data)
    ours, theirs = (run(config, data, labels, *settings) for run in (our_training, torch_training))
    assert_same_results(ours, theirs, sensitivity, network_roundings(model, x[0]))
    last = len(LEARNING_RATES) - 1
    for key, array in data.items():
        if key.endswith("num_batches_tracked"):
            assert ours[f"{last}: {key} after it"] == array + len(LEARNING_RATES)
    # Training did something: the tolerances would mean nothing otherwise.
    assert abs(ours[f"{last}: loss"] - ours["0: loss"]) > 1e-3


@pytest.mark.parametrize("decay", ["official", "kernels", "all"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_three_steps_of_training_are_pytorchs(decay, nesterov, rng):
    assert_same_training("grouped", rng, decay, nesterov, 0.9)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "grouped"])
def test_three_steps_of_training_any_network_are_pytorchs(name, rng):
    assert_same_training(name, rng, "official", True, 0.9)


def test_three_steps_without_momentum_are_pytorchs(rng):
    assert_same_training("grouped", rng, "official", False, 0)
