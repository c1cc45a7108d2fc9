"""Checks of arguments: each raises a ValueError that says what came and what was expected."""

import difflib

import numpy as np

SPLITS = ("train", "test")


def check_choice(what, value, choices):
    """Raise a ValueError that names the valid choices, and the nearest, unless `value` is one of them."""
    if value in choices:
        return
    message = f"unknown {what} {value!r}, expected one of {', '.join(choices)}"
    nearest = difflib.get_close_matches(str(value).lower(), choices, n=1)
    raise ValueError(message + (f"; did you mean {nearest[0]!r}?" if nearest else ""))


def check_split(split):
    """Raise a ValueError unless `split` is "train" or "test"."""
    check_choice("split", split, SPLITS)


def check_at_least(name, value, lowest):
    """Raise a ValueError unless `value` is an integer of at least `lowest`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {value}")
