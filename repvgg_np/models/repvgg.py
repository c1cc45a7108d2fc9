"""RepVGG: five stages of RepVGG blocks, an average over the picture, a classifier (section 3.4 of the paper)."""

from dataclasses import dataclass, field

import numpy as np

from repvgg_np.blocks import DEFAULT, Block, RepVGGBlock, find_variant
from repvgg_np.layers import GlobalAvgPool, Linear, Sequential
from repvgg_np.models.network import Network

# The layers that have groups in the g2 and g4 models: every second one from the third on, of 28 (section 3.4).
GROUPED_LAYERS = tuple(range(2, 27, 2))


@dataclass(frozen=True)
class RepVGGConfig:
    """What distinguishes one RepVGG from another: tables 2 and 3 of the paper.

    Attributes
    ----------
    depths : tuple of int
        How many blocks each of the five stages has.
    widths : tuple of int
        How many channels.
    strides : tuple of int
        The stride of the first block of each stage.
    groups : dict of int to int
        The groups of those blocks that have any, by their number through the whole network, from 0.
    input_size : int
        The height and width of the pictures that it is made for.
    num_classes : int
        How many classes it has unless told otherwise.
    block : str
        Of which kind its blocks are: a name in `blocks/variants.py`.
    """

    depths: tuple
    widths: tuple
    strides: tuple
    groups: dict = field(default_factory=dict)
    input_size: int = 224
    num_classes: int = 1000
    block: str = DEFAULT

    def __post_init__(self):
        """Refuse what describes no network."""
        if len({len(self.depths), len(self.widths), len(self.strides)}) != 1 or not self.depths:
            raise ValueError(
                f"depths, widths and strides must be as many, got {self.depths}, {self.widths}, {self.strides}"
            )
        numbers = (*self.depths, *self.widths, *self.strides, *self.groups.values(), self.input_size, self.num_classes)
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise ValueError(f"every number of a config must be an integer of at least 1, got {self}")
        find_variant(self.block)

    def block_shapes(self):
        """Return `(in_channels, out_channels, stride, groups)` of every layer, in order: most often a block each."""
        shapes, in_channels = [], 3
        for depth, width, stride in zip(self.depths, self.widths, self.strides, strict=True):
            for i in range(depth):
                shapes.append((in_channels, width, stride if i == 0 else 1, self.groups.get(len(shapes), 1)))
                in_channels = width
        return shapes

    def count_kernel_numbers(self):
        """Return how many numbers the kernels of all blocks hold at least, in either form."""
        kernel_numbers = find_variant(self.block).kernel_numbers
        return sum(kernel_numbers(*shape) for shape in self.block_shapes())


class RepVGG(Network):
    """A RepVGG network.

    Parameters
    ----------
    config : RepVGGConfig
    num_classes : int, optional
        Without it, the config's.
    rng : numpy.random.Generator or None
        Draws the first weights; None leaves them zero.
    dtype : dtype
        float32 or float64.
    form : {"training", "inference"}
        Blocks of branches, or of one convolution.

    Raises
    ------
    ValueError
        If there is no class, or no such form (blocks with ReLU in their branches have no inference form).
    """

    def __init__(self, config, num_classes=None, *, rng, dtype=np.float32, form="training"):
        super().__init__(config, num_classes, dtype, form)
        self.stages = []
        shapes = iter(config.block_shapes())
        for stage, depth in enumerate(config.depths):
            blocks = self._blocks([next(shapes) for _ in range(depth)], rng)
            # The official code has the first stage's only block by itself, and the others in chains.
            part = blocks[0] if stage == 0 and len(blocks) == 1 else Sequential(*blocks)
            self.stages.append(self.add_child(f"stage{stage}", part))
        self.pool = GlobalAvgPool()
        self.add_child("gap", self.pool)
        self.linear = self.add_child("linear", Linear(config.widths[-1], self.num_classes, rng=rng, dtype=dtype))
        if form == "inference":
            self.eval()

    def _blocks(self, shapes, rng):
        """Make the blocks of one stage in this network's form."""
        variant = find_variant(self.config.block)
        if self.form == "training":
            return variant.training(shapes, rng=rng, dtype=self.dtype)
        if variant.inference is None:
            raise ValueError(f"form must be training for the variant {self.config.block}, which does not fold")
        return variant.inference(shapes, dtype=self.dtype)

    def forward(self, x):
        """Classify: (N, 3, H, W) -> (N, num_classes), the logits."""
        self.check_pictures(x)
        for stage in self.stages:
            x = stage(x)
        return self.linear(self.pool(x))

    def backward(self, grad_logits, input_gradient=True):
        """Compute the gradient of the input (N, 3, H, W) from that of the logits; set every parameter's `grad`.

        Training does not need the gradient of the pictures: with `input_gradient=False` None is returned, and the
        RepVGG block does not compute it.
        """
        grad = self.pool.backward(self.linear.backward(grad_logits))
        for stage in reversed(self.stages[1:]):
            grad = stage.backward(grad)
        first = self.stages[0]
        grad_x = first.backward(grad, input_gradient) if isinstance(first, RepVGGBlock) else first.backward(grad)
        return grad_x if input_gradient else None

    def architecture(self):
        """Return what two networks must have in common to be forms of one another."""
        return self.config.block_shapes(), self.config.block, self.num_classes

    def blocks(self):
        """Return `(name, block)` of every block, in the order in which a picture passes through them."""
        return [(name, layer) for name, layer in self.named_layers() if isinstance(layer, Block)]

    def fused(self):
        """Return the inference form, a new network.

        Raises
        ------
        ValueError
            If a block does not fold; the message names it and says why.
        """
        fused_blocks = {}
        for name, block in self.blocks():
            try:
                fused_blocks[name] = block.fused()
            except ValueError as error:
                raise ValueError(f"{name} cannot be fused: {error}") from error
        twin = RepVGG(self.config, self.num_classes, rng=None, dtype=self.dtype, form="inference")
        twin.name, twin.notes = self.name, dict(self.notes)
        state = {f"linear.{name}": array for name, array in self.linear.state_dict().items()}
        for name, block in fused_blocks.items():
            state.update({f"{name}.{part}": array for part, array in block.state_dict().items()})
        twin.load_state_dict(state)
        return twin
