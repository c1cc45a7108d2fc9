"""Recipes for CIFAR-10 as data: a network and the settings of its training, under a name.

The first four are made for the time to an accuracy on two cores, the others are the paper's own settings. Every
training of them is in `tables/recipes-cifar10.json` (`repvgg-np table recipes`); in short, of the test pictures of
CIFAR-10, which had gone through JPEG once like all others, from the command to the written network:

    minute    75.5 %, with mirror images 76.2 %    66 s            mean of three seeds
    coffee    85.5 %, 86.2 %                       342 s           mean of three seeds
    lunch     89.0 %, 89.8 %                       25.3 minutes    mean of three seeds; made for 91 %
    best      89.9 %, 90.8 %                       53.2 minutes    mean of three seeds, time of one

What their choices are worth in a draft of `coffee`, with three seeds and more, is in `tables/choices-cifar10.json`
(`repvgg-np table choices`). Tutorial 10 explains them, lists what brought nothing, and says how far these pictures let
a recipe come.
"""

import dataclasses
import difflib

from repvgg_np.training.settings import Settings


@dataclasses.dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes
    ----------
    model : str
        In the list of models.
    settings : Settings
    purpose : str
        What it is for, in one line.
    """

    model: str
    settings: Settings
    purpose: str


# What the quick recipes share. Kernels are Muon's affair; the learning rate is that of the classifier and the batch
# norms. Nothing is decayed, and mirror images come by a coin: neither a decay nor alternating flips brought anything.
_QUICK = Settings(
    batch_size=128,
    optimizer="muon",
    muon_rate=0.05,
    learning_rate=0.15,
    bias_rate=16,
    schedule="one_cycle",
    nesterov=True,
    weight_decay=0,
    label_smoothing=0.1,
    padding=2,
    first_size=16,
)


def _quick(epochs, **changes):
    """Return the quick settings for so many epochs, a tenth of them for the warm-up."""
    return dataclasses.replace(_QUICK, epochs=epochs, warmup_epochs=epochs / 10, **changes)


def _longer(epochs, **changes):
    """Return the same for a training that sees its pictures often: smaller steps, larger shifts."""
    return _quick(epochs, muon_rate=0.03, padding=4, **changes)


# Section 4.1 of the paper: SGD with momentum 0.9, batches of 256, a learning rate of 0.1 that falls along a cosine, a
# decay of 1e-4 on kernels; 120 epochs with simple augmentation (table 4), or 200 with 5 of warm-up, AutoAugment, label
# smoothing and mixup (table 5). The amounts of the last two the paper does not say; RandAugment stands for AutoAugment.
_PAPER = Settings(epochs=120, batch_size=256, learning_rate=0.1, weight_decay=1e-4, decay="kernels")
_PAPER_STRONG = dataclasses.replace(
    _PAPER, epochs=200, warmup_epochs=5, rand_augment=2, magnitude=9, label_smoothing=0.1, mixup=0.2
)

PRESETS = {
    "minute": Preset("RepVGG-W1-CIFAR", _quick(2), "a first result: 60 % within 90 seconds"),
    "coffee": Preset("RepVGG-W2-CIFAR", _quick(8, evaluate_every=4), "85 % within 6 minutes"),
    "lunch": Preset("RepVGG-W3-CIFAR", _longer(16, evaluate_every=3), "91 % within 25 minutes"),
    "best": Preset("RepVGG-W4-CIFAR", _longer(25, evaluate_every=5), "what an hour allows"),
    "paper": Preset("RepVGG-A0-CIFAR", _PAPER, "the paper's settings, simple augmentation (table 4)"),
    "paper-strong": Preset("RepVGG-A0-CIFAR", _PAPER_STRONG, "the paper's settings, strong augmentation (table 5)"),
}


def find_preset(name):
    """Return the preset of that name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Preset

    Raises
    ------
    ValueError
        If there is none; the message says which there are.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(str(name).lower(), PRESETS, n=1)
    offer = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}{offer}")


def describe_recipe(model, settings):
    """Say in a few lines what will be trained and how: every choice that the result depends on.

    Parameters
    ----------
    model : Network
    settings : Settings

    Returns
    -------
    str
    """
    s = settings
    warmup = "" if s.warmup_epochs is None else f", {s.warmup_epochs:g} epochs of warm-up"
    changes = [f"shifted by up to {s.padding} pixels", f"{s.flip} flips" if s.flip != "none" else "never flipped"]
    if s.rand_augment:
        changes.append(f"{s.rand_augment} operations of RandAugment at magnitude {s.magnitude}")
    if s.cutout:
        changes.append(f"a square of {s.cutout} pixels covered")
    if s.mixup:
        changes.append(f"mixup {s.mixup:g}")
    growing = "" if s.first_size == 32 else f"; {s.first_size}x{s.first_size} pixels at first, 32x32 in the end"
    extras = [f"label smoothing {s.label_smoothing:g}"]
    if s.whiten:
        extras.append("whitening kernels in the first layer")
    if s.average:
        extras.append(f"weights averaged with {s.average:g}")
    if s.evaluate_every > 1:
        extras.append(f"evaluated after {s.evaluate_every} epochs each, and after the last")
    if s.branch_gammas != (1, 1, 1):
        extras.append(f"gammas {', '.join(f'{gamma:g}' for gamma in s.branch_gammas)} in the branches at first")
    if s.logit_scale != 1:
        extras.append(f"logits learnt as if multiplied by {s.logit_scale:g}")
    optimizer = f"Muon, kernels turned by up to {s.muon_rate:g}; all else: " if s.optimizer == "muon" else ""
    decay = f"decay {s.weight_decay:g} ({s.decay})" if s.weight_decay else "no decay"
    betas = "" if s.bias_rate == 1 else f" (beta {s.bias_rate:g} times)"
    return "\n".join(
        [
            f"{model.name}: {model.count_parameters():,} parameters in training",
            f"{s.epochs} epochs in batches of {s.batch_size}, seed {s.seed}",
            f"{optimizer}learning rate up to {s.learning_rate:g}{betas}, {s.schedule}{warmup}; "
            f"{'Nesterov ' if s.nesterov else ''}momentum {s.momentum:g}; {decay}",
            f"pictures: {', '.join(changes) if s.augment else 'as they are'}{growing}",
            ", ".join(extras),
        ]
    )
