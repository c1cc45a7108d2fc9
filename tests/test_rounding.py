"""The rounding bounds of convolutions are the formulas of their text, and rounding can reach them."""

import numpy as np
import pytest

from repvgg_np import reference, rounding
from repvgg_np.kernels import winograd_five, winograd_strided, winograd_transforms
from repvgg_np.reference_winograd import FIVE, FOUR, STRIDED, TRANSFORMS
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma, underflow_guard
from tests.rounding_formula import tolerance
from tests.tracing import trace


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


def test_the_form_is_that_which_the_convolution_takes_for_its_output_and_its_batch(monkeypatch):
    asked = []
    monkeypatch.setattr(rounding, "form_of", lambda *arguments: asked.append(arguments) or FOUR)
    rounding.convolution_bound(np.ones((2, 5, 7, 9)), np.ones((4, 5, 3, 3)), (1, 1), (1, 0), 1, "winograd")
    assert asked == [((1, 1), (7, 7), 2)]


def test_what_was_rounded_before_is_given_by_name_alone():
    kernel = ones(1, 1, 1, 1)
    with pytest.raises(TypeError, match="positional argument"):
        convolution_bound(kernel, kernel, (1, 1), (0, 0), 1, "im2col", kernel)


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
