"""The stopwatch times every contestant equally often, in turn, and only what it should."""

import pytest

from repvgg_np.bench import timing
from repvgg_np.bench.timing import PLANS, time_side_by_side


class Clock:
    """A clock that advances only when a function of `working` runs or somebody sleeps."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.log.append("pause")
        self.now += seconds

    def working(self, name, durations):
        """Return a function that takes so long, call by call; the last duration goes on."""
        durations = list(durations)

        def run():
            self.log.append(name)
            self.now += durations.pop(0) if len(durations) > 1 else durations[0]

        return run


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_each_function_is_timed_in_each_round_and_the_order_moves_on(clock):
    functions = {name: clock.working(name, [1.0]) for name in "abc"}
    times = time_side_by_side(functions, 3, pause=0.5)
    assert times == {name: [1.0] * 3 for name in "abc"}
    assert "".join(clock.log).replace("pause", " ") == "aabbcc a b c b c a c a b"


LIMITS = [0.001, *(limit for limit, _, _ in PLANS[:-1]), 9.0]  # each plan is for what lies between two of them


@pytest.mark.parametrize(
    ("plan", "seconds"), [(i, f * LIMITS[i + e]) for i in range(3) for e, f in ((0, 1.01), (1, 0.99))]
)
def test_quick_calls_are_warmed_up_and_timed_more_often(plan, seconds, clock):
    _, untimed, timed = PLANS[plan]
    times = time_side_by_side({"a": clock.working("a", [9.0, seconds])}, 4)
    assert times["a"] == pytest.approx([seconds] * (4 * timed))
    assert clock.log == ["a", "a", *["pause", *["a"] * (untimed + timed)] * 4]


def test_neither_the_first_calls_nor_those_after_a_pause_are_timed(clock):
    # compiling 9 s, then 1 ms; in the turn three slow calls, then five of 1 ms
    run = clock.working("a", [9.0, 0.001, 0.5, 0.5, 0.5, 0.001])
    assert time_side_by_side({"a": run}, 1)["a"] == pytest.approx([0.001] * 5)
