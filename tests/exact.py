"""What Hypothesis draws for exact proofs: arrays of fractions, on which "equal" means equal."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st


def fractions_between(least, most, largest_denominator=6):
    """Draw any fraction of that range with a small denominator.

    They are listed, simplest first: to draw from a list is several times as fast as `st.fractions`, and an array takes
    a hundred of them.
    """
    denominators = range(1, largest_denominator + 1)
    every = {Fraction(n, d) for d in denominators for n in range(math.ceil(least * d), math.floor(most * d) + 1)}
    return st.sampled_from(sorted(every, key=lambda value: (value.denominator, abs(value), value < 0)))


fraction = fractions_between(-5, 5)
positive = fractions_between(Fraction(1, 5), 5)


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
    std = draw(exact_arrays((channels,), fractions_between(Fraction(1, 4), 4)))
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
