"""What all networks share: pictures in, logits out, a name, a form, notes."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from repvgg_np.blocks import ConvolutionAndNorm
from repvgg_np.layers import FoldedConv2d, Layer, Sequential, reseed


class Network(Layer):
    """A network that classifies pictures.

    Parameters
    ----------
    config : dataclass
        What distinguishes it from its relatives; has at least `input_size` and `num_classes`.
    num_classes : int or None
        Without it, the config's.
    dtype : dtype
        float32 or float64.
    form : {"training", "inference"}

    Attributes
    ----------
    name : str or None
        In the list of models.
    notes : dict
        What belongs to the weights and is saved with them: class names, the normalisation of the pictures, accuracy.

    Raises
    ------
    ValueError
        If there is no class, or no such form.
    """

    def __init__(self, config, num_classes, dtype, form):
        super().__init__()
        num_classes = config.num_classes if num_classes is None else num_classes
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
            raise ValueError(f"num_classes must be an integer of at least 1, got {num_classes!r}")
        if form not in ("training", "inference"):
            raise ValueError(f"form must be training or inference, got {form!r}")
        self.config, self.num_classes, self.form = config, int(num_classes), form
        self.name, self.notes, self.dtype = None, {}, np.dtype(dtype)

    def architecture(self):
        """Return what two networks must have in common to be forms of one another."""
        return self.config, self.num_classes

    def check_pictures(self, x):
        """Refuse what is no batch of pictures for this network.

        Parameters
        ----------
        x : object

        Raises
        ------
        ValueError
            If `x` is no array (N, 3, H, W) of the network's dtype, or holds a NaN or an infinity.
        """
        if not isinstance(x, np.ndarray) or x.ndim != 4:
            raise ValueError(f"x must be an array of shape (N, 3, H, W), got {getattr(x, 'shape', type(x).__name__)}")
        if x.shape[1] != 3:
            raise ValueError(f"x must have 3 channels, got {x.shape[1]} in the shape {x.shape}")
        if x.dtype != self.dtype:
            raise ValueError(f"x must be {self.dtype} like the network, got {x.dtype}")
        # The sum is quick, and not finite where any pixel isn't (or, rarely, where large pixels add up to infinity).
        with np.errstate(over="ignore", invalid="ignore"):
            total = x.sum()
        if not np.isfinite(total) and not np.isfinite(x).all():
            raise ValueError(f"x must hold finite numbers only, got {x[~np.isfinite(x)][0]}")

    def blocks(self):
        """Return `(name, block)` of everything that folds, in the order in which a picture passes through it."""
        raise NotImplementedError(f"{type(self).__name__} does not say what folds")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What distinguishes one network from its relatives. A subclass adds its own numbers, and the body.

    Attributes
    ----------
    input_size : int
        The height and width of the pictures that it is made for.
    num_classes : int
        How many classes it has unless told otherwise.

    Raises
    ------
    ValueError
        If any integer is below 1.
    """

    input_size: int = 224
    num_classes: int = 1000

    def __post_init__(self):
        """Refuse what describes no network."""
        numbers = list(_integers(dataclasses.astuple(self)))
        if min(numbers) < 1:
            raise ValueError(f"every integer of a config must be at least 1, got {self}")

    def body(self, num_classes, dtype):
        """Return the chain of all layers, with weights of zero."""
        raise NotImplementedError(f"{type(self).__name__} has no body")

    def initialise(self, body, rng):
        """Draw the first weights."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its weights are drawn")


def _integers(values):
    """Yield all integers in nested tuples; a bool is none."""
    for value in values:
        if isinstance(value, tuple):
            yield from _integers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value


class Baseline(Network):
    """A network that the paper compares RepVGG with, or one of their kind: a chain of layers that its config describes.

    In its training form, batch norms stand behind convolutions; in its inference form they are written into them,
    wherever one stands right behind a convolution. That is all that can be fused here: the branches stay, because what
    they compute is not linear.

    Parameters
    ----------
    config : Config
    num_classes : int, optional
        Without it, the config's.
    rng : numpy.random.Generator or None
        Draws the first weights as the config says, and what dropout drops; None leaves the weights zero.
    dtype : dtype
        float32 or float64.
    form : {"training", "inference"}
    body : Sequential, optional
        The layers, in that form; without it, they are made.
    """

    def __init__(self, config, num_classes=None, *, rng, dtype=np.float32, form="training", body=None):
        super().__init__(config, num_classes, dtype, form)
        if body is None:
            body = config.body(self.num_classes, self.dtype)
            if rng is not None:
                config.initialise(body, rng)
                reseed(body, [int(rng.integers(2**63))])
            if form == "inference":
                body = body.fused()
        self.body = self.add_child("", body)
        if form == "inference":
            self.eval()

    def forward(self, x):
        """Classify: (N, 3, H, W) -> (N, num_classes), the logits."""
        self.check_pictures(x)
        return self.body(x)

    def backward(self, grad_logits, input_gradient=True):
        """Compute the gradient of the input (N, 3, H, W) from that of the logits; set every parameter's `grad`.

        With `input_gradient=False`, as in training, return None.
        """
        grad_x = self.body.backward(grad_logits)
        return grad_x if input_gradient else None

    def trace(self, shape, name=""):
        """Follow a shape through all layers."""
        return self.body.trace(shape, name)

    def blocks(self):
        """Return `(name, block)` of each convolution with its batch norm, or of what they were folded into."""
        if self.form == "inference":
            return [(name, layer) for name, layer in self.named_layers() if isinstance(layer, FoldedConv2d)]
        chains = [layer for _, layer in self.named_layers() if isinstance(layer, Sequential)]
        pairs = {conv: ConvolutionAndNorm(conv, norm) for chain in chains for conv, norm in chain.pairs().values()}
        return [(name, pairs[layer]) for name, layer in self.named_layers() if layer in pairs]

    def fused(self):
        """Return the inference form, a new network."""
        body = self.body.fused()
        twin = Baseline(self.config, self.num_classes, rng=None, dtype=self.dtype, form="inference", body=body)
        twin.name, twin.notes = self.name, dict(self.notes)
        return twin
