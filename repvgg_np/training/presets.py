"""Recipes for CIFAR-10 as data: a network and the settings of its training, under a name.

The first four are made for the time to an accuracy on two cores, the others are the paper's own settings. What has
been measured so far, on CIFAR-10 whose pictures had gone through JPEG once, with two threads, from the command to the
written network:

- `minute`, seeds 0, 1, 2: 75.36, 75.29, 75.71 % of the test pictures (with mirror images 76.29, 76.37, 75.98), in 62,
  70 and 64 s.
- `coffee`, seeds 0, 1, 2: 85.48, 85.77, 85.65 % (with mirror images 86.25, 86.30, 86.35), in 337, 345 and 324 s.
- `lunch`, seed 0: 89.45 % (with mirror images 89.93) in 1463 s, short of what it is made for.
- `best` has not been run yet; its 25 epochs are what fits into 55 minutes by the speed of its steps.
- Fused, no accuracy and no confusion of two classes changed by a picture in any of them.

What each choice brought: `coffee`'s network and batches, three epochs of 35,000 training pictures, 5,000 others held
out to judge, seed 0. (Another seed is as much as a point away: smaller differences are hints.)

    SGD                                                              73.1 %
    Muon at 0.05                                                     80.2   (at 0.08: 78.9)
    and steps of the betas 16 times as large                         81.1   (all steps but Muon's 2.7 times: 80.8)
    and four epochs: of 16x16, 24x24, 32x32 and 32x32 pixels         81.8   (8 % more time)
    and a tenth of the run for the warm-up, instead of a quarter     82.1

Nothing, or less, was brought by: whitened first kernels (81.2 where there were 81.1), the momentum 0.7 with Muon at 0.1
(80.0 where there were 80.2), batches of 256 with Muon at 0.08 (79.2), gammas of 0.5, 0.5, 1 in the branches at first
(79.1), logits learnt as if multiplied by 0.25 (79.1), and a network of two blocks less and 192 channels in the last
stage, which takes as long (76.1 where there were 81.1).

The last of the five, changed: Muon at 0.025 81.6 and at 0.015 80.0; of the networks that take about as long, depths
1, 4, 4 and widths 32, 48, 96 gave 82.2, a first stage of 24 channels at 32x32 pixels 81.9, a fourth stage at 4x4 pixels
(depths 1, 2, 2, 1, widths 48, 64, 128, 256) 80.1; a block more in the last stage, for 15 % more time, 83.0.

Three times as long, with the same pictures, about ten minutes of one core each (seed 0; in brackets the accuracy on the
training pictures in the last epoch):

    12 epochs, from 16x16 to 32x32 pixels                            86.2 %  (87.4)
    9 epochs of 32x32                                                85.5    (86.3)
    12 epochs, Muon at 0.03                                          86.3    (89.4)
    and a block more in the last stage, 11 epochs                    86.8    (90.0)
    12 epochs, Muon at 0.02                                          86.4    (89.9)
    12 epochs, Muon at 0.03, a first stage of 24 channels at 32x32   85.8    (89.2)
    12 epochs, Muon at 0.03, pieces of 24x24 pixels, not shrunk ones 86.1    (88.9)
    12 epochs, Muon at 0.03, shifted by up to 4 pixels               86.0    (87.8)
    and a square of 8 pixels covered                                 85.3    (84.6)
    17 epochs, Muon at 0.03, half of the easy pictures left out      86.5    (90.6)

(The last: in every epoch after the first and before the last two, half of the pictures whose loss was below the mean
are left out by lot, and the others of these count twice.) What is learnt faster is not learnt better. Of all these only
the block more is worth its time.

And of 45,000 pictures, with Muon at 0.03 and shifts of up to 4 pixels, about 35 minutes of a core each:

    depths 1, 2, 3, widths 48, 96, 192, 18 epochs                    88.7 %  (92.9)
    and mixup of 0.2                                                 88.3    (80.7, of blended pictures)
    depths 1, 2, 3, widths 64, 128, 256, 9 epochs, shifts of 2       88.0    (90.9)
    depths 1, 2, 5, widths 48, 96, 160, 16 epochs (`lunch`)          89.2    (93.1)

How far can it go? The fastest published way to 94 % (94.01 as the mean of many runs, with the mean over six views of
each test picture; KellerJordan/cifar10-airbench, airbench94_muon.py), written in PyTorch for a CPU, with the published
settings but for batches of 1000, gave in one run 89.45 % of these test pictures, 90.42 with the six views, in 1693 s of
two threads; in its last epoch it had 93.9 % of the training pictures. (`lunch` has the same 89.45 % in 1463 s.) So JPEG
costs it about 3.6 points: if it costs every recipe as much, 91 % of these pictures are worth between 94 and 95 % of the
original ones. The same author's older recipes for 94, 95 and 96 % take 0.36, 1.4 and 4.9 PFLOP: each point costs nearly
four times as much as the one before.
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


# What the quick recipes share. Kernels are Muon's affair; the learning rate and the decay are those of the classifier
# and, without the decay, of the batch norms.
_QUICK = Settings(
    batch_size=128,
    optimizer="muon",
    muon_rate=0.05,
    learning_rate=0.15,
    bias_rate=16,
    schedule="one_cycle",
    nesterov=True,
    weight_decay=1e-3,
    decay="kernels",
    label_smoothing=0.1,
    flip="alternating",
    padding=2,
    first_size=16,
)


def _quick(epochs, **changes):
    """Return the quick settings for so many epochs, a tenth of them for the warm-up."""
    return dataclasses.replace(_QUICK, epochs=epochs, warmup_epochs=epochs / 10, **changes)


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
    "lunch": Preset(
        "RepVGG-W3-CIFAR", _quick(16, muon_rate=0.03, padding=4, evaluate_every=3), "91 % within 25 minutes"
    ),
    "best": Preset("RepVGG-W4-CIFAR", _quick(25, muon_rate=0.03, padding=4, evaluate_every=5), "what an hour allows"),
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
    betas = "" if s.bias_rate == 1 else f" (beta {s.bias_rate:g} times)"
    return "\n".join(
        [
            f"{model.name}: {model.count_parameters():,} parameters in training",
            f"{s.epochs} epochs in batches of {s.batch_size}, seed {s.seed}",
            f"{optimizer}learning rate up to {s.learning_rate:g}{betas}, {s.schedule}{warmup}; "
            f"{'Nesterov ' if s.nesterov else ''}momentum {s.momentum:g}; decay {s.weight_decay:g} ({s.decay})",
            f"pictures: {', '.join(changes) if s.augment else 'as they are'}{growing}",
            ", ".join(extras),
        ]
    )
