"""Memory access and operators, counted by hand on what is small enough; and the paper's table 1."""

import math

import numpy as np
import pytest

import repvgg_np as rv
from repvgg_np.analysis import network_cost, operators_per_block
from repvgg_np.analysis.published import TABLE_1
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.models import Baseline, RepVGG, RepVGGConfig
from tests.models.small_networks import SMALL_NETWORKS


def test_table_1_is_multiply_adds_and_its_speeds_follow_from_its_times_but_for_5x5():
    for row in TABLE_1:
        assert row.flops == math.floor(32 * (2048 * 56 * row.size) ** 2 / 1e8) / 10  # cut off, as the paper does
        speed = 2 * row.flops / row.milliseconds
        assert abs(speed - row.tflops) < 0.012 or (row.size == 5 and round(speed, 2) == 10.06)


def small(form):
    return RepVGG(RepVGGConfig((1, 1), (3, 3), (2, 1), {}, 8, 5), rng=None, form=form)


def test_memory_access_of_a_fused_network_is_input_kernel_bias_and_output_of_each_layer():
    picture, half, kernel = 3 * 64, 3 * 16, 3 * 3 * 9 + 3
    expected = [picture + kernel + half, half + kernel + half, half + 3 + 3 + 15 + 5 + 5]
    assert [cost.memory_access for cost in network_cost(small("inference"))] == [4 * numbers for numbers in expected]


def test_memory_access_of_three_branches_counts_their_norms_additions_and_relu():
    x = 3 * 16
    dense = x + 81 + x + 2 * x + 6  # convolution, then its batch norm
    pointwise = x + 9 + x + 2 * x + 6
    identity = 2 * x + 6
    additions, relu = 2 * 3 * x, 2 * x
    cost = network_cost(small("training"))[1]
    assert cost.memory_access == 4 * (dense + pointwise + identity + additions + relu)


def test_an_addition_and_a_shuffle_cost_bytes_and_no_flops():
    costs = network_cost(rv.create_model("ResNet-18", seed=None, form="inference"), 32)
    addition = next(cost for cost in costs if cost.kind.startswith("Residual"))
    assert addition.memory_access == 4 * 3 * np.prod(addition.out_shape) and addition.flops == 0
    kinds = [cost.kind for cost in network_cost(rv.create_model("ShuffleNetV1-g3", seed=None, form="inference"), 32)]
    assert any(kind.startswith("ChannelShuffle") for kind in kinds)


def test_a_relu_behind_a_convolution_is_part_of_it_and_behind_a_batch_norm_is_not():
    relus = {}
    for form in ("training", "inference"):
        costs = network_cost(Baseline(SMALL_NETWORKS["VGG"], rng=None, form=form), 16)
        relus[form] = sum(cost.kind.startswith("ReLU") for cost in costs)
    assert relus == {"training": 5, "inference": 2}  # three convolutions, and two linear layers


@pytest.mark.parametrize(
    ("name", "operators"),
    [("RepVGG-A0", 1), ("MobileNetV1", 1), ("ResNet-18", 2), ("ResNet-50", 3), ("GoogLeNet", 7)],
)
def test_a_resnet_has_2_or_3_operators_in_a_block_and_repvgg_1(name, operators):
    assert operators_per_block(rv.create_model(name, seed=None, form="inference")) == operators


def test_before_fusion_a_repvgg_block_has_a_3x3_and_a_1x1_convolution():
    assert operators_per_block(rv.create_model("RepVGG-A0", seed=None)) == 2
    assert operators_per_block(RepVGGBlock(2, 2, rng=np.random.default_rng(0))) == 2
