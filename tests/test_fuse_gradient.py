"""The gradient of a fused block, carried back to the branches, is the gradient of the branches."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from repvgg_np import reference
from repvgg_np.fuse import identity_kernel
from repvgg_np.fuse_gradient import fuse_backward
from tests.exact import EPS, exact_arrays, exact_blocks, with_identity


def branch_gradients(grad_out, x, kernel, norm, stride, groups):
    """Backpropagate through batch norm (with constant statistics) and convolution, from the definitions."""
    gamma, _, mean, var = norm
    std = reference.square_root(var + EPS)
    strides, padding = (stride, stride), (kernel.shape[2] // 2,) * 2
    out = reference.conv2d(x, kernel, None, strides, padding, groups)
    xhat = (out - mean[:, None, None]) / std[:, None, None]
    grad_conv = grad_out * (gamma / std)[:, None, None]
    _, grad_kernel, _ = reference.conv2d_backward(grad_conv, x, kernel, strides, padding, groups)
    return grad_kernel, (grad_out * xhat).sum(axis=(0, 2, 3)), grad_out.sum(axis=(0, 2, 3))


@given(exact_blocks(), exact_arrays((1, 1, 1, 1)))
def test_the_gradient_through_the_fused_kernel_is_the_gradient_through_the_branches(block, number):
    x, kernels, norms, stride, groups = block
    kernels = list(kernels)
    if with_identity(x, kernels, stride):
        kernels.append(identity_kernel(x.shape[1], groups, object))
    height, width = (-(-size // stride) for size in x.shape[2:])
    count = np.arange(kernels[0].shape[0] * height * width).reshape(1, -1, height, width)
    grad_out = count * number[0, 0, 0, 0] + Fraction(1, 3)
    branches = [(kernel, norm[0], norm[2], norm[3], EPS) for kernel, norm in zip(kernels, norms, strict=False)]
    # The fused convolution's own gradients do not depend on its kernel: any of the right shape will do.
    _, grad_kernel, grad_bias = reference.conv2d_backward(
        grad_out, x, np.zeros_like(kernels[0]), (stride, stride), (1, 1), groups
    )
    ours = fuse_backward(grad_kernel, grad_bias, branches)
    for gradients, kernel, norm in zip(ours, kernels, norms, strict=False):
        for one, other in zip(gradients, branch_gradients(grad_out, x, kernel, norm, stride, groups), strict=True):
            assert (one == other).all()


def test_an_eps_of_a_wider_dtype_promotes_nothing():
    one = np.ones(2, np.float32)
    branch = (np.ones((2, 1, 1, 1), np.float32), one, one, one, np.float64(1e-5))
    assert {a.dtype for a in fuse_backward(np.ones((2, 1, 3, 3), np.float32), one, [branch])[0]} == {one.dtype}


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 3, 5), (3, 1, 3, 3), (1, 1, 3, 3)])
def test_a_kernel_gradient_that_does_not_fit_is_refused_with_both_shapes(shape):
    branch = (np.ones((2, 1, 1, 1)), *np.ones((3, 2)), 0)
    message = f"grad_kernel must have the shape (2, 1, 3, 3), got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        fuse_backward(np.ones(shape), np.ones(2), [branch])


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1)])
def test_a_bias_gradient_that_does_not_fit_is_refused_with_both_shapes(shape):
    branch = (np.ones((2, 1, 1, 1)), *np.ones((3, 2)), 0)
    with pytest.raises(ValueError, match=re.escape(f"grad_bias must have the shape (2,), got {shape}")):
        fuse_backward(np.ones((2, 1, 3, 3)), np.ones(shape), [branch])


def test_a_branch_that_is_neither_3x3_nor_1x1_is_refused():
    branch = (np.ones((2, 1, 5, 5)), *np.ones((3, 2)), 0)
    with pytest.raises(ValueError, match=r"kernel of a branch must be 3x3 or 1x1, got the shape \(2, 1, 5, 5\)"):
        fuse_backward(np.ones((2, 1, 3, 3)), np.ones(2), [branch])
