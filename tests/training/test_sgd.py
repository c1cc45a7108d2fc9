from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.layers import Parameter
from repvgg_np.training import DECAYS, SGD

from .small import small_model
from .strategies import whole_rows

KERNEL, BETA = "stage0.rbr_dense.conv.weight", "stage0.rbr_dense.bn.bias"
# Dyadic, so that few steps on small whole numbers are exact in floating point, and can be compared with `==`.
RATE, MOMENTUM, DECAY = 0.25, 0.5, 0.125


def parameters(kernel, beta):
    return {KERNEL: Parameter(kernel.reshape(1, 3).copy()), BETA: Parameter(beta.copy())}


def by_hand(values, gradients, rates, momentum, nesterov, decay):
    """The formula, over fractions, one number at a time."""
    result = []
    for i, value in enumerate(values):
        p, v = Fraction(value), Fraction(0)
        for gradient, rate in zip(gradients, rates, strict=True):
            d = Fraction(gradient[i]) + Fraction(decay) * p
            v = Fraction(momentum) * v + d
            p -= Fraction(rate) * (d + Fraction(momentum) * v if nesterov else v)
        result.append(p)
    return result


@given(
    whole_rows, whole_rows, st.lists(whole_rows, min_size=1, max_size=4), st.booleans(), st.sampled_from(sorted(DECAYS))
)
def test_several_steps_are_the_formula_exactly(kernel, beta, gradients, nesterov, decay):
    named = parameters(kernel, beta)
    optimizer = SGD(named.items(), 1, MOMENTUM, nesterov, DECAY, decay)
    rates = [RATE / 2**i for i in range(len(gradients))]
    for gradient, rate in zip(gradients, rates, strict=True):
        named[KERNEL].grad, named[BETA].grad = gradient.reshape(1, 3), -gradient
        optimizer.step(rate)
    assert named[KERNEL].data.ravel().tolist() == by_hand(kernel, gradients, rates, MOMENTUM, nesterov, DECAY)
    beta_decay = DECAY if decay == "all" else 0
    negative = [-gradient for gradient in gradients]
    assert named[BETA].data.tolist() == by_hand(beta, negative, rates, MOMENTUM, nesterov, beta_decay)


@pytest.mark.parametrize(
    ("name", "official", "kernels"),
    [
        ("stage0.rbr_dense.conv.weight", True, True),
        ("stage0.rbr_1x1.conv.weight", True, True),
        ("linear.weight", True, True),
        ("stage1.0.rbr_identity.weight", True, False),
        ("stage1.0.rbr_identity.bias", False, False),
        ("stage1.0.rbr_dense.bn.weight", False, False),
        ("stage1.0.rbr_dense.bn.bias", False, False),
        ("stage1.0.rbr_1x1.bn.weight", False, False),
        ("stage1.0.rbr_1x1.bn.bias", False, False),
        ("linear.bias", False, False),
    ],
)
def test_which_parameters_each_rule_decays(name, official, kernels):
    decayed = {rule: SGD(small_model().named_parameters(), 0.1, decay=rule).decayed for rule in DECAYS}
    assert (name in decayed["official"]) == official
    assert (name in decayed["kernels"]) == kernels
    assert name in decayed["all"]


def test_decay_moves_what_is_decayed_and_nothing_else():
    """Without gradients, a step multiplies what is decayed by 1 - rate decay, and leaves the rest alone."""
    model = small_model(dtype=np.float64)
    before = model.state_dict()
    optimizer = SGD(model.named_parameters(), RATE, 0, weight_decay=DECAY)
    for _, parameter in model.named_parameters():
        parameter.grad = np.zeros_like(parameter.data)
    optimizer.step()
    for name, parameter in model.named_parameters():
        # Two products and a difference: three roundings.
        factor = 1 - RATE * DECAY if name in optimizer.decayed else 1
        limit = 3 * np.finfo(np.float64).eps if name in optimizer.decayed else 0
        assert np.abs(parameter.data - before[name] * factor).max() <= limit * np.abs(before[name]).max()


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_step_writes_in_place_and_promotes_nothing(nesterov):
    model = small_model()
    optimizer = SGD(model.named_parameters(), np.float64(0.1), np.float64(0.9), nesterov, np.float64(1e-4))
    arrays = {name: parameter.data for name, parameter in model.named_parameters()}
    gradients = {}
    for name, parameter in model.named_parameters():
        parameter.grad = np.full_like(parameter.data, 0.5)
        gradients[name] = parameter.grad.copy()
    optimizer.step(np.float64(0.05))
    for name, parameter in model.named_parameters():
        assert parameter.data is arrays[name]
        assert parameter.data.dtype == optimizer.state_dict()[name].dtype == np.float32
        assert np.array_equal(parameter.grad, gradients[name])


def test_parameters_of_two_dtypes_each_keep_their_own():
    named = {"a": Parameter(np.ones((2, 2), np.float32)), "b": Parameter(np.ones((3, 3), np.float64))}
    for parameter in named.values():
        parameter.grad = np.ones_like(parameter.data)
    SGD(named.items(), 0.5, 0.5, weight_decay=0).step()
    assert {name: (p.data.dtype, p.data.ravel()[0]) for name, p in named.items()} == {
        "a": (np.float32, 0.5),
        "b": (np.float64, 0.5),
    }


def test_a_parameter_whose_array_was_replaced_is_still_moved():
    named = parameters(np.ones(3), np.ones(3))
    optimizer = SGD(named.items(), 1.0, 0, weight_decay=0)
    named[BETA].data = np.full(3, 5.0)
    named[KERNEL].grad, named[BETA].grad = np.zeros((1, 3)), np.ones(3)
    optimizer.step()
    assert named[BETA].data.tolist() == [4, 4, 4]


def test_a_missing_gradient_is_named_and_nothing_has_moved():
    named = parameters(np.ones(3), np.ones(3))
    named[KERNEL].grad = np.ones((1, 3))
    optimizer = SGD(named.items(), 0.1)
    with pytest.raises(ValueError, match=f"the parameter {BETA} has no gradient"):
        optimizer.step()
    assert named[KERNEL].data.tolist() == [[1, 1, 1]]
    assert not optimizer.state_dict()[KERNEL].any()


def test_the_learning_rate_of_a_step_holds_for_those_after_it():
    named = parameters(np.zeros(3), np.zeros(3))
    named[KERNEL].grad, named[BETA].grad = np.ones((1, 3)), np.ones(3)
    optimizer = SGD(named.items(), 1.0, 0, weight_decay=0)
    optimizer.step()
    optimizer.step(0.5)
    optimizer.step()
    assert named[BETA].data.tolist() == [-2, -2, -2]
    assert optimizer.learning_rate == 0.5


def test_descent_that_takes_over_the_velocities_goes_on_with_the_same_bits():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 3)).astype(np.float32)

    def descend(named, optimizer, part):
        for gradient in part:
            named[KERNEL].grad, named[BETA].grad = gradient.reshape(1, 3), gradient
            optimizer.step()

    whole = parameters(np.ones(3, np.float32), np.ones(3, np.float32))
    descend(whole, SGD(whole.items(), 0.1, nesterov=True), gradients)
    first = parameters(np.ones(3, np.float32), np.ones(3, np.float32))
    stopped = SGD(first.items(), 0.1, nesterov=True)
    descend(first, stopped, gradients[:2])
    state = stopped.state_dict()
    second = {name: Parameter(parameter.data.copy()) for name, parameter in first.items()}
    resumed = SGD(second.items(), 0.1, nesterov=True)
    resumed.load_state_dict(state)
    descend(first, stopped, -gradients[:1])  # the copies share nothing
    descend(second, resumed, gradients[2:])
    assert {name: p.data.tobytes() for name, p in whole.items()} == {n: p.data.tobytes() for n, p in second.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(BETA), f"it lacks {BETA}"),
        (lambda state: state.update(other=np.zeros(3)), "it has unknown other"),
        (
            lambda state: state.update({BETA: np.zeros(4)}),
            rf"momentum of {BETA} must be float64 \(3,\), got float64 \(4,\)",
        ),
        (lambda state: state.update({BETA: np.zeros(3, np.float32)}), "must be float64 .* got float32"),
    ],
)
def test_velocities_of_another_network_are_refused_and_nothing_is_taken_over(change, message):
    optimizer = SGD(parameters(np.ones(3), np.ones(3)).items(), 0.1)
    state = {name: array + 1 for name, array in optimizer.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert not any(array.any() for array in optimizer.state_dict().values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -1}, "learning_rate must be a number of at least 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate .* got nan"),
        ({"learning_rate": float("inf")}, "learning_rate .* got inf"),
        ({"momentum": 1}, "momentum must be a number of at least 0 and less than 1, got 1"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number of at least 0, got -0.0001"),
        ({"nesterov": True, "momentum": 0}, "nesterov needs a momentum of more than 0, got 0"),
        ({"decay": "none"}, "decay must be one of official, kernels, all, got 'none'"),
    ],
)
def test_what_is_no_rule_of_descent_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD(small_model().named_parameters(), **{"learning_rate": 0.1, **arguments})


def test_no_parameters_and_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match="named_parameters must be at least one"):
        SGD([], 0.1)
    with pytest.raises(ValueError, match="each of its own name, got 2"):
        SGD([("a", Parameter(np.ones(1)))] * 2, 0.1)
