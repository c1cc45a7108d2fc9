import numpy as np
import pytest

from repvgg_np.training import WeightAverage

from .small import small_model


def bytes_of(state):
    return {name: array.tobytes() for name, array in state.items()}


def moved(model, rng):
    """Give every float of a network another value; return the state."""
    state = model.state_dict()
    state = {n: a + rng.integers(1, 5, a.shape).astype(a.dtype) for n, a in state.items()}
    model.load_state_dict(state)
    return state


def test_the_average_is_the_weighted_sum_of_all_weights_that_ever_were(rng):
    """In float64, against the recurrence written out: each array, statistics included, and the counters as they are."""
    model = small_model(dtype=np.float64)
    average = WeightAverage(model, decay=0.5)
    expected, decays = model.state_dict(), [1 / 10, 2 / 11, 3 / 12, 0.5]
    for step, kept in zip((0, 1, 2, 50), decays, strict=True):
        now = moved(model, rng)
        average.update(step)
        expected = {n: kept * a + (1 - kept) * now[n] if a.dtype.kind == "f" else now[n] for n, a in expected.items()}
    for name, array in average.state_dict().items():
        # Four steps of a few roundings each, of numbers below 32.
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=4 * 4 * 32 * 2.0**-53, err_msg=name)


def test_a_network_that_does_not_change_is_its_own_average():
    model = small_model()
    average = WeightAverage(model, 0.9)
    for step in range(5):
        average.update(step)
    assert bytes_of(average.state_dict()) == bytes_of(model.state_dict())


def test_applied_is_for_a_while_and_apply_for_good(rng):
    model = small_model()
    average = WeightAverage(model, 0.9)
    own = bytes_of(moved(model, rng))
    average.update(0)
    with pytest.raises(KeyboardInterrupt), average.applied():
        assert bytes_of(model.state_dict()) == bytes_of(average.state_dict()) != own
        raise KeyboardInterrupt
    assert bytes_of(model.state_dict()) == own
    average.apply()
    assert bytes_of(model.state_dict()) == bytes_of(average.state_dict())


def test_an_average_of_another_network_is_refused_and_nothing_taken_over():
    average = WeightAverage(small_model(), 0.9)
    before = bytes_of(average.state_dict())
    state = average.state_dict()
    for wrong in (
        {},
        {**state, "more": np.zeros(1)},
        {**state, "linear.bias": np.zeros(4, np.float32)},
        {**state, "linear.bias": state["linear.bias"].astype(np.float64)},
    ):
        with pytest.raises(ValueError, match="the average does not belong to this network"):
            average.load_state_dict(wrong)
    assert bytes_of(average.state_dict()) == before
    other = small_model(seed=3).state_dict()
    average.load_state_dict(other)
    assert bytes_of(average.state_dict()) == bytes_of(other)
