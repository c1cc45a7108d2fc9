"""Put a trained network into the package, in both forms, with a record of how it was made.

python -m repvgg_np.training.package_weights RUN --data-dir PATH --command "repvgg-np train ..."
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from repvgg_np.atomic import atomic_write
from repvgg_np.data import load_dataset
from repvgg_np.fuse import fuse
from repvgg_np.models import load, pretrained_path, save
from repvgg_np.training.evaluate import evaluate
from repvgg_np.training.history import TIMING_COLUMNS, read_history
from repvgg_np.training.saver import HISTORY_FILE

RECORD = "cifar10.json"


def package_weights(folder, test_set, command, remarks=""):
    """Write the three files: the network, its fused form, the record.

    Parameters
    ----------
    folder : str or os.PathLike
        That `repvgg-np train` wrote: with ``model.npz`` and ``history.csv``.
    test_set : Dataset
    command : str
        That made the run.
    remarks : str
        What else a reader of the accuracy should know.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ValueError
        If a file cannot be read or written.
    """
    folder = Path(folder)
    model = load(folder / "model.npz")
    fused = fuse(model)
    mean, std = (np.asarray(model.notes[key], np.float32) for key in ("mean", "std"))
    before, after, mirrored = (
        evaluate(form, test_set, mean, std, mirrored=both) for form, both in ((model, 0), (fused, 0), (fused, 1))
    )
    for form, network in (("training", model), ("inference", fused)):
        save(network, pretrained_path(form))
    record = {
        "model": model.name,
        "command": command,
        "seed": model.notes["settings"]["seed"],
        "settings": model.notes["settings"],
        "remarks": remarks,
        "test_accuracy": before.accuracy,
        "fused_test_accuracy": after.accuracy,
        "changed_predictions": int((before.predictions != after.predictions).sum()),
        "test_accuracy_with_mirror_images": mirrored.accuracy,
        "history": [
            {name: value for name, value in row.items() if name not in TIMING_COLUMNS}
            for row in read_history(folder / HISTORY_FILE)
        ],
        "sha256": {
            pretrained_path(form).name: hashlib.sha256(pretrained_path(form).read_bytes()).hexdigest()
            for form in ("training", "inference")
        },
    }
    with atomic_write(pretrained_path().with_name(RECORD)) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())
    return record


def main():
    """Do it for the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="RUN")
    parser.add_argument("--data-dir", metavar="PATH")
    parser.add_argument("--command", required=True, help="that made the run")
    parser.add_argument("--remarks", default="", help="what else a reader of the accuracy should know")
    options = parser.parse_args()
    record = package_weights(
        options.folder, load_dataset("cifar10", "test", options.data_dir), options.command, options.remarks
    )
    print(f"{record['test_accuracy']:.2%} of the test pictures correct, fused {record['fused_test_accuracy']:.2%}")


if __name__ == "__main__":
    main()
