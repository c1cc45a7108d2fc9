"""The history of a run: one line of a CSV file for each epoch, written as soon as the epoch is over."""

import csv
import io
import os

from repvgg_np.atomic import atomic_write

COLUMNS = (
    "epoch",  # from 1
    "train_loss",  # mean over the epoch's batches, smoothing and mixup included, in training mode
    "train_accuracy",  # of the same forward passes; with mixup, the share of the target that the prediction names
    "test_loss",  # this and the next: of those held out, with --holdout; None (in the file: nothing) if not evaluated
    "test_accuracy",
    "learning_rate",  # of the epoch's last step
    "images_per_second",  # of the training steps
    "seconds",  # for training and evaluation
)
TIMING_COLUMNS = ("images_per_second", "seconds")
EVALUATION_COLUMNS = ("test_loss", "test_accuracy")


class History:
    """The rows of a run, in memory and in a file.

    The file is written anew at once, with the rows that are handed in: what a run wrote after its last checkpoint, and
    half a line that it was killed in, are gone when it is resumed.

    Parameters
    ----------
    path : str or os.PathLike
        Of the CSV file.
    rows : list of dict
        What the run has behind it.

    Attributes
    ----------
    rows : list of dict
        Keyed by `COLUMNS`.

    Raises
    ------
    ValueError
        If the file cannot be written, or a row has other columns.
    """

    def __init__(self, path, rows=()):
        self.path, self.rows = path, []
        with atomic_write(path) as file:
            file.write(_line(COLUMNS))
            for row in rows:
                file.write(_line(self._checked(row)))
                self.rows.append(dict(row))

    def append(self, row):
        """Add one epoch; when this returns, it is on the disk.

        Parameters
        ----------
        row : dict
            Keyed by `COLUMNS`.

        Raises
        ------
        ValueError
            If the row has other columns, or the file cannot be written.
        """
        line = _line(self._checked(row))
        try:
            with open(self.path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ValueError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.rows.append(dict(row))

    @staticmethod
    def _checked(row):
        """Return a row's values in the order of the columns."""
        if set(row) != set(COLUMNS):
            raise ValueError(f"row must have the columns {', '.join(COLUMNS)}, got {', '.join(map(str, row))}")
        return [row[column] for column in COLUMNS]


def read_history(path):
    """Read a history.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    list of dict
        Keyed by `COLUMNS`; "epoch" is an int, everything else a float, or None where there was no evaluation. A last
        line without its newline, in which a run was killed, is left out.

    Raises
    ------
    ValueError
        If the file cannot be read, or is something else.
    """
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a training history: it is no text") from error
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        lines.pop()
    if not lines or lines[0].split(",") != list(COLUMNS):
        raise ValueError(f"{path} is not a training history: its first line must be {','.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            texts = dict(zip(COLUMNS, line.split(","), strict=True))
            rows.append({column: _number(column, text) for column, text in texts.items()})
        except ValueError as error:
            raise ValueError(f"line {number} of {path} must be {len(COLUMNS)} numbers, got {line[:80]!r}") from error
    return rows


def _number(column, text):
    """Return the number that stands in a column; nothing means that there was no evaluation."""
    if column in EVALUATION_COLUMNS and not text:
        return None
    return int(text) if column == "epoch" else float(text)


def _line(values):
    """Format one line of CSV; a float has all the digits that it takes to read back the same float."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
