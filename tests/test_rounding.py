"""The rounding bounds are the formulas of their texts, not one rounding more or less, and rounding can reach them.

Each formula is evaluated here a second time, from the text, tile by tile. A bound that counts one rounding too many
would differ by one part in ten million, for the unit roundoff is so small; so the two are also compared in a *coarse*
arithmetic, one with so large a unit roundoff, and so early an underflow, that no count and no guard can hide.
"""

from itertools import pairwise

import numpy as np
import pytest

from repvgg_np import fusion_bound, reference, rounding
from repvgg_np.blocks import ConvolutionAndNorm, RepVGGBlock
from repvgg_np.blocks.step import Fold, Step
from repvgg_np.kernels import winograd, winograd_five, winograd_strided, winograd_transforms
from repvgg_np.layers import BatchNorm2d, Conv2d, fold_convolution
from repvgg_np.reference_winograd import FIVE, FOUR, STRIDED, TRANSFORMS
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma, underflow_guard
from tests.blocks.definitions import FOLDING, make_blocks, randomise
from tests.tracing import trace

ARITHMETICS = ["coarse", "real"]


class Arithmetic:
    """What a bound knows of an arithmetic: its unit roundoff and the square root of its smallest normal number."""

    def __init__(self, name):
        coarse = name == "coarse"
        self.roundoff = {"f": 2.0**-12 if coarse else 2.0**-24, "d": 2.0**-11 if coarse else 2.0**-53}
        self.root_of_smallest = {"f": 2.0**-4 if coarse else 2.0**-63, "d": 2.0**-3 if coarse else 2.0**-511}

    def gamma(self, n, dtype):
        u = self.roundoff[np.dtype(dtype).char]
        return n * u / (1 - n * u)

    def guard(self, dtype):
        return np.dtype(dtype).type(self.root_of_smallest[np.dtype(dtype).char])

    def absolute_convolution(self, x, weight, stride, padding, groups):
        guard, x, weight = float(self.guard(x.dtype)), np.abs(x).astype(float), np.abs(weight).astype(float)
        return reference.conv2d(x + guard, weight + guard, None, stride, padding, groups)

    def bound(
        self, x, weight, stride, padding, groups, algorithm, magnitude=None, roundings=0, bias=0, bias_roundings=0
    ):
        magnitude, guard = np.abs(weight) if magnitude is None else magnitude, float(self.guard(x.dtype))
        if algorithm == "winograd":
            bound = self.winograd_bound(x, weight, stride, padding, groups, magnitude, roundings)
            return bound + self.gamma(1 + bias_roundings, x.dtype) * (bias + guard)
        terms = self.absolute_convolution(x, magnitude, stride, padding, groups)
        terms = terms * (1 + 2 * self.gamma(weight[0].size + 4, x.dtype))
        n = weight[0].size + 1
        return self.gamma(n + roundings, x.dtype) * terms + self.gamma(n + bias_roundings, x.dtype) * (bias + guard)

    def winograd_bound(self, x, weight, stride, padding, groups, magnitude, roundings):
        """Go through the four lines of the text for each tile and each output channel."""
        height, width = ((x.shape[2 + i] + 2 * padding[i] - 3) // stride[0] + 1 for i in (0, 1))
        form, stride = winograd.form_of(stride, (height, width), len(x)), stride[0]
        B, A, tile = TRANSFORMS[form].b_transposed, TRANSFORMS[form].a_transposed, {FIVE: 5}.get(form, 4)
        G = TRANSFORMS[form].g_numerators / TRANSFORMS[form].g_denominator
        of_v, steps, of_y = {FOUR: (6, 4, 7), STRIDED: (6, 2, 7), FIVE: (8, 4, 9)}[form]
        before_cancelling = np.abs(B)
        if (
            form == FIVE
        ):  # rows that are sums of two: (d5 - 2 d4 - d3 / 4 + d2 / 2) +- (d4 - 2 d3 - d2 / 4 + d1 / 2), ...
            one2, one1 = np.array([0, 0, 1 / 2, 1 / 4, 2, 1, 0]), np.array([0, 1 / 2, 1 / 4, 2, 1, 0, 0])
            half2, half1 = np.array([0, 0, 2, 1, 2, 1, 0]), np.array([0, 2, 1, 2, 1, 0, 0])
            before_cancelling[1:5] = [one2 + one1, one2 + one1, half2 + half1 / 2, half2 + half1 / 2]
        dtype, guard, depth_in = x.dtype, float(self.guard(x.dtype)), weight.shape[1]
        room = ((0, 0), (0, 0), (padding[0], padding[0] + 9), (padding[1], padding[1] + 9))
        padded = np.pad(x.astype(float), room)
        bound = np.zeros((len(x), len(weight), height + 4, width + 4))
        for n in range(len(x)):
            for o in range(len(weight)):
                first = o // (len(weight) // groups) * depth_in
                g, size = weight[o].astype(float), magnitude[o].astype(float)
                u = np.abs(G @ g @ G.T) + guard
                t = np.abs(G) @ (np.abs(g) + guard) @ np.abs(G).T
                scaling = self.gamma(2, dtype) + self.gamma(4, "d")
                du = self.gamma(steps, dtype) * t + scaling * (u + self.gamma(steps, dtype) * t)
                du = du + self.gamma(roundings, dtype) * (np.abs(G) @ (size + guard) @ np.abs(G).T)
                for i in range(0, height, tile):
                    for j in range(0, width, tile):
                        top, left = stride * i, stride * j
                        d = padded[n, first : first + depth_in, top : top + len(B), left : left + len(B)]
                        v = np.abs(B @ d @ B.T) + guard
                        dv = before_cancelling @ (np.abs(d) + guard) @ before_cancelling.T
                        dv = self.gamma(of_v, dtype) * dv
                        p = ((v + dv) * (u + du)).sum(axis=0)
                        dm = self.gamma(depth_in, dtype) * p + (dv * (u + du) + (v + dv) * du).sum(axis=0)
                        y = np.abs(A) @ (dm + self.gamma(of_y, dtype) * (p + dm)) @ np.abs(A).T
                        bound[n, o, i : i + tile, j : j + tile] = y
        return bound[:, :, :height, :width] * (1 + self.gamma(5 * depth_in + 100, "d"))

    def block_bound(self, block, x):
        """Evaluate the text of `fusion_bound.py`, step by step, from what the block says of itself."""
        dtype, paths, folds = x.dtype, block.paths(), block.folds()
        error = terms = 0
        for path in paths:
            found = x, 0
            for step in path[:-1]:
                own, passed, size, constants = self.step_bound(step, *found)
                off = (own * (1 + self.gamma(7, dtype)) + passed + self.gamma(7, dtype) * size).astype(float)
                ring = np.ones((off.shape[2] + 2, off.shape[3] + 2), bool)
                ring[1:-1, 1:-1] = False
                if step.border:
                    off = np.pad(off, ((0, 0), (0, 0), (1, 1), (1, 1)))
                    off[:, :, ring] = (self.gamma(7, dtype) * constants).reshape(1, -1, 1)
                found = step.run(found[0]), off * (1 + self.gamma(12, dtype))
            own, passed, size, _ = self.step_bound(path[-1], *found)
            error, terms = error + own + passed, terms + size
        rounds = len(paths) - 1 + (0 if path[-1].norm is None and paths[0][-1].norm is None else 7)
        if block.after is not None:
            scale, constants = self.scale_and_constants(block.after, dtype)
            error, terms, rounds = scale * error, scale * terms + constants + float(self.guard(dtype)), rounds + 7
        error = error * (1 + self.gamma(rounds, dtype)) + self.gamma(rounds, dtype) * terms
        fused = fused_terms = most = 0
        for path in folds:
            found = x, None
            for number, fold in enumerate(path):
                (kernel, bias), counts = fold.kernel_and_bias(), fold.roundings()
                magnitude, constants = fold.kernel_and_bias(absolute=True, guard=self.guard(dtype))
                constants, padding = constants[:, None, None], (kernel.shape[2] // 2, kernel.shape[3] // 2)
                geometry = (fold.stride,) * 2, fold.padding or padding, fold.groups
                algorithm = fusion_bound.choose_algorithm(found[0].shape, kernel.shape, *geometry)
                sizes = magnitude, counts[0], constants, counts[1]
                off = self.bound(found[0], kernel, *geometry, algorithm, *sizes)
                if found[1] is not None:
                    off = off + self.made_up_for(found[1], magnitude.astype(float), geometry)
                size, most = self.made_up_for(found[0], magnitude, geometry) + constants, max(most, counts[1])
                if number < len(path) - 1:
                    out = rounding.conv2d(found[0], kernel, bias, *geometry, relu=True)
                    found = out, off * (1 + self.gamma(12, dtype))
            fused, fused_terms = fused + off, fused_terms + size
        rounds = len(folds) - 1
        fused = fused * (1 + self.gamma(rounds, dtype)) + self.gamma(rounds, dtype) * fused_terms
        return (error + fused) * (1 + self.gamma(5 + most, dtype))

    def step_bound(self, step, x, off):
        """Evaluate own, passed, S and c for a step that finds `x`, which is off by `off`."""
        scale, constants = (1, 0) if step.norm is None else self.scale_and_constants(step.norm, x.dtype)
        bias = np.zeros((1, 1, 1)) if step.bias is None else np.abs(step.bias.astype(float))[:, None, None]
        constants, geometry = constants + float(self.guard(x.dtype)), ((step.stride,) * 2, step.padding, step.groups)
        constants = constants + bias * scale
        algorithm = fusion_bound.choose_algorithm(x.shape, step.kernel.shape, *geometry)
        own = scale * self.bound(x, step.kernel, *geometry, algorithm, bias=bias)
        passed = 0
        if isinstance(off, np.ndarray):
            passed = scale * self.made_up_for(off, step.kernel.astype(float), geometry)
        return own, passed, scale * self.made_up_for(x, step.kernel, geometry) + constants, constants

    def made_up_for(self, x, kernel, geometry):
        terms = self.absolute_convolution(x, kernel, *geometry)
        return terms * (1 + 2 * self.gamma(kernel[0].size + 4, x.dtype))

    def scale_and_constants(self, norm, dtype):
        scale = np.abs(norm.gamma.data.astype(float)) / np.sqrt(norm.running_var.astype(float) + dtype.type(norm.eps))
        constants = np.abs(norm.beta.data) + np.abs(norm.running_mean * scale)
        return scale[:, None, None], constants[:, None, None]


@pytest.fixture(params=ARITHMETICS)
def arithmetic(request, monkeypatch):
    arithmetic = Arithmetic(request.param)
    if request.param == "coarse":
        for module in (rounding, fusion_bound):
            monkeypatch.setattr(module, "gamma", arithmetic.gamma)
            monkeypatch.setattr(module, "underflow_guard", arithmetic.guard)
    return arithmetic


def tolerance(dtype):
    """What evaluating a formula of positive terms in two ways may come to: some dozens of roundings."""
    return 100 * float(np.finfo(dtype).eps)


def test_gamma_is_highams_and_has_an_end():
    assert gamma(1, np.float32) == 2**-24 / (1 - 2**-24)
    assert gamma(10, np.float64) == 10 * 2**-53 / (1 - 10 * 2**-53)
    assert gamma(0, np.float32) == 0
    assert gamma(2**24 - 1, np.float32) == 2**24 - 1
    with pytest.raises(ValueError, match="operations must be below 16777216 for float32, got 16777216"):
        gamma(2**24, np.float32)
    with pytest.raises(ValueError, match="got 16777217"):
        gamma(2**24 + 1, np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_guard_squared_is_the_smallest_normal_number(dtype):
    guard = underflow_guard(dtype)
    assert guard.dtype == dtype and guard * guard == np.finfo(dtype).tiny


def ones(*shape):
    return np.ones(shape, np.float32)


def test_the_sum_over_absolute_values_makes_up_for_its_own_rounding():
    # 1 times -1, to the last bit: each of n + 4 roundings is made up for twice, and 2 n u is n times the spacing at 1.
    total = absolute_convolution(ones(1, 1, 1, 1), -ones(1, 1, 1, 1), 1, 0, 1)
    assert total.dtype == np.float32 and total == 1 + (1 + 4) * 2**-23
    assert (
        absolute_convolution(-ones(1, 4, 2, 3), ones(2, 2, 1, 3), (1, 2), (0, 1), 2)[..., 1] == 4 + 10 * 2**-21
    ).all()


CONVOLUTIONS = [
    # (pictures, height, width), (C_out, C_in / groups, K_h, K_w), stride, padding, groups, algorithm
    ((2, 5, 4), (3, 2, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((1, 1, 1), (2, 3, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((1, 6, 9), (4, 1, 3, 3), (1, 1), (0, 2), 2, "winograd"),
    ((1, 3, 4), (6, 2, 3, 3), (1, 1), (2, 0), 3, "winograd"),
    ((9, 2, 1), (1, 1, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((17, 1, 2), (1, 2, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((1, 13, 5), (1, 1, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((1, 5, 13), (1, 1, 3, 3), (1, 1), (1, 1), 1, "winograd"),
    ((9, 10, 5), (2, 1, 3, 3), (1, 1), (1, 1), 1, "winograd"),  # F(5x5), of more pictures than are bounded at once
    ((30, 3, 5), (2, 2, 3, 3), (1, 1), (2, 1), 2, "winograd"),  # F(5x5), two groups
    ((2, 5, 4), (3, 2, 3, 3), (2, 2), (1, 1), 1, "winograd"),
    ((1, 1, 1), (2, 3, 3, 3), (2, 2), (1, 1), 1, "winograd"),
    ((1, 3, 2), (1, 1, 3, 3), (1, 1), (4, 5), 1, "winograd"),
    ((1, 10, 19), (4, 1, 3, 3), (2, 2), (0, 2), 2, "winograd"),
    ((9, 4, 11), (2, 2, 3, 3), (2, 2), (2, 0), 1, "winograd"),
    ((2, 5, 4), (3, 2, 3, 3), (2, 2), (1, 1), 1, "im2col"),
    ((1, 4, 5), (4, 3, 3, 2), (1, 2), (0, 1), 2, "im2col"),
    ((1, 2, 3), (2, 3, 1, 1), (1, 1), (0, 0), 1, "im2col"),
    ((1, 4, 3), (5, 1, 3, 3), (1, 1), (1, 1), 5, "depthwise"),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: f"{case[-1]}-{case[0]}".replace(" ", ""))
def test_the_bound_of_a_convolution_is_the_formula(case, dtype, arithmetic, rng):
    (n, height, width), shape, stride, padding, groups, algorithm = case
    x = rng.normal(size=(n, shape[1] * groups, height, width)).astype(dtype)
    weight = rng.normal(size=shape).astype(dtype)
    before = {
        "magnitude": np.abs(weight) * rng.uniform(1, 3, shape).astype(dtype),
        "weight_roundings": 6,
        "bias": rng.uniform(0, 9, (shape[0], 1, 1)),
        "bias_roundings": 7,
    }
    args = (stride, padding, groups, algorithm)
    for inputs, kernel in ((x, weight), (0 * x, weight), (x, 0 * weight)):
        bound = convolution_bound(inputs, kernel, *args)
        assert bound.dtype == np.float64
        np.testing.assert_allclose(bound, arithmetic.bound(inputs, kernel, *args), rtol=tolerance(dtype))
        bound = convolution_bound(inputs, kernel, *args, **before)
        by_the_book = arithmetic.bound(inputs, kernel, *args, *before.values())
        np.testing.assert_allclose(bound, by_the_book, rtol=tolerance(dtype))


def test_what_was_rounded_before_is_given_by_name_alone():
    kernel = ones(1, 1, 1, 1)
    with pytest.raises(TypeError, match="positional argument"):
        convolution_bound(kernel, kernel, (1, 1), (0, 0), 1, "im2col", kernel)


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


class InARow:
    """Convolutions of 3x3 with ReLU between them, which stay what they are: more of them than any block has."""

    after = None

    def __init__(self, channels, dtype, rng):
        self.steps = []
        for c_in, c_out in pairwise(channels):
            kernel, bias = rng.normal(size=(c_out, c_in, 3, 3)).astype(dtype), rng.normal(size=c_out).astype(dtype)

            def run(x, kernel=kernel, bias=bias):
                return rounding.conv2d(x, kernel, bias, 1, 1, 1, relu=True)

            self.steps.append(Step(kernel, None, 1, (1, 1), 1, bias, run=run))

    def paths(self):
        return [self.steps]

    def folds(self):
        return [[Fold([[step]]) for step in self.steps]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_of_several_convolutions_in_a_row_is_the_formula(dtype, arithmetic, rng):
    block = InARow((2, 3, 1, 2, 3), dtype, rng)
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_carries_a_sum_to_its_bound(dtype, rng):
    # 1 + u is a tie, and goes to the even 1: every one of the 299 additions loses all of its u. Of the bound's 301
    # roundings (one for a product that is rounded before it is added, one for a bias) all but three are needed.
    channels, u = 300, float(np.finfo(dtype).eps) / 2
    x = np.full((1, channels, 1, 1), u, dtype)
    x[0, 0] = 1
    weight = np.ones((1, channels, 1, 1), dtype)
    error = 1 + (channels - 1) * u - float(rounding.conv2d(x, weight, None, 1, 0, 1, "im2col")[0, 0, 0, 0])
    bound = float(convolution_bound(x, weight, (1, 1), (0, 0), 1, "im2col")[0, 0, 0, 0])
    assert error <= bound
    assert error > gamma(channels - 2, dtype)  # what a bound with three roundings less would come to


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_underflow_is_covered_by_the_guard_alone(dtype):
    # The product of two of these is a quarter of the smallest subnormal number, and vanishes altogether.
    least = np.finfo(dtype).smallest_subnormal
    x, weight = np.full((1, 3, 4, 4), least, dtype), np.full((2, 3, 3, 3), 0.25, dtype)
    for algorithm, stride in (("im2col", 1), ("winograd", 1), ("winograd", 2)):
        geometry = ((stride, stride), (1, 1), 1)
        out = rounding.conv2d(x, weight, None, *geometry, algorithm)
        exact = reference.conv2d(x.astype(np.longdouble), weight.astype(np.longdouble), None, *geometry)
        assert (np.abs(out - exact) <= convolution_bound(x, weight, *geometry, algorithm)).all()
        assert dtype == np.float64 or (out != exact).any()


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


def hostile(rng, kind, shape):
    """Return numbers that Winograd's transforms do not like, or ordinary ones."""
    normal = rng.normal(size=shape)
    return {
        "ordinary": normal,
        "all of one sign": np.abs(normal) + 1,
        "of all sizes": normal * 10.0 ** rng.uniform(-12, 12, shape),
        "nearly equal": (1 + normal / 1000) * np.sign(rng.normal(size=shape)),
    }[kind]


@pytest.mark.parametrize("kind", ["ordinary", "all of one sign", "of all sizes", "nearly equal"])
@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_takes_winograd_to_a_hundredth_of_its_bound_and_never_above_it(dtype, stride, channels, kind, rng):
    geometry, share = ((stride, stride), (1, 1), 1), 0
    for _ in range(3):
        x = hostile(rng, kind, (1, channels, 12, 17)).astype(dtype)
        weight = hostile(rng, kind, (6, channels, 3, 3)).astype(dtype)
        exact = reference.conv2d(x.astype(np.longdouble), weight.astype(np.longdouble), None, *geometry)
        error = np.abs(rounding.conv2d(x, weight, None, *geometry, "winograd") - exact)
        share = max(share, float((error / convolution_bound(x, weight, *geometry, "winograd")).max()))
    assert 1 / 100 < share <= 1


def first_that_differ(form, rows):
    """Leave out, at stride 2, the rows of what has an odd place: it is copied, or added to one output."""
    return rows[:5] if form == STRIDED else rows


@pytest.mark.parametrize(
    ("form", "module", "suffix"),
    [
        (FOUR, winograd_transforms, ""),
        (STRIDED, winograd_strided, "_strided"),
        (FIVE, winograd_five, "_five"),
    ],
)
def test_the_transforms_go_through_as_many_roundings_as_are_counted(form, module, suffix, monkeypatch):
    transforms = TRANSFORMS[form]
    even = slice(None, None, 2) if form == STRIDED else slice(None)
    b, a, g = rounding.BEFORE_CANCELLING[form], np.abs(transforms.a_transposed), np.abs(transforms.g_numerators)
    assert (b >= np.abs(transforms.b_transposed)).all()
    sizes, most = trace(monkeypatch, module, f"times_b{suffix}", 5 if form == STRIDED else len(b))
    np.testing.assert_array_equal(sizes, first_that_differ(form, b)[:, even])
    assert rounding.PATCH_TRANSFORM_ROUNDINGS[form] == 2 * most
    sizes, most = trace(monkeypatch, module, f"times_a{suffix}", len(b))
    np.testing.assert_array_equal(sizes, a)
    assert rounding.OUTPUT_TRANSFORM_ROUNDINGS[form] == 2 * most + 1  # and the bias
    sizes, most = trace(monkeypatch, module, f"times_g{suffix}", 3)
    # Up to the factor of each row; at stride 2 the last four rows are the same, and are made once.
    g = g[: len(sizes)]
    np.testing.assert_array_equal(sizes * g.max(axis=1, keepdims=True), g * sizes.max(axis=1, keepdims=True))
    assert rounding.KERNEL_TRANSFORM_ROUNDINGS[form] == 2 * most
