"""First kernels that are made from the pictures, instead of drawn.

Neighbouring pixels and their colours are much alike, so that randomly drawn kernels of the first layer all see nearly
the same. The eigenvectors of the covariance of all 3x3 patches see different things: what one of them responds to says
nothing of the others. Behind them the batch norm brings every response to variance 1, and so the patches are whitened
(Page, "How to train your ResNet", part 8; with both signs of each, because ReLU drops what is negative: Jordan, arXiv
2404.00498, section 3.2). They are a beginning, and trained like all others; the block folds as ever.
"""

import numpy as np

from repvgg_np.data import normalise

PICTURES = 1000  # 900,000 patches, for the 378 different numbers of a 27x27 covariance


def patch_covariance(x):
    """Compute the covariance of all 3x3 patches of pictures.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
        At least 3 pixels high and wide.

    Returns
    -------
    ndarray (9 C, 9 C) float64
        In the order of a kernel (C, 3, 3).
    """
    height, width = x.shape[2] - 2, x.shape[3] - 2
    planes = [
        np.ascontiguousarray(x[:, c, i : i + height, j : j + width], np.float64).reshape(-1)
        for c in range(x.shape[1])
        for i in range(3)
        for j in range(3)
    ]
    planes = [plane - plane.mean() for plane in planes]
    covariance = np.empty((len(planes), len(planes)))
    for i, first in enumerate(planes):
        for j, second in enumerate(planes[: i + 1]):
            covariance[i, j] = covariance[j, i] = np.mean(first * second)
    return covariance


def whitening_kernels(covariance, count):
    """Return kernels that respond to the patches without correlation, those that tell most first.

    Parameters
    ----------
    covariance : ndarray (9 C, 9 C)
        From `patch_covariance`.
    count : int
        At most so many kernels.

    Returns
    -------
    ndarray (min(count, 18 C), C, 3, 3) float64
        Of length 1 each: every eigenvector is followed by its negative.
    """
    _, vectors = np.linalg.eigh(covariance)  # a column each, the one of the largest eigenvalue last
    pairs = np.repeat(vectors.T[::-1], 2, axis=0)
    pairs[1::2] *= -1
    return pairs[:count].reshape(-1, len(covariance) // 9, 3, 3)


def whiten_first_layer(model, dataset, mean, std):
    """Give the 3x3 branch of a RepVGG's first block whitening kernels, each as long as the one that it replaces.

    Where the block has more channels than there are such kernels (54 for colour pictures), the others stay as drawn.

    Parameters
    ----------
    model : RepVGG
        In training form; is changed.
    dataset : Dataset
        The training set.
    mean, std : ndarray (3,)
        With which it is normalised.

    Raises
    ------
    ValueError
        If the network does not begin with a RepVGG block.
    """
    blocks = model.blocks()
    conv = getattr(getattr(blocks[0][1], "dense", None), "conv", None) if blocks else None
    if conv is None or conv.weight.peek().shape[1:] != (3, 3, 3):
        raise ValueError(f"whiten is for networks that begin with a RepVGG block, got {model.name}")
    x = normalise(dataset.images[:PICTURES], mean, std)
    weight = conv.weight.data
    kernels = whitening_kernels(patch_covariance(x), len(weight))
    lengths = np.sqrt((weight[: len(kernels)].astype(np.float64) ** 2).sum(axis=(1, 2, 3), keepdims=True))
    weight[: len(kernels)] = kernels * lengths
