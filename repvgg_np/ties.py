"""Tell whether a prediction that fusion changed was a tie within rounding.

Two classes whose logits are nearly equal may change places because the two forms round differently. How far apart can
the logits have been for that? Let d = l_p - l_q be the difference of two logits. Put the inference forms of the blocks
in their places one after the other, from the first to the last. Each time the output of one block, for the same input,
changes by an r_k with |r_k| <= B_k, the bound of `fusion_bound.py` for this picture's activations; and d changes by
<g_k, r_k>, with g_k the gradient of d by that output. So, to first order in the roundings, d changes in all by at most

    G = sum over blocks k of <|g_k|, B_k>  +  sum over classifiers of <|g|, 2 gamma_(n + 1) (|W| |f| + |b|)>

where the second sum is what a classifier W f + b of n inputs rounds itself, in both forms. (A ReLU is two straight
lines; a number that rounding carries across its corner is itself within rounding of zero, and so of second order. The
few roundings of what else stands between blocks, such as averages and shortcuts, are not counted.)

A changed prediction has d >= 0 before, with the classes p before and q after, and d <= 0 after. Its margin, which is d
before, is thus at most G if nothing but rounding has happened: a tie. A margin above G is more than rounding: the
fusion, or a file, is wrong.

The gradient and the bounds are those of the training form and of what it folds to here. No number of a file that is to
be verified enters, so a wrong one cannot excuse itself.
"""

from dataclasses import dataclass

import numpy as np

from repvgg_np.fusion_bound import fusion_bound
from repvgg_np.layers import BatchNorm2d, Linear
from repvgg_np.layers.listen import gradients_told, inputs_told
from repvgg_np.rounding import gamma

PICTURES_AT_ONCE = 8  # the bounds, in float64, and the gradients of every block take memory


@dataclass(frozen=True)
class ChangedPrediction:
    """A picture that the two forms of a network classify differently.

    Attributes
    ----------
    picture : int
        Its place among the pictures.
    before, after : int
        The class that the training form, and the inference form, predicts.
    margin : float
        By how much the logits of these two classes differ in the training form.
    bound : float
        By how much rounding can change that difference: G in the text above.
    """

    picture: int
    before: int
    after: int
    margin: float
    bound: float

    @property
    def ok(self):
        """Whether the margin is one that rounding can explain: a tie."""
        return self.margin <= self.bound  # False for a NaN

    def __str__(self):
        """Return one line."""
        verdict = "a tie within rounding" if self.ok else "more than rounding"
        return (
            f"picture {self.picture}: class {self.before} became {self.after}; the logits were {self.margin:.2e} "
            f"apart, rounding explains {self.bound:.2e}: {verdict}"
        )


def explain_changes(model, x, before, after):
    """Say of each changed prediction whether it is a tie within rounding.

    Parameters
    ----------
    model : Network
        In its training form. It is looked at in inference mode, whatever mode it is in, and left in that mode.
    x : ndarray (N, 3, H, W)
        All pictures, normalised as in training.
    before, after : ndarray (N,) int
        What its training form, and its inference form, predicts.

    Returns
    -------
    list of ChangedPrediction
        Of all, or of the first up to some that are no ties: one is enough to know that the fusion is wrong.
    """
    changed, changes, was_training = np.flatnonzero(before != after), [], model.training
    model.eval()
    try:
        for i in range(0, len(changed), PICTURES_AT_ONCE):
            rows = changed[i : i + PICTURES_AT_ONCE]
            margins, bounds = _margins_and_bounds(model, x[rows], before[rows], after[rows])
            columns = (array.tolist() for array in (rows, before[rows], after[rows], margins, bounds))
            changes += [ChangedPrediction(*row) for row in zip(*columns, strict=True)]
            if not all(change.ok for change in changes):
                break
    finally:
        model.train(was_training)
    return changes


def _margins_and_bounds(model, x, before, after):
    """Return, for each picture, by how much its two logits differ, and G: two arrays (N,)."""
    gradients, bounds = gap_gradients(model, x, before, after), np.zeros(len(x))

    def add_block(name, block, x):
        bounds[:] += (np.abs(gradients[name]) * fusion_bound(block, x)[0]).sum(axis=(1, 2, 3))

    def add_classifier(name, layer, x):
        terms = np.abs(x.astype(float)) @ np.abs(layer.weight.peek().astype(float)).T
        if layer.bias is not None:
            terms += np.abs(layer.bias.peek())
        bounds[:] += 2 * gamma(x.shape[1] + 1, x.dtype) * (np.abs(gradients[name]) * terms).sum(axis=1)

    with inputs_told(model.blocks(), add_block), inputs_told(_linear_layers(model), add_classifier):
        logits = model(x).astype(np.float64)
    rows = np.arange(len(x))
    return np.abs(logits[rows, before] - logits[rows, after]), bounds


def gap_gradients(model, x, before, after):
    """Compute the gradient of the difference of two logits by the output of every block, and of every `Linear`.

    Parameters
    ----------
    model : Network
        In training form.
    x : ndarray (N, 3, H, W)
    before, after : ndarray (N,) int
        The two classes of each picture.

    Returns
    -------
    dict of str to ndarray
        Of the shapes of the outputs.
    """
    twin = model.fused().train()
    for _, layer in twin.named_layers():
        if isinstance(layer, BatchNorm2d):
            layer.frozen = True  # in inference its statistics are constants
        if hasattr(layer, "probability"):
            layer.probability = 0  # and nothing is dropped
    gradients = {}
    logits, rows = twin(x), np.arange(len(x))
    grad_logits = np.zeros_like(logits)
    grad_logits[rows, before], grad_logits[rows, after] = 1, -1
    with gradients_told([*twin.blocks(), *_linear_layers(twin)], lambda name, grad: gradients.update({name: +grad})):
        twin.backward(grad_logits)
    return gradients


def _linear_layers(model):
    """Return `(name, layer)` of the classifier, and of what is like it."""
    return [(name, layer) for name, layer in model.named_layers() if isinstance(layer, Linear)]
