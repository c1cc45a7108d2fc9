"""A network in one `.npz` file: arrays under the official names, the architecture as JSON beside them, no pickle."""

import dataclasses

import numpy as np

from repvgg_np.blocks import DEFAULT
from repvgg_np.interop import read_npz, save_npz
from repvgg_np.models.network import Baseline
from repvgg_np.models.registry import CONFIGS
from repvgg_np.models.repvgg import RepVGG, RepVGGConfig

FORMAT = "repvgg_np model, version 1"
LEAST_FEATURES = 512  # ResNet-18's: no classifier in the list, but RepVGG's own, has fewer


def save(model, path):
    """Write a network, in training or inference form, to one file.

    Parameters
    ----------
    model : Network
        A RepVGG of any config, or a network from the list of models.
    path : str or os.PathLike
        Ends in ``.npz``.

    Raises
    ------
    ValueError
        If the file cannot be written, or the network is neither.
    """
    config = dataclasses.asdict(model.config)
    if isinstance(model, Baseline):
        if CONFIGS.get(model.name) != model.config:
            raise ValueError(f"model must be one from the list of models to be saved, got one called {model.name!r}")
        config = None  # the name says it all
    else:
        config["groups"] = {str(number): groups for number, groups in config["groups"].items()}  # JSON: text as keys
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
    Network
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
    name, stored = facts["model"], facts["config"]
    if stored is None:
        config, kind = CONFIGS[name], Baseline
        least = LEAST_FEATURES * facts["num_classes"]
    else:
        config, kind = _repvgg_config(stored), RepVGG
        least = config.count_kernel_numbers()  # the 3x3 kernels alone
    if least > numbers:  # before memory is asked for
        raise ValueError(f"it describes a network of more than the {numbers} numbers that it holds")
    known = CONFIGS.get(name)
    if isinstance(known, RepVGGConfig) and isinstance(config, RepVGGConfig):
        known = dataclasses.replace(known, block=config.block)  # the name says nothing of the variant
    if name is not None and known != config:
        raise ValueError(f"it says that it is a {name}, but describes another architecture")
    if facts["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {facts['dtype']!r}")
    if not isinstance(facts["notes"], dict):
        raise ValueError("its notes are not a dict")
    model = kind(config, facts["num_classes"], rng=None, dtype=np.dtype(facts["dtype"]), form=facts["form"])
    model.name, model.notes = name, facts["notes"]
    return model


def _repvgg_config(stored):
    """Return the config that a file holds."""
    return RepVGGConfig(
        tuple(stored["depths"]),
        tuple(stored["widths"]),
        tuple(stored["strides"]),
        {int(number): groups for number, groups in stored["groups"].items()},
        stored["input_size"],
        stored["num_classes"],
        stored.get("block", DEFAULT),  # files from before there were variants don't say
    )
