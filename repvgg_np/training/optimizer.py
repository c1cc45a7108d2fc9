"""The optimizer of a run."""

from repvgg_np.training.muon import Muon
from repvgg_np.training.sgd import SGD


def make_optimizer(model, settings):
    """Make the optimizer that the settings ask for.

    Parameters
    ----------
    model : Network
    settings : Settings
        Its `optimizer`, `learning_rate`, `muon_rate`, `momentum`, `nesterov`, `weight_decay` and `decay`.

    Returns
    -------
    SGD
    """
    rules = (settings.momentum, settings.nesterov, settings.weight_decay, settings.decay)
    if settings.optimizer == "muon":
        return Muon(model.named_parameters(), settings.learning_rate, settings.muon_rate, *rules)
    return SGD(model.named_parameters(), settings.learning_rate, *rules)
