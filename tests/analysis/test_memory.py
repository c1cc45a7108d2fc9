"""Memory: what a block holds and what lies in memory, against figure 3 of the paper and against a measurement."""

import tracemalloc

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import example_blocks, measure_peak, memory_steps
from repvgg_np.analysis.dataflow import operations
from repvgg_np.kernels import buffers, get_num_threads, set_num_threads
from repvgg_np.layers import BatchNorm2d, Concatenate, Conv2d, Dropout, ReLU, Residual, Sequential
from repvgg_np.models import Baseline
from tests.models.small_networks import SMALL_NETWORKS

BLOCKS = example_blocks()


def conv(channels=2):
    return Conv2d(channels, channels, 3, 1, 1, rng=np.random.default_rng(0))


def chain():
    return Sequential(conv(), ReLU(), conv(), ReLU())


def in_inputs(layer, shape, key):
    steps = memory_steps(layer.eval(), shape)
    return [getattr(step, key) / steps[0].held for step in steps]


def test_figure_3_a_plain_chain_holds_its_input_once_and_a_residual_block_twice():
    assert in_inputs(chain(), (2, 5, 5), "held") == [1, 1, 1]
    assert in_inputs(Residual(chain()), (2, 5, 5), "held") == [1, 2, 2, 1]


def test_while_an_operation_runs_its_output_lies_beside_what_is_held():
    assert in_inputs(chain(), (2, 5, 5), "alive") == [1, 2, 2]
    assert in_inputs(Residual(chain()), (2, 5, 5), "alive") == [1, 2, 3, 3]


def test_a_dense_layer_holds_what_it_was_given_until_it_is_appended_to():
    layer = Concatenate(Sequential(), Sequential(BatchNorm2d(2), ReLU(), conv()))
    assert in_inputs(layer, (2, 5, 5), "held") == [
        1,
        2,
        2,
        2,
        2,
    ]  # the last: twice as many channels, but one activation
    assert in_inputs(layer, (2, 5, 5), "alive") == [1, 2, 3, 3, 4]


def test_what_does_nothing_in_inference_needs_no_memory():
    assert [step.name for step in memory_steps(Sequential(Dropout(0.5)).eval(), (2, 3, 3))] == ["input"]


def test_the_paper_s_numbers_hold_for_the_blocks_of_the_table():
    held = {name: max(in_inputs(block, shape, "held")) for name, (block, shape) in BLOCKS.items()}
    assert held["plain, two 3x3"] == 1 and held["RepVGG, fused"] == 1
    assert held["residual, two 3x3 (ResNet-18)"] == held["residual, bottleneck (ResNet-50)"] == 2
    assert held["RepVGG, three branches"] == 3 and held["dense, six layers (DenseNet-121)"] == 7


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("name", ["plain, two 3x3", "residual, two 3x3 (ResNet-18)", "dense, six layers (DenseNet-121)",
                                  "inception (GoogLeNet, 3a)", "RepVGG, three branches"])  # fmt: skip
def test_measured_and_computed_agree_within_10_percent(name):
    (block, shape), batch, threads = BLOCKS[name], 12, get_num_threads()
    computed = 4 * batch * max(step.alive for step in memory_steps(block, shape))
    set_num_threads(1)  # each thread has working memory of its own, which is not the block's
    try:
        measured = measure_peak(block, shape, batch)
    finally:
        set_num_threads(threads)
    assert computed <= measured <= 1.1 * computed
    assert not tracemalloc.is_tracing()


def test_measured_is_at_least_what_is_alive_and_reuse_goes_on_afterwards():
    block, shape = Sequential(conv(4), ReLU()).eval(), (4, 48, 48)
    assert measure_peak(block, shape, 1) >= 4 * max(step.alive for step in memory_steps(block, shape))
    address = buffers.empty((1 << 16,), np.float32).ctypes.data
    assert buffers.empty((1 << 16,), np.float32).ctypes.data == address
    with buffers.without_reuse():
        assert buffers.empty((1 << 16,), np.float32).base is None


@pytest.mark.parametrize("kind", ["ResNet", "GoogLeNet", "DenseNet", "ShuffleNetV2", "EfficientNet"])
def test_running_the_graph_gives_what_the_network_gives(kind, rng):
    model = Baseline(SMALL_NETWORKS[kind], rng=rng, form="inference")
    check_graph(model, rng.normal(size=(2, 3, 17, 17)).astype(np.float32))


@pytest.mark.parametrize("variant", ["repvgg", "residual-reorg"])
@pytest.mark.parametrize("form", ["training", "inference"])
def test_running_the_graph_gives_what_the_repvgg_gives(variant, form, rng):
    model = rv.create_model("RepVGG-tiny", variant=variant)
    model = model.eval() if form == "training" else rv.fuse(model)
    check_graph(model, rng.normal(size=(1, 3, 8, 8)).astype(np.float32))


def check_graph(model, x):
    values = {0: x}
    for operation in operations(model, x.shape[1:]):
        out = values[operation.output] = operation.run(*[values[value] for value in operation.inputs])
        assert out.shape[1:] == operation.out_shape
    np.testing.assert_array_equal(out, model(x))
