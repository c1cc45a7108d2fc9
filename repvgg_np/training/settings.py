"""Every choice of a training run, in one place."""

import contextlib
import dataclasses
import math

from repvgg_np.data import FLIPS_BY_NAME, STRONGEST, Augmentation
from repvgg_np.training.schedule import SCHEDULES
from repvgg_np.training.sgd import DECAYS

SIZES = (8, 16, 24, 32)
OPTIMIZERS = ("sgd", "muon")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The choices that a run's result depends on. The same settings, network and data give the same bits.

    The defaults suit a small network on CIFAR and a CPU. The paper's own (section 4.1) are 120 epochs, batches of 256,
    a learning rate of 0.1 with a cosine and no warm-up, momentum 0.9, and a decay of 1e-4 on kernels.

    Parameters
    ----------
    epochs : int
        How often the training set is gone through; at least 1.
    batch_size : int
        Pictures per step; at least 1.
    learning_rate : float
        The highest of the run; more than 0.
    schedule : {"cosine", "one_cycle"}
        How the learning rate goes on: see `schedule.py`.
    warmup_epochs : float or None
        For how long the learning rate rises; less than `epochs`. None: what is usual for the schedule.
    optimizer : {"sgd", "muon"}
        What takes the steps of the kernels: see `muon.py`. All other parameters are the affair of "sgd".
    muon_rate : float
        With "muon", the highest length of a kernel's step, as a part of the kernel's own; more than 0.
    bias_rate : float
        By how much the learning rate of the batch norms' beta is multiplied; more than 0.
    momentum : float
        At least 0, less than 1.
    nesterov : bool
        Whether momentum is Nesterov's.
    weight_decay : float
        At least 0.
    decay : {"official", "kernels", "all"}
        Which parameters are decayed: see `SGD`.
    label_smoothing : float
        At least 0, less than 1.
    mixup : float
        The alpha of mixup; 0 is off.
    augment : bool
        Whether training pictures are changed at random; without it, the next five have no effect.
    padding : int
        By how many pixels they are shifted either way at most.
    flip : {"random", "alternating", "none"}
        Which of them are mirrored: see `data/flips.py`.
    rand_augment, magnitude : int
        How many operations of RandAugment each goes through, and how strong they are, from 0 to 30.
    cutout : int
        The side of the square that is covered; 0 is off.
    first_size : {8, 16, 24, 32}
        The height and width of the pictures at first. They grow by 8 pixels at a time, in about equal parts of the
        run; in its last epoch they have 32 whatever its length.
    whiten : bool
        Whether the first kernels are made from the pictures: see `whitening.py`.
    branch_gammas : tuple of three floats
        The first gammas of each block's 3x3, 1x1 and identity branch; at least 0.
    logit_scale : float
        The logits are learnt as if each were multiplied by this number, more than 0: the classifier begins so much
        smaller, and has the square of it as a multiple of its learning rate. See `optimizer.py`.
    average : float
        How much of the running average of the weights stays at each step: at least 0, less than 1; 0 is off. With it,
        the network is evaluated, and ends, with the averaged weights: see `averaging.py`.
    evaluate_every : int
        After so many epochs each the network is evaluated, at least 1; after the last one always. What is trained does
        not depend on it, but the history does, and the time that it takes.
    seed : int
        Of the order of the pictures, the augmentation and mixup; at least 0. The first weights are the model's affair.

    Raises
    ------
    ValueError
        If a choice is out of range.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "cosine"
    warmup_epochs: float | None = None
    optimizer: str = "sgd"
    muon_rate: float = 0.05
    bias_rate: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay: str = "official"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    augment: bool = True
    padding: int = 4
    flip: str = "random"
    rand_augment: int = 0
    magnitude: int = 9
    cutout: int = 0
    first_size: int = 32
    whiten: bool = False
    branch_gammas: tuple = (1.0, 1.0, 1.0)
    logit_scale: float = 1.0
    average: float = 0.0
    evaluate_every: int = 1
    seed: int = 0

    def __post_init__(self):
        """Refuse what is out of range; bring numbers into Python's own types, which JSON knows."""
        for name in ("nesterov", "augment", "whiten"):
            if getattr(self, name) not in (True, False):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
            object.__setattr__(self, name, bool(getattr(self, name)))
        self._check_integer("epochs", 1)
        self._check_integer("batch_size", 1)
        self._check_integer("evaluate_every", 1)
        for name in ("padding", "rand_augment", "magnitude", "cutout", "first_size", "seed"):
            self._check_integer(name, 0)
        if self.magnitude > STRONGEST:
            raise ValueError(f"magnitude must be at most {STRONGEST}, got {self.magnitude}")
        if self.first_size not in SIZES:
            raise ValueError(f"first_size must be one of {', '.join(map(str, SIZES))}, got {self.first_size!r}")
        for name in ("learning_rate", "muon_rate", "bias_rate", "logit_scale"):
            self._check_number(name, "more than 0", lambda rate: 0 < rate < math.inf)
        self._check_number("momentum", "at least 0 and less than 1", lambda momentum: 0 <= momentum < 1)
        self._check_number("weight_decay", "at least 0", lambda decay: 0 <= decay < math.inf)
        self._check_number("label_smoothing", "at least 0 and less than 1", lambda part: 0 <= part < 1)
        self._check_number("average", "at least 0 and less than 1", lambda decay: 0 <= decay < 1)
        self._check_number("mixup", "at least 0", lambda alpha: 0 <= alpha < math.inf)
        if self.warmup_epochs is not None:
            wanted = f"at least 0 and less than the {self.epochs} epochs"
            self._check_number("warmup_epochs", wanted, lambda epochs: 0 <= epochs < self.epochs)
        self._check_branch_gammas()
        named = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS, "decay": DECAYS, "flip": FLIPS_BY_NAME}
        for name, choices in named.items():
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov needs a momentum of more than 0, got {self.momentum}")

    def _check_integer(self, name, least):
        """Refuse a field that is no integer of at least `least`."""
        value = getattr(self, name)
        whole = hasattr(value, "__index__") and not isinstance(value, bool)
        if not whole:
            raise ValueError(f"{name} must be an integer, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
        object.__setattr__(self, name, value.__index__())

    def _check_number(self, name, wanted, fits):
        """Refuse a field that is no number, or does not fit; a NaN fits nothing."""
        value, number = getattr(self, name), math.nan
        # Text has no `__float__`, though `float` would read it.
        if hasattr(value, "__float__") and not isinstance(value, bool):
            with contextlib.suppress(TypeError, OverflowError):
                number = float(value)
        if not fits(number):
            raise ValueError(f"{name} must be a number, {wanted}, got {value!r}")
        object.__setattr__(self, name, number)

    def _check_branch_gammas(self):
        """Refuse what is not three numbers of at least 0; JSON makes lists of tuples."""
        value = self.branch_gammas
        numbers = isinstance(value, (tuple, list)) and all(hasattr(v, "__float__") for v in value)
        if not numbers or len(value) != 3 or not all(0 <= float(v) < math.inf for v in value):
            raise ValueError(f"branch_gammas must be three numbers, at least 0, got {value!r}")
        object.__setattr__(self, "branch_gammas", tuple(map(float, value)))

    @property
    def augmentation(self):
        """How training pictures are changed, as `data.batches` wants to know it."""
        choices = (self.padding, self.flip, self.rand_augment, self.magnitude, self.cutout)
        return Augmentation(*choices) if self.augment else False

    def size(self, epoch):
        """Return the height and width of the pictures in an epoch, from 0."""
        sizes = SIZES[SIZES.index(self.first_size) :]
        return sizes[-1 - (self.epochs - 1 - epoch) * len(sizes) // self.epochs]

    def evaluates(self, epoch):
        """Return whether the network is evaluated after an epoch, from 0."""
        return (epoch + 1) % self.evaluate_every == 0 or epoch + 1 == self.epochs

    def as_dict(self):
        """Return the choices by their names, as JSON can hold them.

        Returns
        -------
        dict
        """
        return dataclasses.asdict(self) | {"branch_gammas": list(self.branch_gammas)}

    @classmethod
    def from_dict(cls, choices):
        """Make settings of a dict; what it lacks has its default.

        Parameters
        ----------
        choices : dict
            As `as_dict` returns it.

        Returns
        -------
        Settings

        Raises
        ------
        ValueError
            If a name is unknown, or a choice is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [str(name) for name in choices if name not in known]
        if unknown:
            raise ValueError(f"settings must be among {', '.join(known)}, got {', '.join(unknown)}")
        return cls(**choices)
