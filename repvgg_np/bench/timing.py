"""The stopwatch: contestants take turns, so that whatever else the machine does hits all of them alike."""

import time

from tqdm import tqdm

# See `time_side_by_side` for what these were chosen by.
CALLS, DROPPED, PAUSE = 3, 1, 0.02
LONG = 0.2  # seconds: a call that takes longer is timed once in a turn


def time_side_by_side(functions, repeats, calls=CALLS, dropped=DROPPED, pause=PAUSE, title=None):
    """Time several functions in turn.

    PyTorch, ONNX Runtime, OpenVINO and Numba each keep threads of their own, which go on *spinning* for a while after
    a call, in case another comes. Whoever is called next shares the processor with them. So a turn is: a pause in which
    the others' threads fall asleep, `dropped` calls that wake one's own and fetch one's own data into the caches, then
    `calls` timed calls in a row. The order moves on by one in each round.

    Parameters
    ----------
    functions : dict of str to callable
        Called without arguments; each once before the clock runs.
    repeats : int
        Rounds, in which each function has one turn.
    calls, dropped : int
        In each turn. A function that takes more than `LONG` seconds has one timed call in a turn and none before it:
        what waking up costs is nothing beside that.
    pause : float
        Seconds.
    title : str, optional
        What a progress bar on stderr says; without it there is none.

    Returns
    -------
    dict of str to list of float
        Seconds of every timed call.
    """
    plan = {}
    for name, function in functions.items():
        function()  # compiles, allocates: not what is measured
        start = time.perf_counter()
        function()
        plan[name] = (0, 1) if time.perf_counter() - start > LONG else (dropped, calls)
    times = {name: [] for name in functions}
    names = list(functions)
    bar = tqdm(range(repeats), desc=title, leave=False, disable=None if title else True)
    for turn in bar:
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(pause)
            untimed, timed = plan[name]
            for _ in range(untimed):
                functions[name]()
            for _ in range(timed):
                start = time.perf_counter()
                functions[name]()
                times[name].append(time.perf_counter() - start)
    return times
