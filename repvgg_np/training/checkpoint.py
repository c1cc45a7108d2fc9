"""Checkpoints: all that it takes to go on with a run as if it had never been stopped, in one file without pickle.

The file holds the network's state, the optimizer's velocities, the settings, the position, the history, and what the
run is a run of. The state of a random generator is not among them, because there is none: the order of an epoch, the
augmentation and the mixup of a batch are functions of (seed, epoch, number of the batch).
"""

import contextlib
import dataclasses
import os
from pathlib import Path

from repvgg_np.interop import read_npz, save_npz
from repvgg_np.training.facts import differences
from repvgg_np.training.history import COLUMNS
from repvgg_np.training.position import Position
from repvgg_np.training.settings import Settings

FORMAT = "repvgg_np checkpoint, version 1"
_STATE, _MOMENTUM, _AVERAGE = "model/", "momentum/", "average/"  # with one of these begin the names in the file


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    path : str or os.PathLike
        Where it was read.
    state, momentum : dict of str to ndarray
        The network's state dict, and the velocities.
    settings : Settings
    position : Position
    facts : dict
        From `describe_run`: the network, the data, the classes, the normalisation.
    history : list of dict
        The rows of the epochs before `position.epoch`.
    average : dict of str to ndarray
        The averaged weights; empty where none are kept.
    """

    path: object
    state: dict
    momentum: dict
    settings: Settings
    position: Position
    facts: dict
    history: list
    average: dict

    def restore(self, model, optimizer, settings, facts, average=None):
        """Put the network and the optimizer into the state of the checkpoint, if it belongs to this very run.

        Parameters
        ----------
        model : Layer
        optimizer : SGD
        settings : Settings
        facts : dict
            From `describe_run`.
        average : WeightAverage, optional

        Raises
        ------
        ValueError
            If it is a checkpoint of another network, of other settings or of other data. The message says what differs.
        """
        for what, before, now in (
            ("network or data", self.facts, facts),
            ("settings", self.settings.as_dict(), settings.as_dict()),
        ):
            different = differences(before, now)
            if different:
                raise ValueError(f"{self.path} is a checkpoint of a run with other {what}: {different}")
        try:
            if average is not None:
                average.load_state_dict(self.average)
            former = optimizer.state_dict()
            optimizer.load_state_dict(self.momentum)
            try:
                model.load_state_dict(self.state)
            except ValueError:
                optimizer.load_state_dict(former)  # both or none
                raise
        except ValueError as error:
            raise ValueError(f"{self.path} is a checkpoint of another network: {error}") from error


def save_checkpoint(path, model, optimizer, settings, position, facts, history, average=None):
    """Write a checkpoint: whole, or not at all and the former one stays.

    Parameters
    ----------
    path : str or os.PathLike
    model : Layer
    optimizer : SGD
    settings : Settings
    position : Position
    facts : dict
        From `describe_run`.
    history : list of dict
        The rows of the epochs that are over.
    average : WeightAverage, optional

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    arrays = {_STATE + name: array for name, array in model.state_dict().items()}
    arrays.update({_MOMENTUM + name: array for name, array in optimizer.state_dict().items()})
    if average is not None:
        arrays.update({_AVERAGE + name: array for name, array in average.state_dict().items()})
    metadata = {
        "format": FORMAT,
        "settings": settings.as_dict(),
        "position": dataclasses.asdict(position),
        "facts": facts,
        "history": history,
    }
    save_npz(path, arrays, metadata)


def load_checkpoint(path):
    """Read a checkpoint.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Checkpoint

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, or is something else.
    """
    arrays, metadata = read_npz(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a training checkpoint")
    try:
        return Checkpoint(
            path,
            _part(arrays, _STATE),
            _part(arrays, _MOMENTUM),
            Settings.from_dict(metadata["settings"]),
            _parse_position(metadata["position"]),
            dict(metadata["facts"]),
            _parse_history(metadata["history"], metadata["position"]["epoch"]),
            _part(arrays, _AVERAGE),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def remove_leftovers(path):
    """Remove the unfinished files that a run left behind which was killed while it wrote `path`.

    Parameters
    ----------
    path : str or os.PathLike
        Of a file that is written by `atomic_write`, and by no other process at this time.
    """
    path = Path(path)
    for unfinished in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            os.unlink(unfinished)


def _part(arrays, prefix):
    """Return the arrays whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _parse_position(stored):
    """Make a position of what was stored, each number of the type that it must have."""
    position = Position(**stored)
    for field in dataclasses.fields(Position):
        value, kind = getattr(position, field.name), field.type
        if type(value) is not kind or not value >= 0:
            raise ValueError(
                f"{field.name} of its position must be of type {kind.__name__} and at least 0, got {value!r}"
            )
    return position


def _parse_history(rows, epochs):
    """Check that there is a row for each epoch that is over."""
    if [row["epoch"] for row in rows] != list(range(1, epochs + 1)) or any(set(row) != set(COLUMNS) for row in rows):
        raise ValueError(f"its history must have a row for each of the {epochs} epochs that are over")
    return rows
