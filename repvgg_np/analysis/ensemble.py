"""Delete branches or whole blocks from a trained network, and see how much it still knows.

The experiment of "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv 1605.06431): if a
network is an ensemble of many paths, a deleted branch takes some members away, and accuracy falls gently; if it is one
long path, everything is lost at once.

A branch is deleted by setting gamma and beta of its last batch norm to zero: it then adds exactly nothing, whatever it
computes, in training form as well as after fusion.
"""

import copy
from dataclasses import dataclass

import numpy as np

from repvgg_np.layers import BatchNorm2d, Residual, Sequential
from repvgg_np.models import Baseline

KINDS = ("branches", "blocks")


@dataclass(frozen=True)
class Branch:
    """A branch that can be deleted.

    Attributes
    ----------
    block : str
        The name of its block.
    norm : str
        The name of its last batch norm, in a state dict.
    identity : bool
        Whether it is the identity branch: a batch norm alone.
    """

    block: str
    norm: str
    identity: bool


def branches(model):
    """List what stands side by side in a network: the branches of its blocks that end in a batch norm.

    Parameters
    ----------
    model : Network
        In training form.

    Returns
    -------
    branches : list of Branch
    others : dict of str to int
        For each block, how many more ways there are around these: an identity without a batch norm, as in ResNet.

    Raises
    ------
    ValueError
        If no block has two ways, or the network is fused.
    """
    if model.form != "training":
        raise ValueError("model must be in training form to have branches, got one in inference form")
    names = {layer: name for name, layer in model.named_layers() if isinstance(layer, BatchNorm2d)}
    found, others = [], {}
    for block, ends in _ends(model):
        others[block] = sum(norm is None for norm, _ in ends)
        if len(ends) > 1:
            found += [Branch(block, names[norm], identity) for norm, identity in ends if norm is not None]
    if not found:
        raise ValueError("model must have blocks of several branches with batch norms of their own, got none such")
    return found, others


def _ends(model):
    """Yield each block's name, and of each of its ways the last batch norm (or None) and whether it is the identity."""
    if isinstance(model, Baseline):
        for name, layer in model.named_layers():
            if isinstance(layer, Residual):
                ways = [layer.main, layer.shortcut or Sequential()]
                yield name, [(_last_norm(way), not len(way)) for way in ways]
        return
    for name, block in model.blocks():
        if block.after is None:  # a batch norm behind the addition makes up for what is missing
            yield name, [(path[-1].norm, not any(step.multiplies for step in path)) for path in block.paths()]


def _last_norm(layer):
    """Return the batch norm that a chain ends with, or None."""
    while isinstance(layer, Sequential) and len(layer):
        layer = layer[len(layer) - 1]
    return layer if isinstance(layer, BatchNorm2d) else None


def delete(model, those):
    """Delete branches.

    Parameters
    ----------
    model : Network
        In training form. It is left as it is.
    those : sequence of Branch
        From `branches(model)`.

    Returns
    -------
    Network
        A new network, of the same shape, in which these branches add nothing.

    Raises
    ------
    ValueError
        If the network has no such branch.
    """
    twin = copy.deepcopy(model)
    norms = {name: layer for name, layer in twin.named_layers() if isinstance(layer, BatchNorm2d)}
    for branch in those:
        if branch.norm not in norms:
            raise ValueError(f"those must be branches of the network, got {branch.norm}")
        for parameter in (norms[branch.norm].gamma, norms[branch.norm].beta):
            parameter.replace(np.zeros_like(parameter.peek()))
    return twin


def draw_order(model, kind, rng):
    """Draw in which order branches or blocks are deleted, as far as every block keeps a way through.

    Parameters
    ----------
    model : Network
        In training form.
    kind : {"branches", "blocks"}
        Single branches; or blocks as a whole, of which only the identity is left (blocks without one are never chosen).
    rng : numpy.random.Generator

    Returns
    -------
    list of list of Branch
        What is deleted first, second, ...: one branch each, or all of a block but its identity.

    Raises
    ------
    ValueError
        If there is nothing to delete, or no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind!r}")
    found, others = branches(model)
    by_block = {}
    for branch in found:
        by_block.setdefault(branch.block, []).append(branch)
    if kind == "blocks":
        keeping = [
            [branch for branch in those if not branch.identity]
            for block, those in by_block.items()
            if others[block] or any(branch.identity for branch in those)
        ]
        if not keeping:
            raise ValueError("model must have blocks with an identity branch, got none such")
        return [keeping[i] for i in rng.permutation(len(keeping))]
    left = {block: len(those) + others[block] for block, those in by_block.items()}
    order = []
    for i in rng.permutation(len(found)):
        if left[found[i].block] > 1:
            left[found[i].block] -= 1
            order.append([found[i]])
    return order
