"""The checkpoint of one run: when it is due, what goes into it, and how the run is taken up again."""

import time

import numpy as np

from repvgg_np.training.checkpoint import load_checkpoint, remove_leftovers, save_checkpoint
from repvgg_np.training.errors import TrainingDiverged, TrainingInterrupted
from repvgg_np.training.history import History
from repvgg_np.training.position import Position

CHECKPOINT_FILE, HISTORY_FILE = "checkpoint.npz", "history.csv"


class Saver:
    """Keeps a run's checkpoint.

    Parameters
    ----------
    folder : pathlib.Path
    model : Layer
    optimizer : SGD
    settings : Settings
    facts : dict
        From `describe_run`.
    steps : int
        Of each epoch.
    every_seconds : float
        How long a checkpoint may be out of date.
    average : WeightAverage, optional

    Attributes
    ----------
    path : pathlib.Path
        Of the checkpoint.
    """

    def __init__(self, folder, model, optimizer, settings, facts, steps, every_seconds, average=None):
        self.path, self._history_path = folder / CHECKPOINT_FILE, folder / HISTORY_FILE
        self._model, self._optimizer, self._settings, self._facts = model, optimizer, settings, facts
        self._steps, self._every_seconds, self._average = steps, every_seconds, average
        self._saved = time.monotonic()

    def start(self, resume):
        """Begin the run, or take it up where its checkpoint was made.

        Parameters
        ----------
        resume : bool
            Take it up, if there is a checkpoint already.

        Returns
        -------
        position : Position
        history : History

        Raises
        ------
        ValueError
            If there is a checkpoint that is not to be taken up, or does not belong to this run; or a file cannot be
            read or written.
        """
        remove_leftovers(self.path)
        remove_leftovers(self._history_path)
        if not self.path.exists():
            # A first checkpoint at once: if the disk will have none, it says so now and not in an hour.
            self.save(Position(), [])
            return Position(), History(self._history_path)
        if not resume:
            raise ValueError(f"{self.path} exists already: go on with that run (resume), or choose another folder")
        checkpoint = load_checkpoint(self.path)
        checkpoint.restore(self._model, self._optimizer, self._settings, self._facts, self._average)
        position = checkpoint.position
        over = position.epoch == self._settings.epochs
        if position.epoch > self._settings.epochs or position.step > (0 if over else self._steps):
            raise ValueError(f"{self.path} is damaged: its position is beyond the end, {position}")
        return position, History(self._history_path, checkpoint.history)

    def is_due(self):
        """Return whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self._saved >= self._every_seconds

    def save(self, position, rows):
        """Write the checkpoint, unless the network has diverged: then the former one stays.

        Parameters
        ----------
        position : Position
        rows : list of dict
            The history.

        Raises
        ------
        TrainingDiverged
            If a weight, a statistic or a velocity is not finite.
        ValueError
            If the file cannot be written; then too the former one stays.
        """
        for what, arrays in (("network", self._model.state_dict()), ("momentum", self._optimizer.state_dict())):
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise self.diverged(f"{what} is not finite any more (first in {name})", position)
        parts = (self._model, self._optimizer, self._settings, position, self._facts, rows, self._average)
        save_checkpoint(self.path, *parts)
        self._saved = time.monotonic()

    def diverged(self, what, position):
        """Make the exception for a run that makes no sense any more.

        Parameters
        ----------
        what : str
            What is wrong, to follow upon "the".
        position : Position

        Returns
        -------
        TrainingDiverged
        """
        return TrainingDiverged(
            f"training diverged {position.describe(self._steps)}: the {what}, at a learning rate of "
            f"{self._optimizer.learning_rate:g}; try a smaller learning rate, or a longer warm-up (warmup_epochs)"
        )

    def interrupted(self, position):
        """Make the exception for a run that was stopped by Ctrl-C and is saved.

        Parameters
        ----------
        position : Position

        Returns
        -------
        TrainingInterrupted
        """
        return TrainingInterrupted(
            f"training was interrupted {position.describe(self._steps)}, and is saved in {self.path}: "
            "to go on, train into the same folder with resume=True (--resume on the command line)"
        )
