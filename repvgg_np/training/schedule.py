"""The learning rate at each step: pure functions of the step's number, so that a resumed run needs to remember nothing.

All begin with an optional warm-up, in which the rate grows in equal steps: the first step does not waste a batch on a
rate of 0, and the first step after the warm-up has exactly the peak. The rate of step `total_steps`, one past the last,
is exactly `final`.
"""

import functools
import math


def cosine(step, total_steps, peak, warmup_steps=0, final=0.0):
    """Compute a learning rate that rises in a straight line, then falls along half a cosine.

    Parameters
    ----------
    step : int
        From 0 to `total_steps`.
    total_steps : int
        At least 1.
    peak, final : float
        The highest rate, and the last one.
    warmup_steps : float
        For how many steps it rises: at least 0, less than `total_steps`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    fallen = _position(step, total_steps, peak, final, warmup_steps)
    if fallen < 0:
        return peak * (step + 1) / (warmup_steps + 1)
    return _between(peak, final, (1 - math.cos(math.pi * fallen)) / 2)


def one_cycle(step, total_steps, peak, warmup_fraction=0.25, final=0.0, descent="linear"):
    """Compute a learning rate that rises in a straight line for a good part of the run, then falls to the end.

    Parameters
    ----------
    step : int
        From 0 to `total_steps`.
    total_steps : int
        At least 1.
    peak, final : float
        The highest rate, and the last one.
    warmup_fraction : float
        For which part of the run it rises: at least 0, less than 1.
    descent : {"linear", "cosine"}
        Whether it falls in a straight line or along half a cosine.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if not 0 <= warmup_fraction < 1:
        raise ValueError(f"warmup_fraction must be at least 0 and less than 1, got {warmup_fraction}")
    if descent not in ("linear", "cosine"):
        raise ValueError(f"descent must be linear or cosine, got {descent!r}")
    warmup_steps = warmup_fraction * total_steps
    if descent == "cosine":
        return cosine(step, total_steps, peak, warmup_steps, final)
    fallen = _position(step, total_steps, peak, final, warmup_steps)
    if fallen < 0:
        return peak * (step + 1) / (warmup_steps + 1)
    return _between(peak, final, fallen)


SCHEDULES = {"cosine": cosine, "one_cycle": one_cycle}


def make_schedule(settings, steps_per_epoch):
    """Make the function from a step of the whole run, from 0, to its learning rate.

    Parameters
    ----------
    settings : Settings
        Its `schedule`, `epochs`, `learning_rate` and `warmup_epochs`. Without `warmup_epochs`, each schedule does what
        is usual for it: "cosine" does not warm up, "one_cycle" rises for a quarter of the run.
    steps_per_epoch : int
        At least 1.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If `steps_per_epoch` is below 1.
    """
    if steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch must be at least 1, got {steps_per_epoch}")
    warmup = {}
    if settings.warmup_epochs is not None:
        if settings.schedule == "one_cycle":
            warmup["warmup_fraction"] = settings.warmup_epochs / settings.epochs
        else:
            warmup["warmup_steps"] = settings.warmup_epochs * steps_per_epoch
    total_steps = settings.epochs * steps_per_epoch
    schedule = SCHEDULES[settings.schedule]
    return functools.partial(schedule, total_steps=total_steps, peak=settings.learning_rate, **warmup)


def _position(step, total_steps, peak, final, warmup_steps):
    """Return which part of the way down is done, from 0 to 1; below 0 during the warm-up."""
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= step <= total_steps:
        raise ValueError(f"step must be from 0 to {total_steps}, got {step}")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must be at least 0 and less than {total_steps}, got {warmup_steps}")
    if not 0 <= final <= peak < math.inf:
        raise ValueError(f"peak must be a number, and final from 0 to peak, got peak {peak} and final {final}")
    return (step - warmup_steps) / (total_steps - warmup_steps)


def _between(peak, final, fallen):
    """Go that part of the way from `peak` to `final`; at 0 and at 1 it is exactly the one and the other."""
    return (1 - fallen) * peak + fallen * final
