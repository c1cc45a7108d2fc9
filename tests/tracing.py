"""Running a transform on traced numbers: what its outputs are made of, and how often each share was rounded."""

import numpy as np


class Traced:
    """A number as a sum of inputs: the size of each input's share in it, and through how many roundings it went."""

    def __init__(self, shares):
        self.shares = shares

    @classmethod
    def inputs(cls, count):
        return [cls({i: (1, 0)}) for i in range(count)]

    def times(self, factor):
        power_of_two = np.frexp(abs(factor))[0] == 0.5  # with other factors, `fma` as plain Python rounds the product
        return Traced({i: (abs(factor) * size, n + (not power_of_two)) for i, (size, n) in self.shares.items()})

    def plus(self, other):
        shares = {}
        for i in self.shares | other.shares:
            (size, n), (more, m) = self.shares.get(i, (0, 0)), other.shares.get(i, (0, 0))
            shares[i] = (size + more, max(n, m) + 1)
        return Traced(shares)


def trace(monkeypatch, module, name, count):
    """Run a one-dimensional transform on traced numbers: what its outputs are made of, and the most roundings."""
    operations = {
        "add": lambda u, v: u.plus(v),
        "subtract": lambda u, v: u.plus(v),
        "fma": lambda total, u, v: total.plus(v.times(u) if isinstance(v, Traced) else u.times(v)),
        "times": lambda u, v: v.times(u),
    }
    for operation, traced in operations.items():
        monkeypatch.setattr(module, operation, traced, raising=False)
    transform = getattr(module, name)
    outputs = getattr(transform, "py_func", transform)(*Traced.inputs(count))
    sizes = np.array([[out.shares.get(i, (0, 0))[0] for i in range(count)] for out in outputs])
    return sizes, max(n for out in outputs for _, n in out.shares.values())
