"""The rounding bound of a block is the formula of its text, whatever the block is made of."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from repvgg_np import fusion_bound, rounding
from repvgg_np.blocks import ConvolutionAndNorm, RepVGGBlock
from repvgg_np.blocks.step import Fold, Step
from repvgg_np.layers import BatchNorm2d, Conv2d, fold_convolution
from tests.blocks.definitions import FOLDING, make_blocks, randomise
from tests.rounding_formula import tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 3, 1, 1), (2, 4, 1, 2), (4, 4, 2, 1), (5, 5, 1, 5), (6, 6, 1, 3)])
def test_the_bound_of_a_block_is_the_formula(shape, dtype, arithmetic, rng):
    block = random_block(shape, dtype, rng)
    x = rng.normal(size=(2, shape[0], 5, 3)).astype(dtype)
    assert_is_the_formula(block, x, arithmetic)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4, 1, 1), (4, 6, 1, 2), (3, 5, 2, 1)])
@pytest.mark.parametrize("name", FOLDING)
def test_the_bound_of_every_kind_of_block_is_the_formula(name, shape, dtype, arithmetic, rng):
    for block in make_blocks(name, shape, rng, dtype):
        randomise(block, rng).eval()
        assert_is_the_formula(block, rng.normal(size=(2, block.in_channels, 5, 3)).astype(dtype), arithmetic)


class Chains:
    """Chains of 3x3 convolutions with ReLU between them, which stay what they are: more of them than any block has."""

    after = None

    def __init__(self, chains, dtype, rng):
        self.chains = [[self.step(*pair, dtype, rng) for pair in pairwise(channels)] for channels in chains]

    def step(self, c_in, c_out, dtype, rng):
        kernel, bias = rng.normal(size=(c_out, c_in, 3, 3)).astype(dtype), rng.normal(size=c_out).astype(dtype)
        run = partial(rounding.conv2d, weight=kernel, bias=bias, relu=True)
        return Step(kernel, None, 1, (1, 1), 1, bias, run=run)

    def paths(self):
        return self.chains

    def folds(self):
        return [[Fold([[step]]) for step in chain] for chain in self.chains]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chains", [[(2, 3, 1, 2, 3)], [(2, 3), (2, 3), (2, 1, 3)]])
def test_the_bound_of_several_convolutions_in_a_row_and_side_by_side_is_the_formula(chains, dtype, arithmetic, rng):
    block = Chains(chains, dtype, rng)
    assert_is_the_formula(block, rng.normal(size=(2, 2, 5, 3)).astype(dtype), arithmetic)


def conv_and_norm(geometry, bias, dtype, rng):
    """A convolution and the batch norm behind it, with random numbers, in inference mode."""
    conv = randomise(Conv2d(4, 6, *geometry, bias, rng=rng, dtype=dtype), rng)
    return ConvolutionAndNorm(conv.eval(), randomise(BatchNorm2d(6, dtype=dtype), rng).eval())


# Of the kernel: size, stride, padding and groups. The last has none of the padding that would keep the size.
GEOMETRIES = [(3, 1, 1, 1), (3, 2, 1, 2), (5, 2, 2, 1), (1, 1, 0, 2), ((1, 3), 1, (2, 0), 1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_bound_of_a_convolution_and_its_batch_norm_is_the_formula(geometry, bias, dtype, arithmetic, rng):
    block = conv_and_norm(geometry, bias, dtype, rng)
    assert_is_the_formula(block, rng.normal(size=(2, 4, 5, 6)).astype(dtype), arithmetic)
    assert block.folds()[0][0].roundings() == (4, 6 if bias else 5)  # the bias is subtracted from the mean


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_fold_of_a_convolution_and_its_batch_norm_is_that_of_the_layers_and_lies_under_the_bound(
    geometry, dtype, rng
):
    block = conv_and_norm(geometry, True, dtype, rng)
    fused = fold_convolution(block.conv, block.norm).eval()
    kernel, bias = block.folds()[0][0].kernel_and_bias()
    assert kernel.tobytes() == fused.weight.data.tobytes() and bias.tobytes() == fused.bias.data.tobytes()
    x = rng.normal(size=(2, 4, 9, 8)).astype(dtype)
    bound, _ = fusion_bound.fusion_bound(block, x)
    error = np.abs(block(x) - fused(x))
    assert error.any() and (error <= bound).all()


def test_a_convolution_with_two_strides_has_no_bound(rng):
    conv = Conv2d(2, 2, 3, (1, 2), 1, rng=rng)
    with pytest.raises(ValueError, match=r"conv must have the same stride down and across, got \(1, 2\)"):
        ConvolutionAndNorm(conv, BatchNorm2d(2))


def assert_is_the_formula(block, x, arithmetic):
    bound, algorithm = fusion_bound.fusion_bound(block, x)
    fold = block.folds()[0][0]
    kernel = fold.kernel_and_bias()[0]
    geometry = (fold.stride,) * 2, fold.padding or (kernel.shape[2] // 2,) * 2, fold.groups
    assert algorithm == fusion_bound.choose_algorithm(x.shape, kernel.shape, *geometry)
    assert bound.dtype == np.float64
    np.testing.assert_allclose(bound, arithmetic.block_bound(block, x), rtol=10 * tolerance(x.dtype))


# By hand, of the kernel and of the bias. A batch norm: 4 and 5. Each addition: 1. A batch norm behind: 4 and 6.
ROUNDINGS = [
    ("repvgg", (4, 4, 1, 1), [(6, 7)]),
    ("repvgg", (4, 6, 1, 1), [(5, 6)]),
    ("plain", (4, 4, 1, 1), [(4, 5)]),
    ("no-1x1", (4, 4, 1, 1), [(5, 6)]),
    ("post-addition-bn", (4, 4, 1, 1), [(2 + 4, 2 + 6)]),
    ("diracnet", (4, 4, 1, 1), [(4, 6)]),
    ("acb", (4, 4, 2, 1), [(6, 7)]),
    ("residual-reorg", (4, 4, 1, 1), [(4, 5), (4, 5), (0, 0)]),
    # Two batch norms, and the 4 channels (in a group 2) between, each at 9 pixels for the bias; then 3 additions.
    ("dbb", (4, 4, 1, 1), [(4 + 4 + 4 + 3, 5 + 4 + 4 * 9 + 1 + 3)]),
    ("dbb", (4, 8, 1, 2), [(4 + 4 + 4 + 3, 5 + 4 + 4 * 9 + 1 + 3)]),
    ("mobileone", (4, 4, 1, 1), [(4 + 5, 5 + 5)]),
]


@pytest.mark.parametrize(("name", "shape", "expected"), ROUNDINGS)
def test_the_roundings_of_a_fold_are_counted(name, shape, expected, rng):
    block = make_blocks(name, shape, rng)[0]
    assert [fold.roundings() for path in block.folds() for fold in path] == expected


def random_block(shape, dtype, rng):
    block = RepVGGBlock(*shape, rng=rng, dtype=dtype).eval()
    state = block.state_dict()
    for name, array in state.items():
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.1, 3, array.shape).astype(dtype)
        elif array.ndim == 1:
            state[name] = rng.normal(size=array.shape).astype(dtype)
    block.load_state_dict(state)
    return block


def test_a_folded_product_that_underflows_is_covered_by_the_guard(rng):
    # The first kernel times its scale vanishes, though the second scale would make much of it.
    (block,) = make_blocks("dbb", (2, 2, 1, 1), rng, np.float32)
    state = randomise(block, rng).eval().state_dict()
    for name, array in state.items():
        if name == "dbb_avg.conv.weight":
            array[...] = 1e-10
        elif name == "dbb_avg.bn.bn.weight":
            array[...] = 1e-36
        elif name == "dbb_avg.avgbn.weight":
            array[...] = 1e30
        elif name.endswith(("weight", "bias", "running_mean")):
            array[...] = 0
    block.load_state_dict(state)
    x = np.full((1, 2, 4, 4), 1e25, np.float32)
    (kernel, _), out = block.fold(), block(x)
    bound, _ = fusion_bound.fusion_bound(block, x)
    assert (kernel == 0).all() and (out[:, :, 1:-1, 1:-1] > 0).all()
    assert (np.abs(out - block.fused().eval()(x)) <= bound).all()
