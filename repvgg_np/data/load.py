"""Every data set by its name."""

from repvgg_np.data.checks import check_choice, check_split
from repvgg_np.data.cifar import load_cifar
from repvgg_np.data.synthetic import synthetic_dataset

DATASETS = ("synthetic", "cifar10", "cifar100")


def load_dataset(name, split, data_dir=None, download=False):
    """Load one split of a data set.

    Parameters
    ----------
    name : {"synthetic", "cifar10", "cifar100"}
        Which data set. "synthetic" is drawn by code, with seed 0, and needs no files.
    split : {"train", "test"}
        Which split.
    data_dir : str, os.PathLike or None, optional
        Where the files of CIFAR are: a folder or an archive, see `load_cifar`.
    download : bool, optional
        Whether to fetch the files of CIFAR if they are missing.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        For an unknown name or split, for files that are missing or damaged, or for a place of files given to
        "synthetic".
    """
    check_choice("data set", name, DATASETS)
    check_split(split)
    if name != "synthetic":
        return load_cifar(name, split, data_dir, download)
    if data_dir is not None or download:
        raise ValueError("the synthetic data set is drawn by code: it takes neither a data_dir nor a download")
    return synthetic_dataset(split)
