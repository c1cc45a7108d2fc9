"""The pieces of Winograd's convolution are the products of the formula; however the work is cut, no bit changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference_winograd, rounding
from repvgg_np.kernels import conv2d, winograd
from repvgg_np.kernels.gemm import pack_panels, round_up
from repvgg_np.kernels.im2col import pack_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES
from repvgg_np.kernels.winograd_five import transform_back_five, transform_patch_five
from repvgg_np.kernels.winograd_kernel import FACTORS, FIVE, FOUR, STRIDED, transform_kernel
from repvgg_np.kernels.winograd_strided import different_matrix, transform_back_strided, transform_patch_strided
from repvgg_np.kernels.winograd_transforms import transform_back, transform_patch
from repvgg_np.reference_winograd import TRANSFORMS
from repvgg_np.rounding import KERNEL_TRANSFORM_ROUNDINGS, gamma
from tests import strategies

forms = st.sampled_from([FOUR, STRIDED, FIVE])


def lanes_of(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def different(form):
    """Return the numbers, of the 36, 81 or 49, of the first of each of the different matrices U."""
    return (
        [9 * i + j for i in range(6) for j in range(6)] if form == STRIDED else list(range(49 if form == FIVE else 36))
    )


def test_the_forms_have_the_names_and_the_sizes_that_they_have_in_the_reference():
    assert (FOUR, STRIDED, FIVE) == (reference_winograd.FOUR, reference_winograd.STRIDED, reference_winograd.FIVE)
    for form, transforms in TRANSFORMS.items():
        tile, side = transforms.a_transposed.shape
        assert winograd.sizes_of(form) == (side, tile, tile * transforms.stride)
        assert winograd.different_matrices(form) == len(different(form))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 200))
def test_the_larger_tiles_are_taken_where_they_multiply_less_for_all_pictures_and_u_together(height, width, pictures):
    multiplications = {form: winograd.multiplications(form, (height, width)) for form in (FOUR, FIVE)}
    fours, fives = (-(-height // side) * -(-width // side) for side in (4, 5))
    assert multiplications == {FOUR: 36 * fours, FIVE: 49 * fives}
    fewer = (pictures * fives + 12) * 49 < (pictures * fours + 12) * 36
    assert winograd.form_of((1, 1), (height, width), pictures) == (FIVE if fewer else FOUR)
    assert winograd.form_of((2, 2), (height, width), pictures) == STRIDED


def test_the_longest_stage_of_repvgg_has_the_larger_tiles_in_a_batch_and_the_smaller_ones_alone():
    assert winograd.form_of((1, 1), (14, 14), 1) == FOUR and winograd.form_of((1, 1), (14, 14), 32) == FIVE
    assert winograd.form_of((1, 1), (56, 56), 32) == FOUR and winograd.form_of((1, 1), (28, 28), 32) == FOUR


def test_of_the_81_matrices_of_stride_2_those_that_are_given_the_same_place_are_the_same(rng):
    g = TRANSFORMS[STRIDED].g_numerators
    u = (g @ rng.integers(-9, 10, (3, 3)) @ g.T).ravel()
    places = [different_matrix(p) for p in range(81)]
    assert places[:6] == list(range(6)) and set(places) == set(range(36))
    assert (u == u[different(STRIDED)][places]).all()


@given(
    forms,
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 100),
    st.integers(0, 3),
    st.integers(1, 4),
    strategies.dtypes,
    strategies.seeds,
)
def test_u_is_g_times_the_kernel_times_g_transposed_in_packed_order(
    form, groups, depth, columns, first_panel, workers, dtype, seed
):
    rng = np.random.default_rng(seed)
    lanes = lanes_of(dtype)
    first = min(first_panel * 2 * lanes, (columns - 1) // (2 * lanes) * 2 * lanes)
    count = columns - first if rng.integers(2) else min(columns - first, 2 * lanes)
    weight = rng.normal(size=(groups * columns, depth, 3, 3)).astype(dtype)
    g = TRANSFORMS[form].g_numerators / TRANSFORMS[form].g_denominator
    split = weight.reshape(groups, columns, depth, 3, 3)[:, first : first + count].astype(float)

    # Where each number goes, and 0 for none: the order is that of the dtype's registers.
    order = pack_panels(np.arange(1, depth * count + 1, dtype=dtype).reshape(depth, count)).astype(int)

    def packed(matrix, kernels):
        u = np.einsum("ik,qockl,jl->ijqco", matrix, kernels, matrix).reshape(-1, groups, depth * count)
        return np.pad(u[different(form)], ((0, 0), (0, 0), (1, 0)))[..., order]  # -> (36 or 49, groups, packed)

    exact, size = packed(g, split), packed(abs(g), abs(split))
    scales = np.outer(FACTORS[form], FACTORS[form]).ravel().astype(dtype)
    ours = np.full((scales.size, groups * depth * round_up(count, lanes) + lanes), np.nan, dtype)
    for worker in range(workers):
        winograd.transform_share(
            pack_kernel(weight, groups), depth, columns, first, count, form, scales, ours, worker, workers
        )
    assert np.isnan(ours[:, -lanes:]).all()
    ours = ours[:, :-lanes].reshape(exact.shape)
    before = gamma(KERNEL_TRANSFORM_ROUNDINGS[form], dtype) * size
    bound = before + (gamma(2, dtype) + gamma(4, np.float64)) * (np.abs(exact) + before) + gamma(8, np.float64) * size
    assert (np.abs(ours - exact) <= bound).all()


def test_only_the_rows_of_its_share_are_written_when_u_is_made():
    lanes = lanes_of(np.float32)
    panels, scales = pack_kernel(np.ones((2 * lanes, 3, 3, 3), np.float32), 1), np.ones(36, np.float32)
    u = np.full((36, 3 * 2 * lanes), np.nan, np.float32)
    transform_kernel(
        panels.ravel(), 0, 3, 2 * lanes, 0, 2 * lanes, (0, 3), FOUR, scales, u.reshape(-1), 0, u.shape[1], (1, 2)
    )
    written = ~np.isnan(u).reshape(36, 3, -1)
    assert written[:, 1].all() and not written[:, [0, 2]].any()


@given(
    forms,
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(-3, 12),
    st.integers(-3, 12),
    st.integers(1, 40),
    strategies.dtypes,
    strategies.seeds,
)
def test_v_is_b_transposed_times_the_patch_times_b_exactly_on_small_integers(
    form, height, width, top, left, depth, dtype, seed
):
    rng = np.random.default_rng(seed)
    lanes, channel = lanes_of(dtype), int(rng.integers(0, 4))
    b = TRANSFORMS[form].b_transposed
    side = len(b)
    x = rng.integers(-9, 10, (2, height, width, channel + depth + 1)).astype(dtype)
    bordered = np.pad(x[1], ((20, 20), (20, 20), (0, 0)))[..., channel : channel + depth]
    patch = bordered[20 + top : 20 + top + side, 20 + left : 20 + left + side]
    row = round_up(depth, lanes)
    v, room = np.full((side * side, row + 3), np.nan, dtype), np.empty(side * side * lanes, dtype)
    transforms = {FOUR: transform_patch, STRIDED: transform_patch_strided, FIVE: transform_patch_five}
    transforms[form](x.ravel(), x.shape[1:], 1, top, left, channel, depth, v.reshape(-1), 2, row + 3, room)
    expected = np.full_like(v, np.nan)
    expected[:, 2 : 2 + depth] = np.einsum("ik,klc,jl->ijc", b, patch, b).reshape(-1, depth)
    expected[:, 2 + depth : 2 + row] = 0
    np.testing.assert_array_equal(v, expected)


@given(
    forms,
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 40),
    st.booleans(),
    strategies.dtypes,
    strategies.seeds,
)
def test_y_is_a_transposed_times_m_times_a_exactly_and_stays_in_the_picture(
    form, height, width, count, relu, dtype, seed
):
    rng = np.random.default_rng(seed)
    lanes, column = lanes_of(dtype), int(rng.integers(0, 4))
    a = TRANSFORMS[form].a_transposed
    tile, side = a.shape
    top, left = (tile * int(rng.integers(0, -(-size // tile))) for size in (height, width))
    row = round_up(count, lanes)
    m, bias = np.full((side * side, row + 2), np.nan, dtype), np.zeros(column + row + 2 * lanes, dtype)
    m[:, 1 : 1 + count] = rng.integers(-9, 10, (side * side, count))
    bias[: column + count] = rng.integers(-9, 10, column + count)
    out = np.full((2, height, width, column + count + 1), np.nan, dtype)
    expected, shape = out.copy(), out.shape[1:]
    y = np.einsum("ik,klc,jl->ijc", a, m[:, 1 : 1 + count].reshape(side, side, count), a)
    y = y[: height - top, : width - left] + bias[column : column + count]
    channels = slice(column, column + count)
    expected[1, top : top + tile, left : left + tile, channels] = np.maximum(y, 0) if relu else y
    arguments = (m.reshape(-1), 1, row + 2, count, bias, column, relu, out.reshape(-1), shape, 1, top, left)
    if form != FOUR:
        transform_back_some = transform_back_strided if form == STRIDED else transform_back_five
        transform_back_some(*arguments, np.empty(36 * lanes, dtype))
    else:
        transform_back(*arguments)
    np.testing.assert_array_equal(out, expected)


def convolve(case, form, relu=False, workers=1, **limits):
    """Convolve by one form, as on a machine with that many threads, and with other limits in `winograd.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "get_num_threads", lambda: workers)
        patch.setattr(winograd, "form_of", lambda *arguments: form)
        for name, value in limits.items():
            patch.setattr(winograd, name, value)
        return conv2d(case.x, case.weight, case.bias, **case.geometry, algorithm="winograd", relu=relu)


@st.composite
def convolutions(draw):
    """Draw a convolution, and a form that serves its stride."""
    case = draw(strategies.winograd_convolutions)
    return case.astype(draw(strategies.dtypes)), STRIDED if case.stride == (2, 2) else draw(
        st.sampled_from([FOUR, FIVE])
    )


limits = {
    "several rounds over the output channels": {"U_BYTES": 1, "TILES_TO_SHARE_U": 1},
    "blocks of a tile or two": {"TILES_TO_SHARE_U": 1, "LEAST_TILES": 1, "MOST_TILES": 2},
    "one block": {"TILES_TO_SHARE_U": 1, "MOST_TILES": 10**6},
    "each thread its own U": {"TILES_TO_SHARE_U": 10**6},
    "each thread its own U, of one input channel at a time": {"TILES_TO_SHARE_U": 10**6, "OWN_U_BYTES": 1},
    "each thread its own U, of half of the input channels, for small blocks": {
        "TILES_TO_SHARE_U": 10**6,
        "OWN_U_BYTES": 20_000,
        "LEAST_TILES": 1,
        "MOST_TILES": 3,
    },
    "a shared U of a panel at a time, for small blocks": {
        "TILES_TO_SHARE_U": 1,
        "U_BYTES": 1,
        "LEAST_TILES": 1,
        "MOST_TILES": 3,
    },
}


@given(convolutions(), st.sampled_from(sorted(limits)), st.integers(1, 5))
def test_however_the_work_is_cut_no_bit_changes(case_and_form, name, workers):
    assert convolve(*case_and_form, workers=workers, **limits[name]).tobytes() == convolve(*case_and_form).tobytes()


@pytest.mark.parametrize("form", [FOUR, STRIDED, FIVE])
@pytest.mark.parametrize("name", sorted(limits))
def test_many_output_channels_in_any_rounds_have_the_same_bits(name, form, rng):
    stride = (TRANSFORMS[form].stride,) * 2
    for groups, columns in ((1, 70), (2, 41)):
        x = rng.normal(size=(2, 3 * groups, 9, 6)).astype(np.float32)
        weight = rng.normal(size=(groups * columns, 3, 3, 3)).astype(np.float32)
        bias = rng.normal(size=groups * columns).astype(np.float32)
        case = strategies.Convolution(x, weight, bias, bias, stride, (1, 1), groups)
        whole = convolve(case, form)
        for workers in (1, 2, 3):
            assert convolve(case, form, workers=workers, **limits[name]).tobytes() == whole.tobytes()


@given(convolutions())
def test_relu_in_the_output_pass_is_relu_afterwards(case_and_form):
    np.testing.assert_array_equal(convolve(*case_and_form, relu=True), np.maximum(convolve(*case_and_form), 0))


@given(convolutions())
def test_by_the_same_form_a_picture_has_the_same_bits_in_any_company(case_and_form):
    case, form = case_and_form
    alone = convolve(strategies.Convolution(case.x[-1:], *list(vars(case).values())[1:]), form)
    assert alone.tobytes() == convolve(case, form)[-1:].tobytes()


@given(strategies.three_by_three, strategies.dtypes)
def test_5x5_tiles_are_the_convolution_within_their_rounding_bound(case, dtype):
    case = case.astype(dtype)
    out = convolve(case, FIVE)
    bias = np.abs(case.bias.astype(np.float64))[:, None, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "form_of", lambda *arguments: FIVE)
        bound = rounding.convolution_bound(case.x, case.weight, **case.geometry, algorithm="winograd", bias=bias)
    wide = case.astype(np.float64)
    bound += rounding.convolution_bound(wide.x, wide.weight, **case.geometry, algorithm="im2col", bias=bias)
    assert (np.abs(out - strategies.exact_convolution(case)) <= bound).all()
