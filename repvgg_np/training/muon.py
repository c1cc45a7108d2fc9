"""Muon: gradient descent in which every kernel is turned in all its directions at the same speed.

The gradient of a kernel, as a matrix, has a few large singular values and many small ones, and so plain descent moves
few of its directions and hardly the others. Muon makes all singular values alike before it takes the step (Jordan,
"Muon: An optimizer for hidden layers in neural networks", 2024; the arithmetic is in `kernels/newton_schulz.py`).

How long the step is, follows the same author's training of CIFAR-10 (KellerJordan/cifar10-airbench,
airbench94_muon.py): the kernel is kept at one length, and the learning rate says which part of that length a step has.
Behind a kernel stands a batch norm, to which its length means nothing. So a decay would do nothing but let the steps
turn it further as it shrinks, and there is none.
"""

import math

from repvgg_np.kernels.newton_schulz import length, newton_schulz
from repvgg_np.training.sgd import SGD


def turn(kernels, grads, velocities, rate, momentum, nesterov):
    """Take a step of Muon with some kernels.

    With the gradient `g`, the kernel `W`, its velocity `v` (0 at first) and its length `|W|`, the root of the sum of
    all squares::

        v = momentum * v + g
        d = v                                               # or, after Nesterov: g + momentum * v
        W = W - rate * |W| / sqrt(C_out) * newton_schulz(d)
        W = W * |W before| / |W|

    `newton_schulz(d)` has min(C_out, C_in K K) singular values near 1, so its length is near sqrt(C_out) where C_out is
    the smaller, and `rate` is the length of the step as a part of the kernel's.

    Parameters
    ----------
    kernels : list of ndarray (C_out, C_in / groups, K, K)
        All of one dtype. They are turned in place. A grouped one is taken for one matrix too. One of zeros gets the
        length sqrt(C_out).
    grads : list of ndarray
        Of the same shapes and dtype.
    velocities : list of ndarray
        Likewise. Are brought up to date.
    rate, momentum : float
    nesterov : bool
    """
    directions = []
    for grad, velocity in zip(grads, velocities, strict=True):
        kind = velocity.dtype.type
        velocity *= kind(momentum)
        velocity += grad
        directions.append(grad + kind(momentum) * velocity if nesterov else velocity)
    updates = newton_schulz([direction.reshape(len(direction), -1) for direction in directions])
    for kernel, update in zip(kernels, updates, strict=True):
        kind, root = kernel.dtype.type, math.sqrt(len(kernel))
        before = length(kernel) or root
        update *= kind(rate * before / root)
        kernel -= update.reshape(kernel.shape)
        after = length(kernel)
        if after:
            kernel *= kind(before / after)


class Muon(SGD):
    """Muon for the kernels of convolutions, gradient descent with momentum for everything else.

    Everything else is one-dimensional, or the classifier, whose rows belong to the classes and are no equals. The state
    is that of `SGD`, a velocity for each parameter.

    Parameters
    ----------
    named_parameters : iterable of (str, Parameter)
        As for `SGD`. Those of four dimensions are kernels.
    learning_rate : float
        More than 0: the highest of the run, for everything else.
    muon_rate : float
        More than 0: the rate of `turn` at that learning rate. Where `step` is told a lower one, it falls in proportion.
    momentum, nesterov, weight_decay, decay, rates
        As for `SGD`; the last three are for everything else, the first two for kernels as well.

    Raises
    ------
    ValueError
        As for `SGD`, or if `muon_rate` is out of range.
    """

    def __init__(self, named_parameters, learning_rate, muon_rate, *rules, **named_rules):
        super().__init__(named_parameters, learning_rate, *rules, **named_rules)
        for name, rate in (("learning_rate", self.learning_rate), ("muon_rate", muon_rate)):
            if not 0 < rate < math.inf:
                raise ValueError(f"{name} must be a number of more than 0, got {rate}")
        self._ratio = float(muon_rate) / self.learning_rate
        self.turned = frozenset(name for name, velocity in self._velocity.items() if velocity.ndim == 4)
        self.decayed -= self.turned

    def _move(self, names):
        """Turn the kernels, all at once; move anything else as `SGD` does."""
        super()._move([name for name in names if name not in self.turned])
        turned = [name for name in names if name in self.turned]
        if not turned:
            return
        kernels, grads = zip(*((p.data, p.grad) for p in map(self._parameters.get, turned)), strict=True)
        velocities = [self._velocity[name] for name in turned]
        turn(kernels, grads, velocities, self.learning_rate * self._ratio, self.momentum, self.nesterov)
