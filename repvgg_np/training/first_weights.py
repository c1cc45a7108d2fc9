"""What the settings of a run make of the first weights, before the first step."""

from repvgg_np.models.initialise import scale_classifier, set_branch_gammas
from repvgg_np.training.whitening import whiten_first_layer


def change_first_weights(model, train_set, mean, std, settings):
    """Change the weights that were drawn, as the settings say.

    Parameters
    ----------
    model : Network
        In training form; is changed.
    train_set : Dataset
    mean, std : ndarray (3,)
        With which it is normalised.
    settings : Settings
        Its `whiten`, `branch_gammas` and `logit_scale`.

    Raises
    ------
    ValueError
        If the network does not have what is to be changed.
    """
    if settings.whiten:
        whiten_first_layer(model, train_set, mean, std)
    if settings.branch_gammas != (1, 1, 1):
        set_branch_gammas(model, settings.branch_gammas)
    if settings.logit_scale != 1:
        scale_classifier(model, settings.logit_scale)
