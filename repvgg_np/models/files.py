"""A network in one `.npz` file: arrays under the official names, the architecture as JSON beside them, no pickle."""

import dataclasses

import numpy as np

from repvgg_np.blocks import DEFAULT
from repvgg_np.interop import read_npz, save_npz
from repvgg_np.models.registry import CONFIGS
from repvgg_np.models.repvgg import RepVGG, RepVGGConfig

FORMAT = "repvgg_np model, version 1"


def save(model, path):
    """Write a network, in training or inference form, to one file.

    Parameters
    ----------
    model : RepVGG
    path : str or os.PathLike
        Ends in ``.npz``.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    config = dataclasses.asdict(model.config)
    config["groups"] = {str(number): groups for number, groups in config["groups"].items()}  # JSON has no integer keys
    facts = {
        "format": FORMAT,
        "model": model.name,
        "config": config,
        "num_classes": model.num_classes,
        "form": model.form,
        "dtype": model.dtype.name,
        "notes": model.notes,
    }
    save_npz(path, model.state_dict(), facts)


def load(path):
    """Read a network that `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    RepVGG
        In inference mode, in the form that it was saved in.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, or holds something else.
    """
    arrays, facts = read_npz(path)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{path} is not a model that repvgg_np saved (load_weights reads the arrays of other files)")
    try:
        model = _build(facts, sum(array.size for array in arrays.values()))
        model.load_state_dict(arrays)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return model.eval()


def _build(facts, numbers):
    """Make the network that the facts of a file describe, which holds so many numbers in all."""
    stored = facts["config"]
    config = RepVGGConfig(
        tuple(stored["depths"]),
        tuple(stored["widths"]),
        tuple(stored["strides"]),
        {int(number): groups for number, groups in stored["groups"].items()},
        stored["input_size"],
        stored["num_classes"],
        stored.get("block", DEFAULT),  # files from before there were variants don't say
    )
    # Before memory is asked for: the kernels alone must not be more than the file holds.
    if config.count_kernel_numbers() > numbers:
        raise ValueError(f"it describes a network of more than the {numbers} numbers that it holds")
    name = facts["model"]
    if name is not None and (name not in CONFIGS or dataclasses.replace(CONFIGS[name], block=config.block) != config):
        raise ValueError(f"it says that it is a {name}, but describes another architecture")
    if facts["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {facts['dtype']!r}")
    if not isinstance(facts["notes"], dict):
        raise ValueError("its notes are not a dict")
    model = RepVGG(config, facts["num_classes"], rng=None, dtype=np.dtype(facts["dtype"]), form=facts["form"])
    model.name, model.notes = name, facts["notes"]
    return model
