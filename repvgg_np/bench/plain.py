"""A fused network as a list of numbers, from which every peer builds its own: convolutions, then a classifier."""

from dataclasses import dataclass

import numpy as np

from repvgg_np.fuse import fuse
from repvgg_np.models import RepVGG, RepVGGConfig, create_model

NOT_PLAIN = "peers build RepVGG's plain networks only"


@dataclass(frozen=True)
class PlainConvolution:
    """A 3x3 convolution with a border of one pixel and a bias, and ReLU.

    Attributes
    ----------
    weight : ndarray (C_out, C_in / groups, 3, 3)
    bias : ndarray (C_out,)
    stride, groups : int
    """

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    groups: int

    @property
    def in_channels(self):
        """How many channels it reads."""
        return self.weight.shape[1] * self.groups


@dataclass(frozen=True)
class PlainNetwork:
    """Convolutions one after the other; then, if there is a classifier, the average over the picture and a product.

    Attributes
    ----------
    convolutions : list of PlainConvolution
    classifier : (weight (K, C), bias (K,)) or None
    """

    convolutions: list
    classifier: tuple


def plain_network(fused):
    """List the numbers of a network in its inference form.

    Parameters
    ----------
    fused : RepVGG
        Of blocks that are one 3x3 convolution each.

    Returns
    -------
    PlainNetwork

    Raises
    ------
    ValueError
        If it is another network.
    """
    if not isinstance(fused, RepVGG):
        raise ValueError(NOT_PLAIN)
    convolutions = [
        PlainConvolution(block.reparam.weight.peek(), block.reparam.bias.peek(), block.stride, block.groups)
        for _, block in fused.blocks()
    ]
    return PlainNetwork(convolutions, (fused.linear.weight.peek(), fused.linear.bias.peek()))


def random_statistics(model, seed):
    """Give every batch norm statistics and parameters as after a training, so that outputs are not trivial.

    Parameters
    ----------
    model : Network
        In training form; is changed.
    seed : int
    """
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    for name, array in state.items():
        if name.endswith("running_mean") or name.endswith("bias"):
            state[name] = rng.normal(0, 0.1, array.shape).astype(array.dtype)
        elif name.endswith("running_var") or (name.endswith("weight") and array.ndim == 1):
            state[name] = rng.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    model.load_state_dict(state)


def random_pictures(batch, channels, size, seed):
    """Draw a batch.

    Parameters
    ----------
    batch, channels, size, seed : int

    Returns
    -------
    ndarray (N, C, H, W) float32
        Channels-last in memory.
    """
    pictures = np.random.default_rng(seed).standard_normal((batch, size, size, channels), np.float32)
    return pictures.transpose(0, 3, 1, 2)


def make_model(name, widths=None, depths=None, strides=None, num_classes=None, seed=0):
    """Make the network that is measured, by its name or by its shape.

    Parameters
    ----------
    name : str or None
        A model's name; None if the shape is given.
    widths, depths, strides : sequence of int, optional
        Of each stage: channels, blocks, the stride of the first block.
    num_classes, seed : int

    Returns
    -------
    Network
        In training form, with numbers as after a training. A network without a name has a `name` that tells its shape.

    Raises
    ------
    ValueError
        If there is no such network, or the shape is incomplete.
    """
    shape = (widths, depths, strides)
    if any(part is not None for part in shape):
        if name is not None or None in shape:
            raise ValueError("a network is given by its name alone, or by widths, depths and strides together")
        config = RepVGGConfig(tuple(depths), tuple(widths), tuple(strides), {}, 32, 10)
        model = RepVGG(config, num_classes, rng=np.random.default_rng(seed))
        text = ("-".join(map(str, part)) for part in shape)
        model.name = "widths {}, depths {}, strides {}".format(*text)
    else:
        model = create_model(name, num_classes, seed)
    random_statistics(model, seed)
    return model


def make_pair(model):
    """Return the network in inference mode, and its fused form."""
    return model.eval(), fuse(model)
