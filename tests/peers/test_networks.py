"""The networks that the paper compares RepVGG with are torchvision's and timm's: names, logits, gradients, statistics.

MobileNetV1 is timm's, because torchvision has none, and so is ResNeXt-101 32x4d. RegNetX-12GF is torchvision's class
with that network's numbers. ShuffleNetV1, which neither has, is put together in `networks.py`; so is the first version
of ResNet-50, by exchanging strides. With `-s`, a line for each network is printed, a row of a table: logits in float32,
then fused; gradients and running statistics of a training step in float64, the array that differs most. Each with the
largest difference and its tolerance, as shares of the array's largest number.
"""

import numpy as np
import pytest

from repvgg_np import create_model, fuse, list_models, load_weights
from repvgg_np.kernels import choose_algorithm
from repvgg_np.layers import Conv2d, Dropout, StochasticDepth
from repvgg_np.models import Baseline
from repvgg_np.models.vgg import VGGConfig
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma
from tests.peers.networks import make_peer, narrower_vgg, torch, without_noise
from tests.peers.random_state import randomise
from tests.peers.tolerance import assert_same_results, sensitivities
from tests.peers.twin import as_array, evaluate, load

pytestmark = pytest.mark.peers

NAMES = [name for name in list_models() if not name.startswith("RepVGG")]
# The deeper first versions differ from these only in how often a block is repeated.
COMPARED = [name for name in NAMES if name not in ("ResNet-101-v1", "ResNet-152-v1")]
CLASSES, SIZE, HIDDEN = 10, 64, 32


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_the_number_of_parameters_are_the_peers_to_the_digit(name):
    ours, peer = create_model(name, seed=None), make_peer(name)
    theirs = {key: tuple(tensor.shape) for key, tensor in peer.state_dict().items()}
    assert {key: array.shape for key, array in ours.state_dict().items()} == theirs
    assert ours.count_parameters() == sum(parameter.numel() for parameter in peer.parameters())


def test_a_file_of_torchvisions_weights_is_read_as_it_is(tmp_path):
    peer, ours = make_peer("MobileNetV2"), create_model("MobileNetV2", seed=None)
    torch.save(peer.state_dict(), tmp_path / "weights.pth")
    ours.load_state_dict(load_weights(tmp_path / "weights.pth"))
    for key, tensor in peer.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key], as_array(tensor))


def make_both(name, dtype, rng):
    """Make ours and the peer, with the same random numbers, and without noise."""
    if name == "VGG-16-BN":
        ours = Baseline(VGGConfig(depths=(2, 2, 3, 3, 3), hidden=HIDDEN), CLASSES, rng=None, dtype=dtype)
        peer = narrower_vgg(CLASSES, HIDDEN)
    else:
        ours, peer = create_model(name, CLASSES, None, dtype=dtype), make_peer(name, CLASSES)
    for _, layer in ours.named_layers():
        if isinstance(layer, (Dropout, StochasticDepth)):
            layer.probability = 0
    peer = without_noise(peer).to(torch.float64 if dtype == np.float64 else torch.float32)
    load(peer, randomise(ours, rng).state_dict())
    return ours, peer


def longest_sum(model, x):
    """Count the roundings of a network's longest sum: that of a convolution, or over all pixels of the batch.

    A convolution's bound, divided by the unit roundoff and by the sum over absolute values, is its number of roundings.
    A dozen more are for batch norm, pooling and activations.
    """
    roundings, convolutions = [], [layer for _, layer in model.named_layers() if isinstance(layer, Conv2d)]

    def watch(layer):
        forward, weight = layer.forward, layer.weight.peek()

        def watched(x, **options):
            geometry = (layer.stride, layer.padding, layer.groups)
            algorithm = choose_algorithm(x.shape, weight.shape, *geometry)
            bound = convolution_bound(x, weight, *geometry, algorithm).max()
            own = bound / (gamma(1, x.dtype) * absolute_convolution(x, weight, *geometry).max())
            roundings.append(int(own) + 1 + x[:, 0].size)
            return forward(x, **options)

        layer.forward = watched

    for layer in convolutions:
        watch(layer)
    model.eval()(x)
    for layer in convolutions:
        del layer.forward
    return max(roundings) + 12


def training_step(peer, data, upstream):
    """One forward and backward pass of the peer in training mode: everything that there is to compare."""
    load(peer, {key: array for key, array in data.items() if key != "x"}).train().zero_grad()
    x = torch.from_numpy(data["x"].copy()).requires_grad_()
    logits = peer(x)
    (logits * torch.from_numpy(upstream)).sum().backward()
    results = {"logits": as_array(logits), "gradient of x": as_array(x.grad)}
    results |= {f"gradient of {key}": as_array(parameter.grad) for key, parameter in peer.named_parameters()}
    return results | {key: as_array(array) for key, array in peer.state_dict().items() if key not in results}


def our_training_step(model, x, upstream):
    """The same of ours."""
    logits = model.train()(x)
    results = {"logits": logits, "gradient of x": model.backward(upstream)}
    results |= {f"gradient of {key}": parameter.grad for key, parameter in model.named_parameters()}
    return results | model.state_dict()


def worst(ours, theirs, sensitivity, roundings, dtype, kind):
    """Return the largest difference of some results as a share of the array's largest number, and so its tolerance.

    An array of nothing but rounding has no shares: the gradient of a bias that a batch norm takes away again is zero.
    """
    rows = []
    for key in ours:
        if kind(key) and ours[key].dtype.kind == "f":
            scale, tolerance = np.abs(theirs[key]).max(), 2 * gamma(roundings, dtype) * sensitivity[key]
            difference = np.abs(ours[key].astype(np.float64) - theirs[key]).max()
            if scale > tolerance:
                rows.append((float(difference / scale), float(tolerance / scale)))
    return max(rows)


def shown(pair):
    return f"{pair[0]:.1e} | {pair[1]:.1e}"


@pytest.mark.parametrize("name", COMPARED)
def test_the_network_is_its_peer_in_inference_fused_and_in_training(name, rng):
    ours, peer = make_both(name, np.float64, rng)
    x = rng.normal(size=(2, 3, SIZE, SIZE))
    data = {"x": x, **ours.state_dict()}

    def their_logits(data):
        load(peer, {key: array for key, array in data.items() if key != "x"}).eval()
        return {"logits": evaluate(peer, data["x"])}

    # In inference: float64 with a tolerance that leaves rounding no room, then the same in float32.
    sensitivity, roundings, theirs = sensitivities(their_logits, data), longest_sum(ours, x), their_logits(data)
    assert_same_results({"logits": ours.eval()(x)}, theirs, sensitivity, roundings)
    assert_same_results({"logits": fuse(ours)(x)}, theirs, sensitivity, roundings)
    single, single_peer = make_both(name, np.float32, np.random.default_rng(0))
    single_x = x.astype(np.float32)
    columns = []
    theirs = {"logits": evaluate(single_peer.eval(), single_x)}
    for form in (single.eval(), fuse(single)):
        found = {"logits": form(single_x)}
        assert_same_results(found, theirs, sensitivity, roundings, np.float32)
        columns.append(shown(worst(found, theirs, sensitivity, roundings, np.float32, lambda key: True)))

    # A step of training, in float64: the last layers have eight pixels in each channel.
    upstream = rng.normal(size=theirs["logits"].shape)
    sensitivity = sensitivities(lambda data: training_step(peer, data, upstream), data)
    found, theirs = our_training_step(ours, x, upstream), training_step(peer, data, upstream)
    assert_same_results(found, theirs, sensitivity, roundings)
    for kind in (lambda key: key.startswith("gradient"), lambda key: "running" in key and "gradient" not in key):
        columns.append(shown(worst(found, theirs, sensitivity, roundings, np.float64, kind)))
    print(f"\n| {name} | {' | '.join(columns)} |")
