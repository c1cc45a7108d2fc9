"""Is the fused network the same function? Block by block, with a bound that rounding cannot exceed.

Both forms of a block get the same input, in inference mode. In exact arithmetic they are equal; in floating point they
differ by no more than `fusion_bound.py` proves. A difference above that is not rounding: the fusion, or a file, is
wrong. The same holds for a prediction that changed although its two logits were further apart than `ties.py` allows.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from repvgg_np.fusion_bound import fusion_bound
from repvgg_np.layers.listen import inputs_told
from repvgg_np.ties import explain_changes

LISTED = 5  # of the changed predictions, those that are no tie first


@dataclass(frozen=True)
class BlockReport:
    """How one block's two forms compare.

    Attributes
    ----------
    name : str
    algorithm : str
        Of its fused convolution.
    max_error : float
        The largest difference of an output.
    bound : float
        The rounding bound for that output.
    share : float
        The largest quotient of difference and bound over all outputs: at most 1 if the two forms agree.
    """

    name: str
    algorithm: str
    max_error: float
    bound: float
    share: float

    @property
    def ok(self):
        """Whether every output differs by no more than rounding can explain."""
        return self.share <= 1  # False for a NaN


@dataclass(frozen=True)
class FusionReport:
    """How a network's two forms compare.

    Attributes
    ----------
    blocks : list of BlockReport
    logits_error : float
        The largest difference of a logit, between the two whole networks.
    changed_predictions, pictures : int
        How many of how many pictures are classified differently.
    notes : list of str
        What the reader should know about the comparison.
    same_classifier : bool
        Whether what fusion does not touch holds the same numbers: the classifier, and norms that follow no convolution.
    changes : list of ChangedPrediction
        The changed predictions; if one is no tie, perhaps not those after it.
    """

    blocks: list
    logits_error: float
    changed_predictions: int
    pictures: int
    notes: list
    same_classifier: bool = True
    changes: list = field(default_factory=list)

    @property
    def ok(self):
        """Whether blocks and predictions differ by no more than rounding can explain, and the rest not at all."""
        explained = all(part.ok for part in [*self.blocks, *self.changes])
        return explained and self.same_classifier and bool(np.isfinite(self.logits_error))

    def of_predictions(self, before, after, changes):
        """Return the report with the predictions of more pictures, from both forms, in the place of those compared."""
        changed = int((before != after).sum())
        return replace(self, changed_predictions=changed, pictures=len(before), changes=changes)

    @property
    def worst(self):
        """The block whose difference takes the largest share of its bound."""
        return max(self.blocks, key=lambda block: np.inf if np.isnan(block.share) else block.share)

    @property
    def max_error(self):
        """The largest difference of an output in the worst block."""
        return self.worst.max_error

    @property
    def bound(self):
        """The rounding bound for that output."""
        return self.worst.bound

    def __str__(self):
        """Return a table: a line for each block, then the whole network."""
        width = max(len(block.name) for block in self.blocks)
        lines = [f"{'block':<{width}}  {'by':<9} {'largest error':>13} {'its bound':>10} {'largest share':>15}"]
        for block in self.blocks:
            verdict = "" if block.ok else "  <- more than rounding"
            lines.append(
                f"{block.name:<{width}}  {block.algorithm:<9} {block.max_error:>13.2e} {block.bound:>10.2e} "
                f"{block.share:>14.2%}{verdict}"
            )
        lines.append(
            f"whole network: logits differ by at most {self.logits_error:.2e}; "
            f"{self.changed_predictions} of {self.pictures} predictions changed"
        )
        lines += [str(change) for change in sorted(self.changes, key=lambda change: change.ok)[:LISTED]]
        lines += [f"note: {note}" for note in self.notes]
        lines.append("equal within rounding" if self.ok else "NOT equal: the difference is more than rounding")
        return "\n".join(lines)


def verify_fusion(model, x, fused=None):
    """Compare a network with its fused form.

    Parameters
    ----------
    model : Network
        In its training form. It is compared in inference mode, whatever mode it is in, and left in that mode.
    x : ndarray (N, 3, H, W)
        Pictures, normalised as in training.
    fused : Network, optional
        The inference form to compare with, from a file, say. Without it, the network is fused here.

    Returns
    -------
    FusionReport

    Raises
    ------
    ValueError
        If the network has no branches (left), a running variance is negative or NaN, the pictures are none or not
        finite, or `fused` has branches or is another architecture.
    """
    if getattr(model, "form", None) != "training":
        raise ValueError("model must be in its training form, with branches to compare; got the inference form")
    if fused is not None:
        if getattr(fused, "form", None) != "inference":
            raise ValueError("fused must be in its inference form, got the training form")
        if fused.architecture() != model.architecture():
            raise ValueError("fused must have the same blocks and classes as model, got another architecture")
    model.check_pictures(x)
    if len(x) == 0:
        raise ValueError("x must hold at least one picture, got none")
    check_statistics(model)
    notes = []
    was_training = model.training
    if was_training:
        notes.append(
            "the model was in training mode, where batch norm uses the statistics of the batch; both forms were "
            "compared in inference mode"
        )
    model.eval()
    try:
        fused = model.fused() if fused is None else fused
        fused.eval()
        twins, reports = dict(fused.blocks()), {}

        def compare(name, block, x):
            reports[name] = _compare(name, block, x, block(x), twins[name](x))

        with inputs_told(model.blocks(), compare):
            logits = model(x)
        fused_logits = fused(x)
        blocks = list(reports.values())
        different = _differences_outside(model, fused)
        if different:
            notes.append(f"{different[0]} differs, which fusion does not touch: the files belong to different networks")
        before, after = logits.argmax(axis=1), fused_logits.argmax(axis=1)
        changes = explain_changes(model, x, before, after)
    finally:
        model.train(was_training)
    logits_error = float(np.abs(logits - fused_logits).max())
    changed = int((before != after).sum())
    return FusionReport(blocks, logits_error, changed, len(x), notes, not different, changes)


def _differences_outside(model, fused):
    """Return the names of arrays that differ between two forms, though no block of the fused one holds them."""
    inside = tuple(f"{name}." for name, _ in fused.blocks())
    ours, theirs = model.state_dict(), fused.state_dict()
    return [name for name in theirs if not name.startswith(inside) and not np.array_equal(ours[name], theirs[name])]


def check_statistics(model):
    """Refuse a network whose running variances are negative or NaN: there is nothing to compare then.

    Raises
    ------
    ValueError
        With the name of the first such array.
    """
    for name, array in model.state_dict().items():
        if name.endswith("running_var") and not (array >= 0).all():
            raise ValueError(f"{name} must not be negative or NaN, got {array[~(array >= 0)][0]}: the file is damaged")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")


def _compare(name, block, x, out, fused_out):
    """Compare the outputs of a block's two forms for the same input."""
    bound, algorithm = fusion_bound(block, x)
    error = np.abs(out - fused_out)
    worst = np.unravel_index(np.argmax(error), error.shape)  # of several NaNs the first
    share = float((error / bound).max())
    return BlockReport(name, algorithm, float(error[worst]), float(bound[worst]), share)
