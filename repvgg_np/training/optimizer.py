"""The optimizer of a run: which one, and which parameters have a learning rate of their own."""

from repvgg_np.layers import BatchNorm2d
from repvgg_np.models.initialise import find_classifier
from repvgg_np.training.muon import Muon
from repvgg_np.training.sgd import SGD


def make_optimizer(model, settings):
    """Make the optimizer that the settings ask for.

    Parameters
    ----------
    model : Network
    settings : Settings
        Its `optimizer`, `learning_rate`, `muon_rate`, `momentum`, `nesterov`, `weight_decay`, `decay`, `bias_rate` and
        `logit_scale`.

    Returns
    -------
    SGD
    """
    rules = (settings.momentum, settings.nesterov, settings.weight_decay, settings.decay, _rates(model, settings))
    if settings.optimizer == "muon":
        return Muon(model.named_parameters(), settings.learning_rate, settings.muon_rate, *rules)
    return SGD(model.named_parameters(), settings.learning_rate, *rules)


def _rates(model, settings):
    """Return the multiples of the learning rate by the names of the parameters, where they are not 1.

    Logits S (W x + b) are those of a classifier W' = S W, b' = S b. Its gradients are 1/S of those of W and b, and a
    step of W moves S W by S times as much: so W' takes the same steps with S^2 times the learning rate.
    """
    rates = {}
    if settings.bias_rate != 1:
        betas = [f"{name}.bias" for name, layer in model.named_layers() if isinstance(layer, BatchNorm2d)]
        rates |= dict.fromkeys(betas, settings.bias_rate)
    if settings.logit_scale != 1:
        name, classifier = find_classifier(model)
        rates |= {f"{name}.{own}": settings.logit_scale**2 for own, _ in classifier.named_parameters()}
    return rates
