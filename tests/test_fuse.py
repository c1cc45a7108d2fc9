"""The branch-fusion algebra (section 3.3 of the paper), proved on exact fractions: `==`, no tolerance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np import reference
from repvgg_np.fuse import fold_batch_norm, fuse_branches, identity_kernel, pad_1x1_to_3x3
from tests.exact import EPS, exact_arrays, exact_batch_norms, exact_blocks, fraction, with_identity


def branch_form(x, kernels, norms, stride, groups):
    """Compute BN3(X * W3) + BN1(X * W1) + BN0(X), from the definitions."""
    strides = (stride, stride)
    out = reference.batch_norm(reference.conv2d(x, kernels[0], None, strides, (1, 1), groups), *norms[0], EPS)
    out = out + reference.batch_norm(reference.conv2d(x, kernels[1], None, strides, (0, 0), groups), *norms[1], EPS)
    if with_identity(x, kernels, stride):
        out = out + reference.batch_norm(x, *norms[2], EPS)
    return out


def folded_branches(x, kernels, norms, stride, groups):
    branches = [fold_batch_norm(kernel, *norm, EPS) for kernel, norm in zip(kernels, norms, strict=False)]
    if with_identity(x, kernels, stride):
        branches.append(fold_batch_norm(identity_kernel(x.shape[1], groups, object), *norms[2], EPS))
    return branches


@given(exact_blocks())
def test_the_fused_block_equals_the_three_branches(block):
    x, _, _, stride, groups = block
    kernel, bias = fuse_branches(folded_branches(*block))
    assert kernel.dtype == bias.dtype == object
    fused = reference.conv2d(x, kernel, bias, (stride, stride), (1, 1), groups)
    assert (fused == branch_form(*block)).all()


@given(exact_blocks(), st.randoms(use_true_random=False))
def test_the_order_of_the_branches_does_not_matter(block, random):
    branches = folded_branches(*block)
    shuffled = random.sample(branches, len(branches))
    for one, other in zip(fuse_branches(branches), fuse_branches(shuffled), strict=True):
        assert (one == other).all()


@given(exact_blocks())
def test_fusing_twice_changes_nothing(block):
    once = fuse_branches(folded_branches(*block))
    for one, other in zip(once, fuse_branches([once]), strict=True):
        assert (one == other).all()


@given(exact_arrays((1, 2, 3, 2)), exact_arrays((2, 2, 3, 3)), exact_arrays((2, 2, 3, 3)), fraction)
def test_convolution_is_linear_in_the_kernel(x, one, other, factor):
    together = reference.conv2d(x, one + factor * other)
    assert (together == reference.conv2d(x, one) + factor * reference.conv2d(x, other)).all()


@given(exact_arrays((1, 4, 3, 2)), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.data())
def test_a_1x1_convolution_is_a_3x3_convolution_with_a_zero_border(x, groups, stride, data):
    kernel = data.draw(exact_arrays((4, 4 // groups, 1, 1)))
    small = reference.conv2d(x, kernel, None, (stride, stride), (0, 0), groups)
    assert (small == reference.conv2d(x, pad_1x1_to_3x3(kernel), None, (stride, stride), (1, 1), groups)).all()


@given(exact_arrays((1, 6, 2, 3)), st.sampled_from([1, 2, 3, 6]))
def test_the_identity_kernel_copies_its_input_for_any_groups(x, groups):
    kernel = identity_kernel(6, groups, object)
    assert (reference.conv2d(x, kernel, None, padding=(0, 0), groups=groups) == x).all()


@given(exact_arrays((1, 2, 2, 3)), exact_arrays((3, 2, 3, 3)), exact_batch_norms(3))
def test_a_batch_norm_folds_into_the_kernel_before_it(x, kernel, norm):
    folded, bias = fold_batch_norm(kernel, *norm, EPS)
    expected = reference.batch_norm(reference.conv2d(x, kernel), *norm, EPS)
    assert (reference.conv2d(x, folded, bias) == expected).all()


def test_a_fusion_done_with_a_pencil():
    # One channel. The 3x3 kernel is all ones, its batch norm divides by 2 and adds 1; the 1x1 kernel is 3, doubled;
    # the identity is shifted by -mean = -5.
    one = [np.array([v]) for v in (1.0, 1.0, 0.0, 4.0)]
    branches = [
        fold_batch_norm(np.ones((1, 1, 3, 3)), *one, 0),
        fold_batch_norm(np.full((1, 1, 1, 1), 3.0), *(np.array([v]) for v in (2.0, 0.0, 0.0, 1.0)), 0),
        fold_batch_norm(identity_kernel(1, 1, np.float64), *(np.array([v]) for v in (1.0, 0.0, 5.0, 1.0)), 0),
    ]
    kernel, bias = fuse_branches(branches)
    np.testing.assert_array_equal(kernel[0, 0], [[0.5, 0.5, 0.5], [0.5, 0.5 + 6 + 1, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(bias, [1 + 0 - 5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_dtype_is_promoted_and_no_argument_is_changed(dtype, rng):
    kernel = rng.normal(size=(4, 4, 1, 1)).astype(dtype)
    norm = [rng.uniform(0.5, 1, 4).astype(dtype) for _ in range(4)]
    kept = [a.copy() for a in (kernel, *norm)]
    folded, bias = fold_batch_norm(kernel, *norm, 1e-5)
    fused = fuse_branches([(folded, bias), (identity_kernel(4, 1, dtype), bias)])
    assert {a.dtype for a in (folded, bias, *fused)} == {np.dtype(dtype)}
    only, only_bias = fuse_branches([(pad_1x1_to_3x3(kernel), bias)])
    only[...], only_bias[...] = 7, 7
    for array, before in zip((kernel, *norm), kept, strict=True):
        np.testing.assert_array_equal(array, before)
    assert not (bias == 7).any()


def test_an_eps_of_a_wider_dtype_promotes_nothing():
    one = np.ones(2, np.float32)
    folded, bias = fold_batch_norm(np.ones((2, 1, 1, 1), np.float32), one, one, one, one, np.float64(1e-5))
    assert folded.dtype == bias.dtype == np.float32


def test_a_variance_of_zero_is_a_variance():
    folded, bias = fold_batch_norm(np.ones((2, 1, 1, 1)), *np.ones((3, 2)), np.zeros(2), 0.25)
    assert (folded == 2).all() and (bias == 1 - 2).all()


def test_the_identity_kernel_is_the_unit_matrix_in_float32_unless_told_otherwise():
    kernel = identity_kernel(3)
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[:, :, 0, 0], np.eye(3))


FOUR = np.ones(4)
KERNEL = np.ones((4, 2, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fold_batch_norm(KERNEL, FOUR[:3], FOUR, FOUR, FOUR, 0),
            r"gamma must have the shape \(4,\) .* got \(3,\)",
        ),
        (lambda: fold_batch_norm(KERNEL, FOUR, FOUR[:1], FOUR, FOUR, 0), r"beta must have the shape \(4,\)"),
        (lambda: fold_batch_norm(KERNEL, FOUR, FOUR, KERNEL, FOUR, 0), r"running_mean must have the shape \(4,\)"),
        (
            lambda: fold_batch_norm(KERNEL, FOUR, FOUR, FOUR, np.array([4, 0, -0.5, -0.25]), 9),
            "running_var must not be negative or NaN, got -0.5",
        ),
        (
            lambda: fold_batch_norm(KERNEL, FOUR, FOUR, FOUR, FOUR * np.nan, 0),
            "running_var must not be negative or NaN, got nan",
        ),
        (
            lambda: pad_1x1_to_3x3(KERNEL),
            r"kernel must have the shape \(C_out, C_in/groups, 1, 1\), got \(4, 2, 3, 3\)",
        ),
        (lambda: pad_1x1_to_3x3(FOUR), "kernel must have the shape"),
        (lambda: pad_1x1_to_3x3(KERNEL[:, :, :1, :0]), "kernel must have the shape"),
        (lambda: identity_kernel(4, 3), "groups must divide the 4 channels, got 3"),
        (lambda: identity_kernel(4, 0), "groups must divide the 4 channels, got 0"),
        (lambda: fuse_branches([]), "branches must not be empty"),
        (
            lambda: fuse_branches([(KERNEL, FOUR), (KERNEL[:3], FOUR), (KERNEL[:2], FOUR)]),
            r"branches must have the same channels, got kernel \(3, 2, 3, 3\), bias \(4,\)",
        ),
        (
            lambda: fuse_branches([(KERNEL[:3], FOUR[:3]), (KERNEL, FOUR)]),
            r"branches must have the same channels, got kernel \(4, 2, 3, 3\), bias \(4,\)",
        ),
        (
            lambda: fuse_branches([(KERNEL, FOUR), (KERNEL[:3], FOUR[:3])]),
            r"branches must have the same channels, got kernel \(3, 2, 3, 3\), bias \(3,\)",
        ),
        (
            lambda: fuse_branches([(KERNEL, FOUR), (KERNEL, np.ones(5))]),
            r"branches must have the same channels, got kernel \(4, 2, 3, 3\), bias \(5,\)",
        ),
        (lambda: fuse_branches([(KERNEL, FOUR), (KERNEL, FOUR[:3])]), "branches must have the same channels"),
        (lambda: fuse_branches([(KERNEL, FOUR[:3]), (KERNEL, FOUR)]), "branches must have the same channels"),
        (lambda: fuse_branches([(KERNEL[:, :, :2], FOUR)]), "kernel must have the shape"),
        (lambda: fuse_branches([(np.ones((4, 2, 5, 5)), FOUR)]), "kernel must have the shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
