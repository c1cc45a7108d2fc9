"""The rounding bounds are the formulas of their texts, not one rounding more or less, and rounding can reach them.

Each formula is evaluated here a second time, from the text, tile by tile. A bound that counts one rounding too many
would differ by one part in ten million, for the unit roundoff is so small; so the two are also compared in a *coarse*
arithmetic, one with so large a unit roundoff, and so early an underflow, that no count and no guard can hide.
"""

import numpy as np
import pytest

from repvgg_np import reference, rounding, verify
from repvgg_np.blocks import RepVGGBlock
from repvgg_np.reference_winograd import TRANSFORMS
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma, underflow_guard

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
            bound = self.winograd_bound(x, weight, stride[0], padding, groups, magnitude, roundings)
            return bound + self.gamma(1 + bias_roundings, x.dtype) * (bias + guard)
        terms = self.absolute_convolution(x, magnitude, stride, padding, groups)
        terms = terms * (1 + 2 * self.gamma(weight[0].size + 4, x.dtype))
        n = weight[0].size + 1
        return self.gamma(n + roundings, x.dtype) * terms + self.gamma(n + bias_roundings, x.dtype) * (bias + guard)

    def winograd_bound(self, x, weight, stride, padding, groups, magnitude, roundings):
        """Go through the four lines of the text for each tile and each output channel."""
        B, numerators, denominator, A = TRANSFORMS[stride]
        G, steps = numerators / denominator, {1: 4, 2: 2}[stride]
        dtype, guard, depth_in = x.dtype, float(self.guard(x.dtype)), weight.shape[1]
        height, width = ((x.shape[2 + i] + 2 * padding[i] - 3) // stride + 1 for i in (0, 1))
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
                for i in range(0, height, 4):
                    for j in range(0, width, 4):
                        top, left = stride * i, stride * j
                        d = padded[n, first : first + depth_in, top : top + len(B), left : left + len(B)]
                        v = np.abs(B @ d @ B.T) + guard
                        dv = self.gamma(6, dtype) * (np.abs(B) @ (np.abs(d) + guard) @ np.abs(B).T)
                        p = ((v + dv) * (u + du)).sum(axis=0)
                        dm = self.gamma(depth_in, dtype) * p + (dv * (u + du) + (v + dv) * du).sum(axis=0)
                        y = np.abs(A) @ (dm + self.gamma(7, dtype) * (p + dm)) @ np.abs(A).T
                        bound[n, o, i : i + 4, j : j + 4] = y
        return bound[:, :, :height, :width] * (1 + self.gamma(5 * depth_in + 100, "d"))

    def block_bound(self, block, x):
        """Evaluate the text of `verify.py`."""
        stride, dtype = (block.stride, block.stride), x.dtype
        error, magnitude, constants = 0, np.zeros_like(block.fold()[0], float), 0
        for kernel, norm in block.convolutions():
            scale = np.abs(norm.gamma.data.astype(float)) / np.sqrt(
                norm.running_var.astype(float) + dtype.type(norm.eps)
            )
            is_3x3 = kernel.shape[2] == 3
            padding, middle = ((1, 1), slice(0, 3)) if is_3x3 else ((0, 0), slice(1, 2))
            algorithm = verify.choose_algorithm(x.shape, kernel.shape, stride, padding, block.groups)
            own = self.bound(x, kernel, stride, padding, block.groups, algorithm)
            error = error + scale[:, None, None] * own
            magnitude[:, :, middle, middle] += np.abs(kernel) * scale[:, None, None, None]
            constants = constants + np.abs(norm.beta.data) + np.abs(norm.running_mean * scale)
        constants = constants[:, None, None]
        terms = self.absolute_convolution(x, magnitude.astype(dtype), stride, (1, 1), block.groups)
        terms = terms * (1 + 2 * self.gamma(magnitude[0].size + 4, dtype)) + constants + float(self.guard(dtype))
        error = error * (1 + self.gamma(9, dtype)) + self.gamma(9, dtype) * terms
        kernel = block.fold()[0]
        algorithm = verify.choose_algorithm(x.shape, kernel.shape, stride, (1, 1), block.groups)
        fused = self.bound(x, kernel, stride, (1, 1), block.groups, algorithm, magnitude, 6, constants, 7)
        return (error + fused) * (1 + self.gamma(12, dtype)), algorithm


@pytest.fixture(params=ARITHMETICS)
def arithmetic(request, monkeypatch):
    arithmetic = Arithmetic(request.param)
    if request.param == "coarse":
        for module in (rounding, verify):
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
    bound, algorithm = verify.fusion_bound(block, x)
    expected, expected_algorithm = arithmetic.block_bound(block, x)
    assert bound.dtype == np.float64 and algorithm == expected_algorithm
    np.testing.assert_allclose(bound, expected, rtol=tolerance(dtype))


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
