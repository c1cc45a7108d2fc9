"""Stochastic gradient descent with momentum, and which parameters it decays."""

import math

import numpy as np

from repvgg_np.kernels.momentum import step as momentum_step

# Which parameters are decayed, by the name in the state dict and the array. Only kernels have two dimensions or more.
DECAYS = {
    # The official code: kernels, and the gamma of the identity branch; no bias, no beta, no other gamma.
    "official": lambda name, data: data.ndim >= 2 or name.endswith("rbr_identity.weight"),
    # The paper (section 4.1): the kernels of convolutions and of the classifier, and nothing else.
    "kernels": lambda name, data: data.ndim >= 2,
    # What PyTorch does unless it is told otherwise.
    "all": lambda name, data: True,
}


class SGD:
    """Gradient descent with momentum, by PyTorch's formula.

    With the gradient `g` of a parameter `p`, its velocity `v` (0 at first) and the weight decay (0 where the parameter
    is spared)::

        d = g + weight_decay * p
        v = momentum * v + d
        p = p - learning_rate * v                       # or, after Nesterov: p - learning_rate * (d + momentum * v)

    A parameter can have a multiple of the learning rate. Its decay is divided by it: what decays, decays at one speed.

    Everything happens in place, on one thread: the bits depend on nothing else.

    Parameters
    ----------
    named_parameters : iterable of (str, Parameter)
        As `model.named_parameters()` gives them: names of the state dict.
    learning_rate : float
        More than 0.
    momentum : float
        At least 0, less than 1.
    nesterov : bool
        Needs a momentum.
    weight_decay : float
        At least 0.
    decay : {"official", "kernels", "all"}
        Which parameters are decayed. "kernels": those of convolutions and of the classifier, as the paper says;
        "official": the identity branch's gamma too, as the official code does; "all": everything.
    rates : dict of str to float, optional
        Multiples of the learning rate, more than 0, by the names of parameters; the others have 1.

    Attributes
    ----------
    decayed : frozenset of str
        The names of the parameters that are decayed.

    Raises
    ------
    ValueError
        If a number is out of range, there is no such rule, there are no parameters or two of one name, or `rates`
        names another.
    """

    def __init__(
        self,
        named_parameters,
        learning_rate,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay="official",
        rates=None,
    ):
        named = list(named_parameters)
        self._parameters = dict(named)
        if not named or len(self._parameters) != len(named):
            raise ValueError(f"named_parameters must be at least one, each of its own name, got {len(named)}")
        _check_range("momentum", momentum, 0, 1)
        _check_range("weight_decay", weight_decay, 0, math.inf)
        if nesterov and not momentum:
            raise ValueError(f"nesterov needs a momentum of more than 0, got {momentum}")
        if decay not in DECAYS:
            raise ValueError(f"decay must be one of {', '.join(DECAYS)}, got {decay!r}")
        self._rates = dict.fromkeys(self._parameters, 1.0) | (rates or {})
        for name, rate in self._rates.items():
            if name not in self._parameters or not 0 < rate < math.inf:
                raise ValueError(f"rates must be numbers of more than 0 for parameters, got {rate} for {name}")
        self.learning_rate = _checked_learning_rate(learning_rate)
        self.momentum, self.weight_decay, self.nesterov = float(momentum), float(weight_decay), bool(nesterov)
        arrays = {name: parameter.peek() for name, parameter in named}
        self.decayed = frozenset(name for name, data in arrays.items() if DECAYS[decay](name, data))
        self._velocity = {name: np.zeros_like(data, order="C") for name, data in arrays.items()}

    def step(self, learning_rate=None):
        """Move every parameter against its gradient.

        Parameters
        ----------
        learning_rate : float, optional
            For this step and those after it; without it, what it was.

        Raises
        ------
        ValueError
            If a parameter has no gradient, or the learning rate is not a number of at least 0; then no parameter has
            been moved.
        """
        if learning_rate is not None:
            self.learning_rate = _checked_learning_rate(learning_rate)
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                raise ValueError(f"the parameter {name} has no gradient: call the model's backward before step")
        self._move(self._parameters)

    def _move(self, names):
        """Move some parameters, and bring their velocities up to date."""
        for name in names:
            parameter, rate = self._parameters[name], self._rates[name]
            decay = self.weight_decay / rate if name in self.decayed else 0.0
            rules = (self.learning_rate * rate, self.momentum, decay, self.nesterov)
            momentum_step(parameter.data, parameter.grad, self._velocity[name], *rules)

    def state_dict(self):
        """Return a copy of every velocity, by the name of its parameter.

        Returns
        -------
        dict of str to ndarray
        """
        return {name: velocity.copy() for name, velocity in self._velocity.items()}

    def load_state_dict(self, state):
        """Take over the velocities. If anything does not fit, nothing is taken over.

        Parameters
        ----------
        state : dict of str to ndarray
            With exactly the names, shapes and dtypes of `state_dict()`.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape or dtype.
        """
        for name in self._velocity.keys() | state.keys():
            if name not in state or name not in self._velocity:
                what = "lacks" if name not in state else "has unknown"
                raise ValueError(f"momentum does not belong to this network: it {what} {name}")
            mine = self._velocity[name]
            if state[name].shape != mine.shape or state[name].dtype != mine.dtype:
                raise ValueError(
                    f"momentum of {name} must be {mine.dtype} {mine.shape}, got {state[name].dtype} {state[name].shape}"
                )
        for name, velocity in self._velocity.items():
            velocity[...] = state[name]


def _checked_learning_rate(value):
    """Return a learning rate as Python's float; 0, with which many a schedule ends, is allowed."""
    _check_range("learning_rate", value, 0, math.inf)
    return float(value)


def _check_range(name, value, least, below):
    """Refuse what is no number of at least `least` and less than `below`; a NaN is none."""
    if not least <= value < below:
        limit = "" if below == math.inf else f" and less than {below}"
        raise ValueError(f"{name} must be a number of at least {least}{limit}, got {value}")
