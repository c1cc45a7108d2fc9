"""A network that plain Python can run, and peers that need no other library."""

import numpy as np
import pytest

from repvgg_np.bench import peers, timing
from repvgg_np.bench.peers import torch as pytorch
from repvgg_np.kernels import conv2d
from repvgg_np.models import CONFIGS, RepVGGConfig
from tests.models.small_networks import SMALL_NETWORKS

SMALL = RepVGGConfig((1, 1, 2), (2, 4, 4), (2, 2, 2), {2: 2}, 16, 10)


@pytest.fixture(autouse=True)
def small_network(monkeypatch, all_threads):
    """Register it, and one that is no RepVGG; use all threads, as a benchmark does, but don't wait until they rest."""
    monkeypatch.setitem(CONFIGS, "RepVGG-small", SMALL)
    monkeypatch.setitem(CONFIGS, "ResNet-small", SMALL_NETWORKS["ResNet"])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)


class DirectPeer:
    """A peer made of our own direct convolution; it can be made to err by `error`, or to fail."""

    def __init__(self, error=0.0, failure=None):
        self.error, self.failure, self.threads = error, failure, []

    def inference(self, network, x, threads):
        """Build the variants: a wasteful one and one that isn't."""
        self.threads.append(threads)
        if self.failure:
            raise self.failure

        def run(times):
            for _ in range(times):
                out = x
                for part in network.convolutions:
                    out = conv2d(out, part.weight, part.bias, part.stride, 1, part.groups, "im2col", relu=True)
            if network.classifier is not None:
                weight, bias = network.classifier
                out = out.mean(axis=(2, 3)) @ weight.T + bias
            return out + np.float32(self.error)

        return [("slow", lambda: lambda: run(8)), ("quick", lambda: lambda: run(1))]


@pytest.fixture
def direct_peer(monkeypatch):
    """Return a function that makes a `DirectPeer` the only peer there is, under PyTorch's name."""

    def install(package="numpy", **options):
        peer = DirectPeer(**options)
        monkeypatch.setattr(peers, "PEERS", {"PyTorch": (package, peer)})
        return peer

    assert pytorch.FORMATS  # the real one is there to be replaced
    return install
