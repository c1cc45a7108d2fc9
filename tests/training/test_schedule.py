import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.training import SCHEDULES, Settings, cosine, make_schedule, one_cycle

from .strategies import peaks, rises_and_totals

EPS = 2.0**-52


def cosine_rates(total, peak, warmup_steps):
    return [cosine(step, total, peak, warmup_steps) for step in range(total + 1)]


def one_cycle_rates(total, peak, warmup_steps, descent="linear"):
    return [one_cycle(step, total, peak, warmup_steps / total, 0.0, descent) for step in range(total + 1)]


def one_cycle_cosine_rates(total, peak, warmup_steps):
    return one_cycle_rates(total, peak, warmup_steps, "cosine")


all_schedules = pytest.mark.parametrize("rates", [cosine_rates, one_cycle_rates, one_cycle_cosine_rates])


@all_schedules
@given(case=rises_and_totals(), peak=peaks)
def test_rates_rise_to_the_peak_then_fall_to_zero(rates, case, peak):
    warmup, total = case
    found = rates(total, peak, warmup)
    noise = 8 * EPS * peak  # the cosine and the products round
    top = math.ceil(warmup)  # the first step that is not of the warm-up; one off where fraction * total rounds
    rising, falling = found[: max(top - 1, 1)], found[min(top + 1, total) :]
    assert all(0 < rate <= peak + noise for rate in found[:-1])
    assert found[-1] == 0
    assert all(a < b + noise for a, b in itertools.pairwise(rising))
    assert all(a > b - noise for a, b in itertools.pairwise(falling))


@all_schedules
@given(case=rises_and_totals(), peak=peaks)
def test_rates_make_no_jump(rates, case, peak):
    """No step is steeper than the steepest slope: of the warm-up, of the line, or of the cosine's middle."""
    warmup, total = case
    found = rates(total, peak, warmup)
    steepest = peak * max(1 / (warmup + 1), math.pi / 2 / (total - warmup))
    assert all(abs(b - a) <= steepest * (1 + 1e-9) + 8 * EPS * peak for a, b in itertools.pairwise(found))


@given(st.integers(1, 50), st.integers(0, 50), peaks, st.floats(0, 1))
def test_the_first_step_after_a_whole_warm_up_has_the_peak_and_the_last_rate_is_final(down, up, peak, part):
    total, final = up + down, part * peak
    assert cosine(up, total, peak, up, final) == peak
    assert cosine(total, total, peak, up, final) == final
    assert one_cycle(total, total, peak, 0.25, final) == final
    assert one_cycle(0, total, peak, 0, final) == peak


def test_warm_up_grows_in_equal_steps_and_wastes_none_on_zero():
    assert [cosine(step, 100, 1.0, 4) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], rel=EPS)
    assert [one_cycle(step, 16, 1.0) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], rel=EPS)


def test_a_cosine_is_half_way_down_in_the_middle_and_so_is_a_line():
    assert cosine(50, 100, 0.2) == pytest.approx(0.1, rel=4 * EPS)
    assert cosine(25, 100, 1.0) == pytest.approx((1 + math.sqrt(0.5)) / 2, rel=4 * EPS)
    assert one_cycle(10, 16, 1.0) == 0.5
    assert one_cycle(7, 16, 1.0) == 0.75
    assert one_cycle(7, 16, 1.0, descent="cosine") == pytest.approx((1 + math.sqrt(0.5)) / 2, rel=4 * EPS)


def test_settings_choose_the_schedule():
    steps = 10
    settings = Settings(epochs=4, learning_rate=0.2, schedule="cosine")
    assert [make_schedule(settings, steps)(s) for s in range(41)] == [cosine(s, 40, 0.2) for s in range(41)]
    settings = Settings(epochs=4, learning_rate=0.2, schedule="cosine", warmup_epochs=0.5)
    assert [make_schedule(settings, steps)(s) for s in range(41)] == [cosine(s, 40, 0.2, 5) for s in range(41)]
    settings = Settings(epochs=4, learning_rate=0.2, schedule="one_cycle")
    assert [make_schedule(settings, steps)(s) for s in range(41)] == [one_cycle(s, 40, 0.2) for s in range(41)]
    settings = Settings(epochs=4, learning_rate=0.2, schedule="one_cycle", warmup_epochs=2)
    assert [make_schedule(settings, steps)(s) for s in range(41)] == [one_cycle(s, 40, 0.2, 0.5) for s in range(41)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shortest_run_of_one_step_has_the_peak(name):
    settings = Settings(epochs=1, learning_rate=0.2, schedule=name, warmup_epochs=0)
    assert make_schedule(settings, 1)(0) == 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine(-1, 10, 0.1), "step must be from 0 to 10, got -1"),
        (lambda: cosine(11, 10, 0.1), "step must be from 0 to 10, got 11"),
        (lambda: cosine(0, 0, 0.1), "total_steps must be at least 1, got 0"),
        (lambda: cosine(0, 10, 0.1, 10), "warmup_steps must be at least 0 and less than 10, got 10"),
        (lambda: cosine(0, 10, math.nan), "peak must be a number, .* got peak nan"),
        (lambda: cosine(0, 10, 0.1, 0, 0.2), "final from 0 to peak, got peak 0.1 and final 0.2"),
        (lambda: one_cycle(0, 10, 0.1, 1.0), "warmup_fraction must be at least 0 and less than 1, got 1.0"),
        (lambda: one_cycle(0, 10, 0.1, descent="up"), "descent must be linear or cosine, got 'up'"),
        (lambda: one_cycle(11, 10, 0.1), "step must be from 0 to 10, got 11"),
        (lambda: make_schedule(Settings(), 0), "steps_per_epoch must be at least 1, got 0"),
    ],
)
def test_what_is_no_step_of_a_schedule_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
