"""What a run is a run of: its network and its data, in a few lines of text that are compared when it is resumed."""

import dataclasses
import hashlib

import numpy as np

from repvgg_np.blocks import DEFAULT


def describe_run(model, train_set, test_set, mean, std):
    """Describe what a run's result depends on, besides its settings.

    Parameters
    ----------
    model : RepVGG
    train_set, test_set : Dataset
    mean, std : ndarray (3,)
        With which the pictures are normalised.

    Returns
    -------
    dict
        "model", "architecture", "num_classes", "dtype", "train_set", "test_set", "classes", "mean" and "std": what JSON
        can hold.
    """
    config = dataclasses.asdict(model.config) if dataclasses.is_dataclass(getattr(model, "config", None)) else {}
    if config.get("block") == DEFAULT:
        del config["block"]  # checkpoints from before there were variants don't say
    return {
        "model": model.name,
        "architecture": ", ".join(f"{name} {value}" for name, value in config.items()) or type(model).__name__,
        "num_classes": int(model.num_classes),
        "dtype": str(model.dtype),
        "train_set": _describe(train_set),
        "test_set": _describe(test_set),
        "classes": list(train_set.classes),
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
    }


def _describe(dataset):
    """Describe a data set so that no two are described alike: by a digest of its pictures and labels."""
    digest = hashlib.sha256(np.ascontiguousarray(dataset.images))
    digest.update(np.ascontiguousarray(dataset.labels))
    return f"{dataset.name}, {len(dataset)} pictures, sha256 {digest.hexdigest()}"


def differences(before, now):
    """Say in what two dicts differ, in one line.

    Parameters
    ----------
    before, now : dict

    Returns
    -------
    str
        Such as "learning_rate 0.1 (now 0.05), seed 0 (now 1)"; empty if they are equal.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    parts = [f"{name} {_shown(before.get(name))} (now {_shown(now.get(name))})" for name in names[:3]]
    return ", ".join(parts) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(value):
    """Return a value as a short text of one line."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
