"""A running average of the weights: less noise than the weights of the last step (Polyak and Juditsky, 1992)."""

import contextlib


class WeightAverage:
    """The exponential moving average of a network's parameters and of its batch norms' statistics.

    At step t (from 0), of every array::

        average = kept * average + (1 - kept) * now,    kept = min(decay, (1 + t) / (10 + t))

    so that the first weights, which know nothing, are soon forgotten. The network goes on training with its own
    weights. What is averaged folds like any other network: fusion needs nothing but the numbers.

    Parameters
    ----------
    model : Layer
        With its first weights.
    decay : float
        At least 0, less than 1: 0.999 averages about the last 1,000 steps.
    """

    def __init__(self, model, decay):
        self._model, self._decay = model, decay
        self._average = model.state_dict()

    def update(self, step):
        """Blend in the weights as they are after a step.

        Parameters
        ----------
        step : int
            Of the whole run, from 0.
        """
        kept = min(self._decay, (1 + step) / (10 + step))
        for name, now in self._model.state_dict().items():
            average = self._average[name]
            if now.dtype.kind == "f":
                now -= average  # a copy: the network does not mind
                now *= 1 - kept
                average += now
            else:
                average[...] = now  # how many batches there were

    @contextlib.contextmanager
    def applied(self):
        """Let the network have the averaged weights inside this context, and its own again afterwards."""
        own = self._model.state_dict()
        self._model.load_state_dict(self._average)
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def apply(self):
        """Give the network the averaged weights for good."""
        self._model.load_state_dict(self._average)

    def state_dict(self):
        """Return a copy of every averaged array, by its name in the network's state dict.

        Returns
        -------
        dict of str to ndarray
        """
        return {name: array.copy() for name, array in self._average.items()}

    def load_state_dict(self, state):
        """Take over averaged arrays.

        Parameters
        ----------
        state : dict of str to ndarray
            With the names, shapes and dtypes of `state_dict()`.

        Raises
        ------
        ValueError
            If they are others; then nothing is taken over.
        """
        for name in self._average.keys() | state.keys():
            mine, other = self._average.get(name), state.get(name)
            if mine is None or other is None or (mine.shape, mine.dtype) != (other.shape, other.dtype):
                raise ValueError(f"the average does not belong to this network: {name} is missing, unknown or another")
        self._average = {name: array.copy() for name, array in state.items()}
