"""The stopwatch: contestants take turns, so that whatever else the machine does hits all of them alike.

Why not simply call them one after the other: every program keeps threads of its own, which go on *spinning* for a while
after a call, in case another comes, and take the processor from whoever is next. Measured with two threads (processor
time used while the process slept after a call): Numba and PyTorch, both on OpenMP, 9 ms; ONNX Runtime 47 ms; OpenVINO
1 ms. `OMP_WAIT_POLICY=passive` ends the spinning of the first two only. So each turn begins with a pause that outlasts
all of them.

After such a pause caches and clock are cold. Of calls of 0.1 to 0.4 ms the first took 2.2 to 4.5 times as long as later
ones, the second 1.15 to 1.5 times, the third 1.05 to 1.2, the fourth 1.0 to 1.06. So a turn goes on with calls that are
not timed. (PyTorch 2.13, ONNX Runtime 1.32, OpenVINO 2026.4, Numba 0.68; AMD EPYC with AVX-512.)
"""

import time

from tqdm import tqdm

PAUSE = 0.06  # seconds
# A call of less than so many seconds has so many calls before it that are not timed, and is timed so often in a turn.
PLANS = ((0.01, 3, 5), (0.2, 1, 3), (float("inf"), 0, 1))


def time_side_by_side(functions, repeats, pause=PAUSE, title=None):
    """Time several functions in turn, in rounds of which each begins with the next function.

    Parameters
    ----------
    functions : dict of str to callable
        Called without arguments; each twice before the clock runs.
    repeats : int
        Rounds, in which each function has one turn.
    pause : float
        Seconds before each turn; 0 is right for functions that share their threads.
    title : str, optional
        What a progress bar on stderr says; without it there is none.

    Returns
    -------
    dict of str to list of float
        Seconds of every timed call: `repeats` times one, three or five, by `PLANS`.
    """
    plans, times, names = {}, {name: [] for name in functions}, list(functions)
    for name, function in functions.items():
        function()  # compiles, allocates: not what is measured
        plans[name] = _plan(function)
    for turn in tqdm(range(repeats), desc=title, leave=False, disable=None if title else True):
        for name in _from_next(names, turn):
            times[name] += _turn(functions[name], plans[name], pause)
    return times


def time_one_at_a_time(builders, repeats, pause=PAUSE, title=None):
    """Time functions in turn, as above, where all of them together would not fit into memory.

    Parameters
    ----------
    builders : dict of str to callable
        Each returns a function to be timed. It is built anew for each of its turns, and gone after it.
    repeats : int
        Rounds.
    pause : float
        Seconds before each turn.
    title : str, optional
        What a progress bar on stderr says, and beside it what is being timed; without it there is none.

    Returns
    -------
    dict of str to list of float
        As from `time_side_by_side`.
    """
    times, names = {name: [] for name in builders}, list(builders)
    with tqdm(total=repeats * len(names), leave=False, disable=None if title else True) as bar:
        for turn in range(repeats):
            for name in _from_next(names, turn):
                bar.set_description(f"{title}: {name}")
                function = builders[name]()
                function()
                times[name] += _turn(function, _plan(function), pause)
                del function  # before the next one is built
                bar.update()
    return times


def _from_next(names, turn):
    """Return the names in the order of a round: each round begins with the next one."""
    first = turn % len(names)
    return names[first:] + names[:first]


def _plan(function):
    """Call a function once; return how many calls before and in each turn it needs, by how long that took."""
    seconds = _seconds(function)
    return next((untimed, timed) for limit, untimed, timed in PLANS if seconds < limit)


def _turn(function, plan, pause):
    """Let a function have its turn; return the seconds of the timed calls."""
    untimed, timed = plan
    time.sleep(pause)
    for _ in range(untimed):
        function()
    return [_seconds(function) for _ in range(timed)]


def _seconds(function):
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
