"""The real peers compute what we compute; each test is skipped where its peer is not installed."""

import numpy as np
import pytest

from repvgg_np.bench import bench_inference, bench_layers, bench_memory, bench_training
from repvgg_np.bench.contest import OURS
from repvgg_np.bench.peers import PEERS, TRAINING_PEERS

pytestmark = pytest.mark.peers
# Other libraries' warnings are not ours to judge.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=[name for name in PEERS if name != "torch.compile"])
def peer(request):
    pytest.importorskip(PEERS[request.param][0])
    if request.param == "ONNX Runtime":
        pytest.importorskip("onnx")
    return request.param


@quiet
@pytest.mark.parametrize("batch", [1, 3])
def test_every_peer_infers_the_same_network(peer, batch):
    result = bench_inference("RepVGG-small", batch, repeats=1, peers=[peer])  # it has a grouped block
    assert result["left_out"] == {}
    row = result["contestants"][peer]
    assert row["difference"] <= row["tolerance"] and row["note"]


@quiet
def test_every_peer_convolves_the_same_layers(peer):
    for layer in bench_layers("RepVGG-small", 2, repeats=1, peers=[peer])["layers"]:
        assert layer["left_out"] == {} and layer["contestants"][peer]["median"] > 0


@quiet
def test_pytorch_takes_the_same_training_step():
    pytest.importorskip("torch")
    shape = {"widths": (8, 12), "depths": (1, 2), "strides": (1, 2)}
    for name, given in (("RepVGG-small", None), (None, shape)):
        result = bench_training(name, batch=8, repeats=1, peers=["PyTorch"], shape=given)
        assert result["left_out"] == {} and result["images_per_second"]["PyTorch"] > 0


@quiet
def test_pytorch_with_another_weight_decay_is_left_out(monkeypatch):
    pytest.importorskip("torch")
    from repvgg_np.bench.peers import torch_training

    begin = torch_training.Trainer.begin

    def decay_more(self, state):
        begin(self, state)
        for group in self._optimizer.param_groups:
            group["weight_decay"] = 1.0

    monkeypatch.setattr(torch_training.Trainer, "begin", decay_more)
    left_out = bench_training("RepVGG-small", batch=8, repeats=1, peers=["PyTorch"])["left_out"]
    assert left_out["PyTorch"].startswith("the outputs don't agree: PyTorch's ")


@quiet
def test_the_graph_that_onnx_runtime_gets_is_valid_and_has_the_right_output():
    onnx = pytest.importorskip("onnx")
    from repvgg_np.bench.peers.onnx_graph import onnx_model
    from repvgg_np.bench.plain import make_model, make_pair, plain_network

    _, fused = make_pair(make_model("RepVGG-small"))
    graph = onnx.load_from_string(onnx_model(plain_network(fused), (5, 3, 16, 16))).graph
    shape = [size.dim_value for size in graph.output[0].type.tensor_type.shape.dim]
    assert shape == list(fused(np.zeros((5, 3, 16, 16), np.float32)).shape)


@quiet
def test_the_memory_of_every_peer_is_measured(peer):
    tasks = ("inference", "training") if peer in TRAINING_PEERS else ("inference",)
    result = bench_memory("RepVGG-tiny", 4, peers=[peer], tasks=tasks)
    assert result["left_out"] == {}
    for task in tasks:
        assert result[task][peer]["bytes"] > 0 and set(result[task]) == {OURS, peer}
