"""Paths: counted by formula and by walking every one; and a network without ReLU is the sum over its paths."""

import itertools
import math

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import count_paths, path_lengths
from repvgg_np.layers import Concatenate, Conv2d, Residual, Sequential
from repvgg_np.models import RepVGG, RepVGGConfig


def conv(rng):
    """Make a convolution of integers, so that sums are exact."""
    layer = Conv2d(2, 2, 1, bias=False, rng=None)
    layer.weight.data = rng.integers(-3, 4, (2, 2, 1, 1)).astype(np.float32)
    return layer.eval()


@pytest.mark.parametrize("n", range(4))
def test_n_residual_blocks_have_2_to_the_n_paths_of_binomial_lengths(n, rng):
    lengths = path_lengths(Sequential(*(Residual(conv(rng)) for _ in range(n))))
    assert lengths == [math.comb(n, length) for length in range(n + 1)] and sum(lengths) == 2**n


def test_stage_4_of_repvgg_b_has_2_times_3_to_the_15_paths():
    model = rv.create_model("RepVGG-B0", seed=None)
    assert count_paths(model.stages[3]) == 2 * 3**15
    assert count_paths(model) == 2 * (2 * 3**3) * (2 * 3**5) * (2 * 3**15) * 2


@pytest.mark.parametrize(("name", "blocks"), [("ResNet-18", 8), ("ResNet-50", 16)])
def test_a_resnet_has_2_paths_for_each_block(name, blocks):
    assert count_paths(rv.create_model(name, seed=None)) == 2**blocks


def test_residual_reorg_has_256_paths_in_stage_4_and_a_plain_network_one():
    assert count_paths(rv.create_model("RepVGG-B0", seed=None, variant="residual-reorg").stages[3]) == 2**8
    assert count_paths(rv.create_model("RepVGG-B0", seed=None, variant="plain")) == 1
    assert path_lengths(rv.create_model("RepVGG-B0", seed=None, form="inference")) == [0] * 28 + [1]


@pytest.mark.parametrize("variant", ["repvgg", "no-1x1", "no-identity", "acb", "residual-reorg"])
def test_the_count_is_that_of_walking_every_path(variant):
    model = RepVGG(RepVGGConfig((1, 2, 3), (2, 2, 3), (1, 1, 2), {}, 8, 3, variant), rng=None)
    ways = [[sum(step.multiplies for step in path) for path in block.paths()] for _, block in model.blocks()]
    walked = [sum(choice) for choice in itertools.product(*ways)]
    lengths = path_lengths(model)
    assert sum(lengths) == len(walked) and lengths == [walked.count(length) for length in range(len(lengths))]


def test_a_network_without_relu_is_the_sum_over_its_paths(rng):
    convs = [conv(rng) for _ in range(5)]
    net = Sequential(Residual(convs[0]), Concatenate(convs[1], Sequential()), Residual(Sequential(convs[2], convs[3])))
    net.layers[1].join = lambda one, other: one + other  # side by side, added instead of laid beside one another
    x, total, paths = rng.integers(-9, 10, (1, 2, 3, 3)).astype(np.float32), 0, 0
    for ways in itertools.product(([convs[0]], []), ([convs[1]], []), ([convs[2], convs[3]], [])):
        y = x
        for layer in itertools.chain(*ways):
            y = layer(y)
        total, paths = total + y, paths + 1
    np.testing.assert_array_equal(net(x), total)
    assert paths == count_paths(net)
