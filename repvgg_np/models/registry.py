"""All networks by name."""

import dataclasses
import difflib

import numpy as np

from repvgg_np.blocks import DEFAULT
from repvgg_np.models import (
    densenet,
    efficientnet,
    googlenet,
    mobilenet_v1,
    mobilenet_v2,
    regnet,
    resnet,
    shufflenet_v1,
    shufflenet_v2,
    vgg,
)
from repvgg_np.models.network import Baseline
from repvgg_np.models.repvgg import GROUPED_LAYERS, RepVGG, RepVGGConfig

# Table 3 of the paper: the width multipliers a (stages 1 to 4) and b (stage 5).
_MULTIPLIERS = {
    "A0": (0.75, 2.5), "A1": (1, 2.5), "A2": (1.5, 2.75),
    "B0": (1, 2.5), "B1": (2, 4), "B2": (2.5, 5), "B3": (3, 5),
}  # fmt: skip
_DEPTHS = {"A": (1, 2, 4, 14, 1), "B": (1, 4, 6, 16, 1)}  # table 2
_GROUPED = {"B1": (2, 4), "B2": (2, 4), "B3": (2, 4)}

# Not of the paper: for the shortest way to an accuracy on CIFAR with a CPU. Kernels of many channels run at the
# processor's peak and, with Winograd, above it; kernels of few channels on large pictures far below. So these are wide
# and shallow, and halve the picture in the first layer (but for the largest). Blocks more are worth their time at 8x8
# pixels, where they are cheap; a stage at 4x4 costs less still but learns no faster (tutorial 10 has the numbers).
# Depths, widths and strides of the stages.
_WIDE = {
    "W1": ((1, 1, 2), (48, 64, 128), (2, 1, 2)),
    "W2": ((1, 2, 3), (48, 64, 128), (2, 1, 2)),
    "W3": ((1, 2, 5), (48, 96, 160), (2, 1, 2)),
    "W4": ((1, 2, 5), (64, 128, 192), (2, 1, 2)),
    "W5": ((1, 3, 3), (64, 128, 256), (1, 2, 2)),
}


def _widths(base, a, b):
    """Scale the widths of the five stages; the first never grows beyond its base (table 2)."""
    return (min(base[0], int(base[0] * a)), *(int(width * a) for width in base[1:4]), int(base[4] * b))


def _configs():
    """Return every RepVGG's config by its name."""
    configs = {}
    for letter, (a, b) in _MULTIPLIERS.items():
        depths, widths = _DEPTHS[letter[0]], _widths((64, 64, 128, 256, 512), a, b)
        configs[f"RepVGG-{letter}"] = RepVGGConfig(depths, widths, (2, 2, 2, 2, 2))
        for groups in _GROUPED.get(letter, ()):
            grouped = dict.fromkeys(GROUPED_LAYERS, groups)
            configs[f"RepVGG-{letter}g{groups}"] = RepVGGConfig(depths, widths, (2, 2, 2, 2, 2), grouped)
    for letter, (a, b) in _MULTIPLIERS.items():
        # For pictures of 32x32: a quarter of the widths (an eighth in the last stage), and only two of five strides.
        depths, widths = _DEPTHS[letter[0]], _widths((16, 16, 32, 64, 64), a, b)
        configs[f"RepVGG-{letter}-CIFAR"] = RepVGGConfig(depths, widths, (1, 1, 2, 2, 1), {}, 32, 10)
    configs |= {f"RepVGG-{name}-CIFAR": RepVGGConfig(*shape, {}, 32, 10) for name, shape in _WIDE.items()}
    # Not of the paper: A's shape (one block, then more, then one) at a size that trains in minutes on one core, for the
    # ablation, where dozens of trainings are compared.
    configs["RepVGG-S-CIFAR"] = RepVGGConfig((1, 4, 6, 1), (24, 24, 48, 96), (2, 1, 2, 2), {}, 32, 10)
    # Not of the paper: the smallest that still learns, for tutorials and tests.
    configs["RepVGG-tiny"] = RepVGGConfig((1, 1, 2, 2, 1), (16, 16, 32, 64, 128), (1, 2, 2, 2, 1), {}, 32, 10)
    return configs


# First the paper's own networks, then those that it compares them with, or that its introduction speaks of.
CONFIGS = _configs()
for _family in (
    resnet, vgg, regnet, efficientnet, mobilenet_v1, mobilenet_v2, shufflenet_v1, shufflenet_v2, densenet, googlenet,
):  # fmt: skip
    CONFIGS |= _family.CONFIGS


def list_models():
    """Return the names of all networks.

    Returns
    -------
    list of str
    """
    return list(CONFIGS)


def find_model(name):
    """Return the full spelling of a network's name, which is case-insensitive.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is none of that name; the message offers the nearest.
    """
    spellings = {spelling.lower(): spelling for spelling in CONFIGS}
    if str(name).lower() in spellings:
        return spellings[str(name).lower()]
    near = difflib.get_close_matches(str(name).lower(), spellings, n=3, cutoff=0.4)
    offers = f"; did you mean {', '.join(spellings[n] for n in near)}?" if near else f"; there are {', '.join(CONFIGS)}"
    raise ValueError(f"name must be a known model, got {name!r}{offers}")


def create_model(name, num_classes=None, seed=0, *, dtype=np.float32, form="training", variant=None):
    """Make a network with freshly drawn weights.

    Parameters
    ----------
    name : str
        One of `list_models()`, in any case.
    num_classes : int, optional
        Without it, 1000 for the ImageNet networks and 10 for the CIFAR ones.
    seed : int
        Draws the weights: the same seed, the same bits.
    dtype : dtype
        float32 or float64.
    form : {"training", "inference"}
    variant : str, optional
        Of which kind a RepVGG's blocks are: a name in `blocks.VARIANTS`, such as "no-identity" or "dbb". Without it,
        RepVGG's own. No other network has variants.

    Returns
    -------
    Network
        A `RepVGG`, or the `Baseline` of that name.

    Raises
    ------
    ValueError
        If there is no such model, it has no variants, or an argument is out of range.
    """
    name = find_model(name)
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    rng = None if seed is None else np.random.default_rng(seed)
    config = CONFIGS[name]
    if isinstance(config, RepVGGConfig):
        kind, config = RepVGG, dataclasses.replace(config, block=DEFAULT if variant is None else variant)
    elif variant is None:
        kind = Baseline
    else:
        raise ValueError(f"variant is for RepVGG networks only, {name} has none, got {variant!r}")
    model = kind(config, num_classes, rng=rng, dtype=dtype, form=form)
    model.name = name
    return model
