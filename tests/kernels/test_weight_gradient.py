"""The gradient of a kernel, directly and in Winograd's domain, is the definition's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.kernels import conv2d_backward, convolution, convolution_backward, winograd_backward, winograd_transforms
from repvgg_np.kernels.gemm import round_up
from repvgg_np.kernels.gradient_tiles import gradient_tile_of_one_register, gradient_tile_of_two_registers
from repvgg_np.kernels.layout import channels_last
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.reference_winograd import FOUR, TRANSFORMS
from repvgg_np.rounding import gamma
from tests import strategies
from tests.bounds import weight_gradient_bound
from tests.tracing import trace


def lanes_of(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def integers(rng, shape, dtype):
    return rng.integers(-9, 10, shape).astype(dtype)


@given(st.booleans(), st.integers(0, 3), st.integers(0, 7), strategies.dtypes, strategies.seeds)
def test_a_tile_adds_up_outer_products_along_its_walk(two, outer, inner, dtype, seed):
    rng = np.random.default_rng(seed)
    lanes = lanes_of(dtype)
    last = int(rng.integers(1, lanes + 1))
    width = lanes * two + last
    outer_step, inner_step, b_step = (int(step) for step in rng.integers(0, 9, 3))
    b_step += width
    rows = [int(row) for row in rng.integers(0, 20, 6)]
    a = integers(rng, 20 + outer * outer_step + inner * inner_step, dtype)
    b = integers(rng, 3 + max(outer * inner, 1) * b_step, dtype)  # not a number more than what the walk reads
    # The last rows of a matrix: the sixth, say, is the fifth once more.
    targets = [2 + i * 2 * lanes for i in range(6)]
    for i in range(int(rng.integers(0, 5)), 5):
        rows[i + 1], targets[i + 1] = rows[i], targets[i]
    grad = integers(rng, 2 + 6 * 2 * lanes, dtype)
    expected = grad.copy()
    for i, target in dict(zip(range(6), targets, strict=True)).items():
        if target in targets[:i]:
            continue
        for pixel in range(outer * inner):
            number = a[rows[i] + pixel // inner * outer_step + pixel % inner * inner_step]
            expected[target : target + width] += number * b[3 + pixel * b_step :][:width]
    tile = gradient_tile_of_two_registers if two else gradient_tile_of_one_register
    tile(a, tuple(rows), b, 3, (outer, outer_step, inner, inner_step, b_step), last, grad, tuple(targets))
    np.testing.assert_array_equal(grad, expected)


@given(
    st.integers(1, 5),
    st.sampled_from([(1, 1), (1, 2), (2, 3), (5, 7), (8, 8), (16, 9), (1, 257)]),
    st.integers(1, 20),
    st.sampled_from([1, 2, 15, 16, 17, 33, 48]),
    st.integers(1, 3),
    st.sampled_from([1, 100, 1000, 10**5]),
    strategies.seeds,
)
def test_however_pixels_are_dealt_out_to_pictures_the_gradient_of_a_1x1_kernel_is_exact_on_integers(
    n, size, depth, columns, groups, pixel_bytes, seed
):
    rng = np.random.default_rng(seed)
    x, grad_out = integers(rng, (n, groups * depth, *size), float), integers(rng, (n, groups * columns, *size), float)
    weight = np.zeros((groups * columns, depth, 1, 1))
    _, expected, _ = reference.conv2d_backward(grad_out, x, weight, padding=(0, 0), groups=groups)
    rows = (channels_last(array.astype(np.float32)) for array in (x, grad_out))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution_backward, "PIXEL_BYTES", pixel_bytes)
        ours = convolution_backward.grad_weight(*rows, (1, 1), (1, 1), (0, 0), groups)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)


def by_winograd(case, workers=1, most_tiles=winograd_backward.MOST_TILES):
    """Compute the gradient of the kernel as on a machine with that many threads, in blocks of so many tiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd_backward, "get_num_threads", lambda: workers)
        patch.setattr(winograd_backward, "MOST_TILES", most_tiles)
        pixels = (channels_last(array) for array in (case.x, case.grad_out))
        return winograd_backward.grad_weight(*pixels, case.padding, case.groups)


def by_definition(case):
    case = case.astype(np.float64)
    return reference.conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry)[1]


def own_bound(case):
    """Bound what the definition itself rounds in float64: a sum over all pixels."""
    return gamma(case.grad_out[:, 0].size + 1, np.float64) * by_definition(case.absolute())


most_tiles = st.sampled_from([1, 2, 5, 128])


@given(strategies.three_by_three, strategies.dtypes, st.integers(1, 3), most_tiles)
def test_in_winograds_domain_the_gradient_lies_within_its_rounding_bound(case, dtype, workers, most_tiles):
    case = case.astype(dtype)
    ours = by_winograd(case, workers, most_tiles)
    bound = weight_gradient_bound(case.x, case.grad_out, case.padding, case.groups, most_tiles) + own_bound(case)
    assert ours.dtype == dtype and ours.shape == case.weight.shape
    assert (np.abs(ours - by_definition(case)) <= bound).all()


@given(strategies.three_by_three, strategies.dtypes)
def test_directly_the_gradient_lies_within_its_rounding_bound(case, dtype):
    case = case.astype(dtype)
    _, ours, _ = conv2d_backward(case.grad_out, case.x, case.weight, **case.geometry, algorithm="im2col")
    roundings = case.grad_out[:, 0].size + 1
    bound = gamma(roundings, dtype) * by_definition(case.absolute()) * (1 + gamma(roundings, np.float64))
    assert (np.abs(ours - by_definition(case)) <= bound + own_bound(case)).all()


@given(strategies.three_by_three, strategies.dtypes, st.integers(2, 5), most_tiles)
def test_the_number_of_threads_does_not_change_a_bit(case, dtype, workers, most_tiles):
    case = case.astype(dtype)
    assert by_winograd(case, workers, most_tiles).tobytes() == by_winograd(case, 1, most_tiles).tobytes()


# Fewer channels than a register has lanes, one more, two registers, one more; fewer rows than a tile has, one more.
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 32, 33])
@pytest.mark.parametrize("depth", [1, 5, 6, 7, 17])
@pytest.mark.parametrize(("n", "height", "width", "padding"), [(1, 1, 1, (1, 1)), (3, 5, 9, (0, 2)), (2, 8, 4, (2, 1))])
def test_channels_around_the_size_of_a_register_are_all_there(columns, depth, n, height, width, padding, rng):
    x = rng.normal(size=(n, 2 * depth, height, width)).astype(np.float32)
    out_size = (height + 2 * padding[0] - 2, width + 2 * padding[1] - 2)
    grad_out = rng.normal(size=(n, 2 * columns, *out_size)).astype(np.float32)
    weight = np.zeros((2 * columns, depth, 3, 3), np.float32)
    case = strategies.Convolution(x, weight, weight[:, 0, 0, 0], grad_out, (1, 1), padding, 2)
    bound = weight_gradient_bound(x, grad_out, padding, 2) + own_bound(case)
    assert (np.abs(by_winograd(case) - by_definition(case)) <= bound).all()


@pytest.mark.parametrize("kind", [1, 1e3])
def test_rounding_takes_the_gradient_to_a_thousandth_of_its_bound_and_never_above_it(kind, rng):
    shape = ((2, 3, 13, 10), (2, 4, 13, 10))
    x, grad_out = ((kind + rng.normal(size=size)).astype(np.float32) for size in shape)
    weight = np.zeros((4, 3, 3, 3), np.float32)
    case = strategies.Convolution(x, weight, weight[:, 0, 0, 0], grad_out, (1, 1), (1, 1), 1)
    share = np.abs(by_winograd(case) - by_definition(case)) / weight_gradient_bound(x, grad_out, (1, 1), 1)
    assert 1 / 1000 < share.max() <= 1


def test_winograds_domain_is_used_where_winograd_is_chosen_and_direct_is_asked_for_nowhere(monkeypatch):
    called = []
    for module in (winograd_backward, convolution_backward):
        grad_weight = module.grad_weight
        monkeypatch.setattr(
            module, "grad_weight", lambda *a, module=module, f=grad_weight: called.append(module) or f(*a)
        )
    x, weight = np.ones((1, 64, 8, 8), np.float32), np.ones((64, 64, 3, 3), np.float32)
    assert convolution.choose_algorithm(x.shape, weight.shape, (1, 1), (1, 1), 1) == "winograd"
    conv2d_backward(x, x, weight)
    conv2d_backward(x, x, weight, algorithm="im2col")
    conv2d_backward(x[:, :, :4, :4], x, weight, stride=2)
    conv2d_backward(x[:, :2], x[:, :2], weight[:2, :2])
    assert called == [winograd_backward, *[convolution_backward] * 3]


def test_no_pictures_have_no_gradient():
    weight = np.zeros((4, 2, 3, 3), np.float32)
    case = strategies.Convolution(
        np.zeros((0, 2, 5, 5), np.float32), weight, weight[:, 0, 0, 0], np.zeros((0, 4, 5, 5), np.float32),
        (1, 1), (1, 1), 1,
    )  # fmt: skip
    assert by_winograd(case).shape == (4, 2, 3, 3) and not by_winograd(case).any()


@pytest.mark.parametrize("where", ["x", "grad_out"])
def test_a_nan_comes_through(where, rng):
    arrays = {name: rng.normal(size=(1, 3, 6, 6)).astype(np.float32) for name in ("x", "grad_out")}
    arrays[where][0, 1, 3, 3] = np.nan
    weight = np.zeros((3, 3, 3, 3), np.float32)
    case = strategies.Convolution(arrays["x"], weight, weight[:, 0, 0, 0], arrays["grad_out"], (1, 1), (1, 1), 1)
    grad = by_winograd(case) if where == "x" else by_winograd(case).swapaxes(0, 1)
    assert np.isnan(grad[:, 1]).all() and np.isfinite(grad[:, [0, 2]]).all()


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), strategies.dtypes, strategies.seeds
)  # fmt: skip
def test_dm_is_a_times_dy_times_a_transposed_exactly_on_small_integers(height, width, count, dtype, seed):
    rng = np.random.default_rng(seed)
    lanes, channel = lanes_of(dtype), int(rng.integers(0, 4))
    a = TRANSFORMS[FOUR].a_transposed
    top, left = (4 * int(rng.integers(0, -(-size // 4))) for size in (height, width))
    grad = integers(rng, (2, height, width, channel + count + 1), dtype)
    square = np.pad(grad[1], ((0, 4), (0, 4), (0, 0)))[top : top + 4, left : left + 4, channel : channel + count]
    row = round_up(count, lanes)
    m, room = np.full((36, row + 3), np.nan, dtype), np.empty(36 * lanes, dtype)
    winograd_backward.transform_gradient(
        grad.ravel(), grad.shape[1:], 1, top, left, channel, count, m.reshape(-1), 2, row + 3, room
    )
    expected = np.full_like(m, np.nan)
    expected[:, 2 : 2 + count] = np.einsum("ki,klc,lj->ijc", a, square, a).reshape(36, count)
    expected[:, 2 + count : 2 + row] = 0
    np.testing.assert_array_equal(m, expected)


def test_the_transforms_go_through_as_many_roundings_as_are_counted(monkeypatch):
    transforms = TRANSFORMS[FOUR]
    sizes, most = trace(monkeypatch, winograd_transforms, "times_a_transposed", 4)
    np.testing.assert_array_equal(sizes, np.abs(transforms.a_transposed.T))
    assert 2 * most == 4
    sizes, most = trace(monkeypatch, winograd_backward, "times_g_transposed", 6)
    np.testing.assert_array_equal(sizes, np.abs(transforms.g_numerators.T))
    assert 2 * most + 2 == 8
