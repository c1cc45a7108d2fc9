"""The Newton-Schulz iteration is its polynomial, which acts on the singular values alone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels.newton_schulz import COEFFICIENTS, STEPS, length, newton_schulz
from repvgg_np.reference import matmul
from repvgg_np.reference_muon import newton_schulz as definition
from repvgg_np.rounding import gamma
from tests import strategies
from tests.threads import each_thread_count

sizes = st.integers(1, 10)
WIDE = np.longdouble  # in which the definition is evaluated: its own roundings are thousands of times smaller


def polynomial(s, coefficients=COEFFICIENTS, steps=STEPS):
    a, b, c = coefficients
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


def test_the_definition_leaves_singular_vectors_alone_and_acts_on_each_singular_value():
    """Over fractions, with two orthogonal matrices of fractions: equal means equal."""
    turn = np.array([[3, -4], [4, 3]], object) * Fraction(1, 5)
    spin = np.array([[1, 2, 2], [2, 1, -2], [2, -2, 1]], object) * Fraction(1, 3)
    values = [Fraction(1, 2), Fraction(1, 7)]
    coefficients = [Fraction(number) for number in ("3.4445", "-4.775", "2.0315")]
    stretched = [
        matmul(turn * np.array(s, object), spin[:2]) for s in (values, [polynomial(v, coefficients, 2) for v in values])
    ]
    assert (definition(stretched[0], coefficients, 2) == stretched[1]).all()


class Bounded:
    """A matrix, and how far each number of it may be off after all roundings so far (Higham, section 3.3)."""

    def __init__(self, value, error, dtype):
        self.value, self.error, self.dtype = value, error, dtype

    def product(self, other):
        first, second = (np.abs(m.value) + m.error for m in (self, other))
        # One rounding for each addition, and one for the product where there is no fused operation.
        error = gamma(first.shape[1] + 1, self.dtype) * (first @ second)
        error += first @ other.error + self.error @ second
        return Bounded(self.value @ other.value, error, self.dtype)

    def times(self, factor):
        value = factor * self.value
        error = abs(factor) * self.error
        return Bounded(value, error + gamma(1, self.dtype) * (np.abs(value) + error), self.dtype)

    def plus(self, other, error=0):
        value, error = self.value + other, self.error + error
        return Bounded(value, error + gamma(1, self.dtype) * (np.abs(value) + error), self.dtype)


def bound(x, dtype, steps):
    """How far the iteration may be off that begins with X = `x`, rounded three times from what was divided."""
    a, b, c = (WIDE(dtype(number)) for number in COEFFICIENTS)
    x = Bounded(x, gamma(3, dtype) * np.abs(x) + gamma(x.size + 2, np.float64) * np.abs(x), dtype)
    gram = x.product(Bounded(x.value.T, x.error.T, dtype))
    factors = None
    for _ in range(steps):
        term = gram.times(b)
        factor = gram.product(gram).times(c).plus(term.value, term.error).plus(a * np.eye(len(x.value)))
        factors = factor if factors is None else factor.product(factors)
        gram = factor.product(gram).product(factor)
    return factors.product(x).error


@given(sizes, sizes, st.integers(1, STEPS), strategies.dtypes, strategies.seeds)
def test_it_is_its_definition_within_rounding(rows, columns, steps, dtype, seed):
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype)
    wide = matrix.astype(WIDE)
    start = wide / np.sqrt((wide**2).sum())
    expected = definition(start, [WIDE(dtype(number)) for number in COEFFICIENTS], steps)
    limit = bound(start, dtype, steps) if rows <= columns else bound(start.T, dtype, steps).T
    (found,) = newton_schulz([matrix], steps)
    assert found.dtype == dtype and found.shape == matrix.shape
    assert (np.abs(found - expected) <= limit).all()
    # The bound grows with each step, in float32 beyond all use; where it does not, it would notice a wrong coefficient.
    assert limit.max() < 1e-2 or (dtype == np.float32 and steps > 2)


def test_the_coefficients_are_the_published_ones():
    assert COEFFICIENTS == (3.4445, -4.7750, 2.0315) and STEPS == 5


def test_what_is_not_tiny_ends_near_1():
    values = np.logspace(-2, 0, 2000)  # as parts of the length
    assert polynomial(values).min() > 0.68 and polynomial(values).max() < 1.14
    assert polynomial(1e-9) == pytest.approx(1e-9 * COEFFICIENTS[0] ** STEPS, rel=1e-9, abs=0)  # the others grow


@given(sizes, sizes, st.integers(-40, 40), strategies.dtypes, strategies.seeds)
def test_only_the_direction_counts(rows, columns, exponent, dtype, seed):
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype)
    expected, scaled, negative, transposed = newton_schulz([matrix, matrix * dtype(2.0**exponent), -matrix, matrix.T])
    assert scaled.tobytes() == expected.tobytes()
    assert np.array_equal(negative, -expected)
    if rows != columns:
        assert np.array_equal(transposed, expected.T)


@pytest.mark.slow_without_jit
def test_matrices_of_any_sizes_have_the_same_bits_together_as_alone_and_on_any_number_of_threads(rng):
    shapes = [(3, 50), (40, 40), (70, 33), (33, 100), (1, 1), (64, 9)]
    matrices = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    alone = [newton_schulz([matrix])[0].tobytes() for matrix in matrices]
    for _ in each_thread_count():
        assert [found.tobytes() for found in newton_schulz(matrices)] == alone


def test_zeros_stay_zeros():
    assert not newton_schulz([np.zeros((3, 2), np.float32)])[0].any()


def test_the_length_of_an_array_is_added_up_in_float64():
    assert length(np.array([[3, 0], [0, 4]], np.float32)) == 5
    assert length(np.full(4, 2.0**-100, np.float32)) == 2.0**-99  # the squares would underflow
