"""The options of `repvgg-np train` and `repvgg-np ablate` that are settings of a training."""

import argparse
import dataclasses

from repvgg_np.training.presets import PRESETS, find_preset
from repvgg_np.training.settings import Settings


def add_settings(parser):
    """Add an option for each setting of a training.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of `repvgg-np train`.
    """
    parser.add_argument(
        "--preset", metavar="NAME", help="; ".join(f"{n}: {p.purpose}" for n, p in PRESETS.items()).replace("%", "%%")
    )
    add_most_used(parser)
    parser.add_argument("--schedule", help="cosine or one_cycle (default: cosine)")
    warmup = "while the learning rate rises (default: the schedule's own)"
    parser.add_argument("--warmup-epochs", type=float, help=warmup)
    parser.add_argument("--optimizer", help="sgd or muon, for the kernels of convolutions (default: sgd)")
    muon_rate = "with muon, the length of a kernel's step as a part of the kernel's own (default: 0.05)"
    parser.add_argument("--muon-rate", type=float, metavar="PART", help=muon_rate)
    bias_rate = "multiple of the learning rate for the batch norms' beta (default: 1)"
    parser.add_argument("--bias-rate", type=float, metavar="X", help=bias_rate)
    parser.add_argument("--momentum", type=float, help="default: 0.9")
    parser.add_argument("--nesterov", action=argparse.BooleanOptionalAction, help="default: no")
    parser.add_argument("--weight-decay", type=float, help="default: 1e-4")
    parser.add_argument("--decay", help="what decays: official, kernels or all (default: official)")
    parser.add_argument("--label-smoothing", type=float, help="default: 0")
    parser.add_argument("--mixup", type=float, help="alpha of mixup; 0 is off (default: 0)")
    augment = "change the pictures at random (default: yes)"
    parser.add_argument("--augment", action=argparse.BooleanOptionalAction, help=augment)
    parser.add_argument("--padding", type=int, metavar="PIXELS", help="shift by as many at most (default: 4)")
    parser.add_argument("--flip", help="random, alternating or none (default: random)")
    parser.add_argument("--rand-augment", type=int, metavar="N", help="operations of RandAugment (default: 0)")
    parser.add_argument("--magnitude", type=int, metavar="M", help="how strong they are, 0 to 30 (default: 9)")
    parser.add_argument("--cutout", type=int, metavar="PIXELS", help="side of the square that is covered (default: 0)")
    first_size = "height and width of the pictures at first: 8, 16, 24 or 32 (default: 32)"
    parser.add_argument("--first-size", type=int, metavar="PIXELS", help=first_size)
    whiten = "make the first kernels from the pictures (default: no)"
    parser.add_argument("--whiten", action=argparse.BooleanOptionalAction, help=whiten)
    gammas = "first gamma of the 3x3, the 1x1 and the identity branch (default: 1,1,1)"
    parser.add_argument("--branch-gammas", type=_numbers, metavar="A,B,C", help=gammas)
    scale = "learn the logits as if they were multiplied by it (default: 1)"
    parser.add_argument("--logit-scale", type=float, metavar="S", help=scale)
    average = "of the running average of the weights that stays at a step; 0 is off (default: 0)"
    parser.add_argument("--average", type=float, metavar="PART", help=average)
    every = "evaluate after so many epochs each, and after the last (default: 1)"
    parser.add_argument("--evaluate-every", type=int, metavar="N", help=every)
    parser.add_argument("--seed", type=int, help="default: 0")


def _numbers(text):
    """Return the numbers of a list with commas."""
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, got {text!r}") from error


def add_most_used(parser):
    """Add the settings that an ablation can have too."""
    parser.add_argument("--epochs", type=int, help="default: 20")
    parser.add_argument("--batch-size", type=int, help="default: 128")
    parser.add_argument("--learning-rate", "--lr", type=float, help="the highest of the schedule (default: 0.1)")


def read_settings(options):
    """Return the settings that the options give; where they say nothing, the preset's or the defaults.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    Settings

    Raises
    ------
    ValueError
        If one is out of range, or there is no such preset.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    preset = getattr(options, "preset", None)
    usual = Settings() if preset is None else find_preset(preset).settings
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    return dataclasses.replace(usual, **given)
