"""The trained network that comes with the package: for whoever wants to see fusion at work without training first.

`weights/` holds it in both forms, and `cifar10.json` says how it came about: the command, the seed, the history of the
training, the accuracies.
"""

from pathlib import Path

from repvgg_np.models.files import load

FOLDER = Path(__file__).parent.parent / "weights"
FORMS = {"training": "cifar10.npz", "inference": "cifar10-fused.npz"}


def pretrained_path(form="training"):
    """Return where the file of the trained network is.

    Parameters
    ----------
    form : {"training", "inference"}

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form must be training or inference, got {form!r}")
    return FOLDER / FORMS[form]


def load_pretrained(form="training"):
    """Load a small RepVGG that was trained on CIFAR-10.

    Parameters
    ----------
    form : {"training", "inference"}
        With three branches in each block, or fused.

    Returns
    -------
    RepVGG
        In inference mode; its `notes` say how pictures are normalised ("mean", "std") and name the "classes".

    Raises
    ------
    ValueError
        If there is no such form.
    """
    return load(pretrained_path(form))
