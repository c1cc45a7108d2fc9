"""What Hypothesis draws for exact proofs: arrays of fractions, on which "equal" means equal."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

fraction = st.fractions(min_value=-5, max_value=5, max_denominator=6)
positive = st.fractions(min_value=Fraction(1, 5), max_value=5, max_denominator=6)


@st.composite
def exact_arrays(draw, shape, elements=fraction):
    """Draw an array of fractions."""
    size = int(np.prod(shape))
    array = np.empty(size, object)
    array[:] = draw(st.lists(elements, min_size=size, max_size=size))
    return array.reshape(shape)


EPS = Fraction(1, 16)


@st.composite
def exact_batch_norms(draw, channels):
    """Draw gamma, beta, mean and a variance for which `var + eps` is the square of a fraction."""
    std = draw(exact_arrays((channels,), st.fractions(min_value=Fraction(1, 4), max_value=4, max_denominator=6)))
    gamma, beta, mean = (draw(exact_arrays((channels,))) for _ in range(3))
    return gamma, beta, mean, std * std - EPS


@st.composite
def exact_blocks(draw):
    """Draw the branches of a RepVGG block with their input: kernels, batch norms, stride and groups."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c_in = groups * draw(st.integers(1, 2))
    stride = draw(st.sampled_from([1, 1, 2]))
    c_out = c_in if draw(st.booleans()) else groups * draw(st.integers(1, 2))
    kernels = [draw(exact_arrays((c_out, c_in // groups, k, k))) for k in (3, 1)]
    norms = [draw(exact_batch_norms(c_out)) for _ in range(3)]
    x = draw(exact_arrays((1, c_in, draw(st.integers(1, 3)), draw(st.integers(1, 3)))))
    return x, kernels, norms, stride, groups


def with_identity(x, kernels, stride):
    return kernels[0].shape[0] == x.shape[1] and stride == 1
