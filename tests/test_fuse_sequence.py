"""The six transforms of the Diverse Branch Block, proved on exact fractions: `==`, no tolerance."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.fuse import fuse_branches
from repvgg_np.fuse_sequence import (
    add_branches,
    average_kernel,
    concatenate,
    fold_batch_norm_after_bias,
    fold_sequence,
    join_groups,
    pad_kernel,
)
from tests.conftest import WITHOUT_JIT
from tests.exact import EPS, exact_arrays, exact_batch_norms

few = settings(
    max_examples=4 if WITHOUT_JIT else 15
)  # an identity of polynomials that holds at random holds everywhere


def conv(x, kernel, bias=None, stride=1, groups=1):
    padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    return reference.conv2d(x, kernel, bias, (stride, stride), padding, groups)


@given(exact_arrays((1, 2, 2, 1)), exact_arrays((2, 2, 3, 3)), exact_arrays((2,)), exact_batch_norms(2))
@few
def test_a_batch_norm_folds_into_a_convolution_that_has_a_bias(x, kernel, bias, norm):
    folded = fold_batch_norm_after_bias(kernel, bias, *norm, EPS)
    assert (conv(x, *folded) == reference.batch_norm(conv(x, kernel, bias), *norm, EPS)).all()


sizes = st.sampled_from([(1, 1), (3, 1), (1, 3), (3, 3)])


@given(exact_arrays((1, 2, 4, 3)), sizes, st.sampled_from([1, 2]), st.data())
@few
def test_a_smaller_kernel_is_a_larger_one_with_a_border_of_zeros(x, size, stride, data):
    kernel = data.draw(exact_arrays((2, 2, *size)))
    padded = pad_kernel(kernel, (3, 3))
    assert padded.shape == (2, 2, 3, 3) and padded.dtype == object
    assert (conv(x, padded, stride=stride) == conv(x, kernel, stride=stride)).all()


@pytest.mark.parametrize("size", [(5, 3), (3, 5), (9, 7), (7, 9)])
def test_a_kernel_stands_in_the_middle_of_its_border(size):
    kernel = np.arange(18).reshape(2, 1, 3, 3)
    rows, columns = (size[0] - 3) // 2, (size[1] - 3) // 2
    expected = np.pad(kernel, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    np.testing.assert_array_equal(pad_kernel(kernel, size), expected)


@given(exact_arrays((1, 2, 3, 3)), st.lists(sizes, min_size=1, max_size=3), st.data())
@few
def test_parallel_branches_of_any_sizes_add_up(x, sizes, data):
    branches = [(data.draw(exact_arrays((2, 2, *size))), data.draw(exact_arrays((2,)))) for size in sizes]
    expected = sum(conv(x, *branch) for branch in branches)
    assert (conv(x, *add_branches(branches)) == expected).all()


@pytest.mark.parametrize("sizes", [((1, 3), (1, 1)), ((3, 1), (1, 1)), ((1, 3), (5, 1))])
def test_the_sum_is_as_high_as_the_highest_branch_and_as_wide_as_the_widest(sizes):
    kernel, _ = add_branches([(np.ones((1, 1, *size)), np.zeros(1)) for size in sizes])
    assert kernel.shape[2:] == (max(height for height, _ in sizes), max(width for _, width in sizes))


@given(exact_arrays((2, 2, 3, 3)), exact_arrays((2,)), exact_arrays((2, 2, 1, 1)), exact_arrays((2,)))
@few
def test_of_3x3_and_1x1_branches_it_is_the_papers_fusion(large, one, small, other):
    branches = [(large, one), (small, other)]
    for ours, papers in zip(add_branches(branches), fuse_branches(branches), strict=True):
        assert (ours == papers).all()


@st.composite
def sequences(draw):
    """Draw a picture, a 1x1 convolution, a convolution after it, a stride and groups."""
    groups = draw(st.sampled_from([1, 2]))
    depth, middle, columns = (draw(st.integers(1, 2)) for _ in range(3))
    size = draw(st.sampled_from([(3, 3), (1, 1), (3, 1)]))
    first = draw(exact_arrays((groups * middle, depth, 1, 1))), draw(exact_arrays((groups * middle,)))
    second = draw(exact_arrays((groups * columns, middle, *size))), draw(exact_arrays((groups * columns,)))
    x = draw(exact_arrays((1, groups * depth, draw(st.integers(1, 3)), draw(st.integers(1, 3)))))
    return x, first, second, draw(st.sampled_from([1, 2])), groups


def bordered(out, bias, padding):
    """Put a border of the bias around a picture."""
    inside = reference.pad(out - bias[:, None, None], padding)
    return inside + bias[:, None, None]


@given(sequences())
@few
def test_a_1x1_convolution_goes_into_the_one_after_it_if_the_border_is_its_bias(case):
    x, first, second, stride, groups = case
    padding = (second[0].shape[2] // 2, second[0].shape[3] // 2)
    between = bordered(conv(x, *first, groups=groups), first[1], padding)
    expected = reference.conv2d(between, *second, (stride, stride), (0, 0), groups)
    assert (conv(x, *fold_sequence(first, second, groups), stride, groups) == expected).all()


def test_a_sequence_may_have_more_channels_than_small_numbers_count():
    kernel, bias = fold_sequence((np.ones((300, 1, 1, 1)), np.ones(300)), (np.ones((1, 300, 1, 1)), np.ones(1)))
    assert kernel == 300 and bias == 301


def test_with_a_border_of_zeros_it_would_be_another_function():
    ones = np.array([Fraction(1)], object)
    first, second = (np.ones((1, 1, 1, 1), object), ones), (np.ones((1, 1, 3, 3), object), 0 * ones)
    x = np.zeros((1, 1, 3, 3), object) + Fraction(0)
    zeros = conv(conv(x, *first), *second)
    folded = conv(x, *fold_sequence(first, second))
    np.testing.assert_array_equal(zeros[0, 0], [[4, 6, 4], [6, 9, 6], [4, 6, 4]])
    assert (folded == 9).all()


@given(exact_arrays((1, 4, 2, 1)), exact_arrays((4, 2, 3, 1)), exact_arrays((4,)))
@few
def test_groups_are_convolutions_side_by_side(x, kernel, bias):
    both = [
        conv(part, k, b)
        for part, k, b in zip(*(np.split(a, 2, axis=i) for a, i in ((x, 1), (kernel, 0), (bias, 0))), strict=True)
    ]
    assert (conv(x, kernel, bias, groups=2) == np.concatenate(both, axis=1)).all()
    together = concatenate([(kernel[:2], bias[:2]), (kernel[2:], bias[2:])])
    assert (together[0] == kernel).all() and (together[1] == bias).all()


@given(exact_arrays((1, 4, 2, 1)), st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]), st.data())
@few
def test_many_groups_are_fewer_groups_with_zeros_between(x, groups, data):
    many, fewer = groups
    kernel = data.draw(exact_arrays((8, 4 // many, 3, 1)))
    joined = join_groups(kernel, many, fewer)
    assert joined.shape == (8, 4 // fewer, 3, 1)
    assert (conv(x, joined, groups=fewer) == conv(x, kernel, groups=many)).all()


def test_groups_that_are_joined_keep_their_channels_in_order():
    # Two channels in each of the six groups; group 5 has the last two of the third pair, or of all twelve.
    kernel = np.arange(1, 13).reshape(6, 2, 1, 1)
    pairs, one = join_groups(kernel, 6, 3)[..., 0, 0], join_groups(kernel, 6, 1)[..., 0, 0]
    for group in range(6):
        row = [2 * group + 1, 2 * group + 2]
        np.testing.assert_array_equal(pairs[group], [*row, 0, 0] if group % 2 == 0 else [0, 0, *row])
        np.testing.assert_array_equal(one[group], [0] * 2 * group + row + [0] * 2 * (5 - group))


def test_an_average_is_over_3x3_pixels_unless_another_size_is_wanted():
    np.testing.assert_array_equal(average_kernel(2), np.full((2, 1, 3, 3), 1 / 9, np.float32))
    assert average_kernel(2, 5).shape == (2, 1, 5, 5)


@given(exact_arrays((1, 2, 4, 5)))
@few
def test_the_average_over_a_window_is_a_convolution(x):
    out = reference.conv2d(x, average_kernel(2, 3, object), None, padding=(0, 0), groups=2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    assert (out == windows.sum(axis=(4, 5)) / 9).all()
    dense = join_groups(average_kernel(2, 3, object), 2, 1)
    assert (dense[[0, 1], [1, 0]] == 0).all() and (dense[[0, 1], [0, 1]] == Fraction(1, 9)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_dtype_is_promoted_and_no_argument_is_changed(dtype, rng):
    assert average_kernel(3).dtype == np.float32 and average_kernel(3, 5, dtype).dtype == dtype
    assert (average_kernel(2, 5, dtype) == dtype(1 / 25)).all()
    first = rng.normal(size=(4, 2, 1, 1)).astype(dtype), rng.normal(size=4).astype(dtype)
    second = rng.normal(size=(4, 2, 3, 3)).astype(dtype), rng.normal(size=4).astype(dtype)
    kept = [array.copy() for array in (*first, *second)]
    results = [*fold_sequence(first, second, 2), *add_branches([first]), *add_branches([second, first])]
    results += [pad_kernel(first[0], (1, 1)), join_groups(first[0], 2, 2), join_groups(first[0], 2, 1)]
    results += concatenate([first])
    results += fold_batch_norm_after_bias(*first, *(np.abs(first[1]) for _ in range(4)), np.float64(1e-5))
    assert {array.dtype for array in results} == {np.dtype(dtype)}
    for array in results:
        array[...] = 7
    for array, before in zip((*first, *second), kept, strict=True):
        np.testing.assert_array_equal(array, before)


FOUR, KERNEL = np.ones(4), np.ones((4, 2, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_kernel(KERNEL, (1, 3)), "size must be 3x3 or more by even numbers, got 1x3"),
        (lambda: pad_kernel(KERNEL, (3, 4)), "size must be 3x3 or more by even numbers, got 3x4"),
        (lambda: pad_kernel(KERNEL, (4, 3)), "size must be 3x3 or more by even numbers, got 4x3"),
        (lambda: pad_kernel(KERNEL, (3, 1)), "size must be 3x3 or more by even numbers, got 3x1"),
        (lambda: add_branches([]), "branches must not be empty"),
        (lambda: add_branches([(KERNEL, FOUR), (KERNEL[:2], FOUR[:2])]), r"same channels, got kernel \(2, 2, 3, 3\)"),
        (lambda: add_branches([(KERNEL[:2], FOUR[:2]), (KERNEL, FOUR)]), r"same channels, got kernel \(4, 2, 3, 3\)"),
        (lambda: add_branches([(KERNEL, FOUR[:3])]), r"must have the same channels, got .* bias \(3,\)"),
        (lambda: add_branches([(KERNEL, np.ones(5))]), r"must have the same channels, got .* bias \(5,\)"),
        (lambda: fold_sequence((KERNEL, FOUR), (KERNEL, FOUR)), "the first kernel must be 1x1, got 3x3"),
        (lambda: fold_sequence((KERNEL[:, :, :1, :2], FOUR), (KERNEL, FOUR)), "must be 1x1, got 1x2"),
        (
            lambda: fold_sequence((KERNEL[:3, :, :1, :1], FOUR[:3]), (KERNEL, FOUR)),
            r"must have the 2 channels that the second takes, got kernel \(3, 2, 1, 1\), bias \(3,\)",
        ),
        (lambda: fold_sequence((KERNEL[:2, :, :1, :1], FOUR), (KERNEL, FOUR)), r"the 2 channels .* bias \(4,\)"),
        (lambda: fold_sequence((KERNEL[:2, :, :1, :1], FOUR[:1]), (KERNEL, FOUR)), r"the 2 channels .* bias \(1,\)"),
        (
            lambda: fold_sequence((KERNEL[:, :, :1, :1], FOUR), (KERNEL, FOUR), 3),
            r"must have the 6 channels that the second takes, got kernel \(4, 2, 1, 1\), bias \(4,\)",
        ),
        (lambda: join_groups(KERNEL, 4, 3), "fewer must divide the 4 groups, got 3"),
        (lambda: join_groups(KERNEL, 4, 0), "fewer must divide the 4 groups, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
