"""How a training run ends early: by the user's wish, or because it makes no sense to go on."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C was pressed: the run stopped between two steps and is saved. The message says how to go on."""


class TrainingDiverged(ValueError):
    """The loss or the weights are not finite any more. The message says where, and what to try."""
