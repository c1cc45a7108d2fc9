import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels.newton_schulz import length, newton_schulz
from repvgg_np.training import SGD, Muon, TrainingInterrupted, make_optimizer, train
from repvgg_np.training.muon import turn
from tests.strategies import dtypes, seeds
from tests.threads import each_thread_count

from .small import SETTINGS, STEPS, count_steps, remains, small_model, small_sets

MUON = dataclasses.replace(SETTINGS, optimizer="muon")
shapes = st.tuples(st.integers(1, 6), st.integers(1, 4), st.sampled_from([1, 3])).map(
    lambda s: (s[0], s[1], s[2], s[2])
)


def turn_one(kernel, grad, velocity, *rules):
    turn([kernel], [grad], [velocity], *rules)


def draws(shape, dtype, seed):
    """A kernel, its gradient, its velocity."""
    return np.random.default_rng(seed).standard_normal((3, *shape)).astype(dtype)


@given(shapes, st.booleans(), seeds)
def test_a_step_is_the_formula(shape, nesterov, seed):
    kernel, grad, velocity = draws(shape, np.float64, seed)
    v = 0.75 * velocity + grad
    d = grad + 0.75 * v if nesterov else v
    update = newton_schulz([d.reshape(len(d), -1)])[0].reshape(shape)
    moved = kernel - 0.125 * length(kernel) / math.sqrt(len(kernel)) * update
    expected = moved * (length(kernel) / length(moved))
    turn_one(kernel, grad, velocity, 0.125, 0.75, nesterov)
    np.testing.assert_array_equal(velocity, v)
    # The same operations in another order: a handful of roundings, of numbers no larger than these.
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=16 * 2.0**-53 * 2 * np.abs(expected).max())


@given(shapes, dtypes, seeds)
def test_a_kernel_keeps_its_length_and_its_dtype(shape, dtype, seed):
    kernel, grad, velocity = draws(shape, dtype, seed)
    before = length(kernel)
    turn_one(kernel, grad, velocity, 0.5, 0.9, True)
    assert kernel.dtype == velocity.dtype == dtype
    # The quotient of the lengths is rounded once, and each product with it.
    assert length(kernel) == pytest.approx(before, rel=2 * float(np.finfo(dtype).eps))


@given(shapes, st.integers(-20, 20), dtypes, seeds)
def test_how_long_the_first_gradient_is_does_not_matter(shape, exponent, dtype, seed):
    kernel, grad, _ = draws(shape, dtype, seed)
    kernels = [kernel, kernel.copy()]
    for array, factor in zip(kernels, (1, 2.0**exponent), strict=True):
        turn_one(array, grad * dtype(factor), np.zeros_like(grad), 0.25, 0.9, True)
    assert kernels[0].tobytes() == kernels[1].tobytes()


def test_without_a_gradient_a_kernel_stays_and_a_kernel_of_zeros_gets_a_length(rng):
    kernel, zeros = rng.standard_normal((4, 2, 3, 3)), np.zeros((4, 2, 3, 3))
    before = kernel.copy()
    turn_one(kernel, zeros, zeros.copy(), 0.5, 0.9, True)
    np.testing.assert_allclose(kernel, before, rtol=2.0**-52)
    turn_one(zeros, before, np.zeros_like(before), 0.5, 0.9, True)
    assert length(zeros) == pytest.approx(2)
    nothing = np.zeros((4, 2, 3, 3))
    turn_one(nothing, nothing.copy(), nothing.copy(), 0.5, 0.9, True)
    assert not nothing.any()


def test_a_kernel_in_another_memory_order_is_turned_too(rng):
    kernel, grad = rng.standard_normal((2, 4, 2, 3, 3))
    other = np.asfortranarray(kernel)
    turn_one(kernel, grad, np.zeros_like(grad), 0.5, 0.9, True)
    turn_one(other, np.asfortranarray(grad), np.zeros_like(grad), 0.5, 0.9, True)
    np.testing.assert_array_equal(other, kernel)


def descend(optimizer, model, rates):
    rng = np.random.default_rng(0)
    for rate in rates:
        for _, parameter in model.named_parameters():
            parameter.grad = rng.standard_normal(parameter.data.shape).astype(parameter.data.dtype)
        optimizer.step(rate)
    return {name: parameter.data for name, parameter in model.named_parameters()}


RULES = (0.9, True, 0.01, "all")


def test_everything_but_kernels_moves_as_in_plain_descent_and_kernels_at_a_rate_in_proportion():
    models = [small_model(seed=0) for _ in range(3)]
    first = {name: parameter.data.copy() for name, parameter in models[0].named_parameters()}
    rates = (0.1, 0.05, 0.0)
    plain = descend(SGD(models[0].named_parameters(), 0.1, *RULES), models[0], rates)
    muon = Muon(models[1].named_parameters(), 0.1, 0.2, *RULES)
    turned = descend(muon, models[1], rates)
    kernels = {name for name, array in first.items() if array.ndim == 4}
    assert muon.turned == kernels and muon.decayed == first.keys() - kernels
    for name in first.keys() - kernels:
        assert turned[name].tobytes() == plain[name].tobytes()
    rng, velocities = np.random.default_rng(0), {name: np.zeros_like(first[name]) for name in kernels}
    for rate in rates:
        for name, parameter in models[2].named_parameters():
            grad = rng.standard_normal(parameter.data.shape).astype(np.float32)
            if name in kernels:
                turn_one(first[name], grad, velocities[name], rate * (0.2 / 0.1), 0.9, True)
    assert all(first[name].tobytes() == turned[name].tobytes() for name in kernels)


def test_without_kernels_it_is_plain_descent():
    models = [small_model(seed=0) for _ in range(2)]
    others = [[pair for pair in model.named_parameters() if pair[1].data.ndim < 4] for model in models]
    for optimizer, model in zip((SGD(others[0], 0.1, *RULES), Muon(others[1], 0.1, 0.2, *RULES)), models, strict=True):
        descend(optimizer, model, (0.1,))
    first, second = ([p.data.tobytes() for _, p in pairs] for pairs in others)
    assert first == second


@pytest.mark.parametrize(
    ("rate", "muon_rate", "message"),
    [
        (0.1, 0, "muon_rate must be a number of more than 0, got 0"),
        (0.1, math.nan, "muon_rate .* got nan"),
        (0.0, 0.1, "learning_rate must be a number of more than 0, got 0.0"),
    ],
)
def test_rates_that_are_none_are_refused(rate, muon_rate, message):
    with pytest.raises(ValueError, match=message):
        Muon(small_model().named_parameters(), rate, muon_rate)


def run(folder, model=None, **options):
    model = small_model() if model is None else model
    return train(model, *small_sets(), MUON, folder, **{"progress": False, "checkpoint_seconds": 1e9, **options})


@pytest.mark.slow_without_jit
def test_a_run_with_muon_has_the_same_bits_for_any_number_of_threads_and_other_bits_than_one_without(tmp_path):
    for name, _ in zip(("one", "all"), each_thread_count(), strict=True):
        run(tmp_path / name)
    assert remains(tmp_path / "one") == remains(tmp_path / "all")
    train(small_model(), *small_sets(), SETTINGS, tmp_path / "plain", progress=False)
    assert remains(tmp_path / "plain")[0] != remains(tmp_path / "one")[0]
    assert isinstance(make_optimizer(small_model(), MUON), Muon)
    assert type(make_optimizer(small_model(), SETTINGS)) is SGD


@pytest.mark.slow_without_jit
@pytest.mark.parametrize("k", [0, STEPS - 1, STEPS + 1])
def test_a_run_with_muon_that_was_interrupted_and_resumed_was_never_interrupted(tmp_path, k):
    run(tmp_path / "whole")

    def press(step):
        if step == k:
            raise_ctrl_c()

    with pytest.raises(TrainingInterrupted):
        run(tmp_path / "resumed", count_steps(small_model(), press))
    run(tmp_path / "resumed", small_model(seed=9), resume=True)
    assert remains(tmp_path / "resumed") == remains(tmp_path / "whole")


def raise_ctrl_c():
    import signal

    signal.raise_signal(signal.SIGINT)
