"""The results of an ablation: one line of a CSV file for each run."""

import csv
import io
import json
from pathlib import Path

from repvgg_np.atomic import atomic_write
from repvgg_np.training.facts import differences
from repvgg_np.training.settings import Settings

RESULTS_FILE, FACTS_FILE = "results.csv", "ablation.json"
COLUMNS = {
    "row": str,  # the kind of block
    "seed": int,
    "epochs": int,
    "parameters": int,  # of the training form
    "fused_parameters": int,  # empty, like everything else of the fused form, where the row does not fold
    "train_accuracy": float,  # over the last epoch, as in the history: with augmentation, in training mode; from 0 to 1
    "test_accuracy": float,  # after the last epoch
    "fused_test_accuracy": float,
    "changed_predictions": int,  # how many test pictures the two forms classify differently
    "training_images_per_second": float,  # the median over the epochs
    "images_per_second": float,  # evaluation, in training form (as in table 6), the batches' preparation included
    "fused_images_per_second": float,
}


class Results:
    """The runs that are done, in memory and in a file that is rewritten, whole, with each of them.

    Parameters
    ----------
    folder : pathlib.Path
        Of the file.
    facts : dict
        What all runs have in common, as JSON can hold it. Kept beside the results, and compared.

    Attributes
    ----------
    path : pathlib.Path
    rows : list of dict
        Keyed by `COLUMNS`, in the order in which the runs ended.

    Raises
    ------
    ValueError
        If the folder holds results of other facts, or a file cannot be read or written.
    """

    def __init__(self, folder, facts):
        self.path = Path(folder) / RESULTS_FILE
        facts_path = Path(folder) / FACTS_FILE
        if facts_path.exists():
            try:
                before = dict(json.loads(facts_path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise ValueError(f"cannot read {facts_path}: {error}") from error
            different = differences(_flat(before), _flat(facts))
            if different:
                raise ValueError(f"{folder} holds another ablation: {different}; choose another folder")
        else:
            with atomic_write(facts_path) as file:
                file.write(json.dumps(facts, indent=1).encode())
        self.rows = read_results(self.path) if self.path.exists() else []

    def has(self, row, seed):
        """Return whether there is a result for this row and seed."""
        return any(result["row"] == row and result["seed"] == seed for result in self.rows)

    def add(self, result):
        """Add one run; when this returns, it is on the disk.

        Parameters
        ----------
        result : dict
            Keyed by `COLUMNS`.

        Raises
        ------
        ValueError
            If it has other columns, or the file cannot be written.
        """
        if set(result) != set(COLUMNS):
            raise ValueError(f"result must have the columns {', '.join(COLUMNS)}, got {', '.join(map(str, result))}")
        rows = [*self.rows, {name: result[name] for name in COLUMNS}]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode())
        self.rows = rows

    def of(self, rows, seeds):
        """Return only the results of these rows and seeds, row by row, as dicts.

        Parameters
        ----------
        rows : sequence of str
        seeds : sequence of int

        Returns
        -------
        list of dict
        """
        found = {(result["row"], result["seed"]): result for result in self.rows}
        return [found[row, seed] for row in rows for seed in dict.fromkeys(seeds) if (row, seed) in found]


def read_results(path):
    """Read a results file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    list of dict
        Keyed by `COLUMNS`; None where a field is empty.

    Raises
    ------
    ValueError
        If the file cannot be read, or is something else.
    """
    try:
        lines = list(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} holds no results of an ablation: {error}") from error
    if not lines or lines[0] != list(COLUMNS):
        raise ValueError(f"{path} holds no results of an ablation: its first line must be {','.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            fields = zip(COLUMNS.items(), line, strict=True)
            rows.append({name: kind(field) if field else None for (name, kind), field in fields})
        except ValueError as error:
            raise ValueError(f"line {number} of {path} must be {len(COLUMNS)} fields, got {line}") from error
    return rows


def _flat(facts):
    """Put the settings beside the other facts, so that a difference is shown by its name.

    What older files don't say had its default.
    """
    settings = facts.get("settings")
    return {**facts, **Settings().as_dict(), **settings, "settings": None} if isinstance(settings, dict) else facts
