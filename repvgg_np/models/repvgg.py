"""RepVGG: five stages of RepVGG blocks, an average over the picture, a classifier (section 3.4 of the paper)."""

from dataclasses import dataclass, field

import numpy as np

from repvgg_np.blocks import FusedRepVGGBlock, RepVGGBlock
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
    """

    depths: tuple
    widths: tuple
    strides: tuple
    groups: dict = field(default_factory=dict)
    input_size: int = 224
    num_classes: int = 1000

    def __post_init__(self):
        """Refuse what describes no network."""
        if len({len(self.depths), len(self.widths), len(self.strides)}) != 1 or not self.depths:
            raise ValueError(
                f"depths, widths and strides must be as many, got {self.depths}, {self.widths}, {self.strides}"
            )
        numbers = (*self.depths, *self.widths, *self.strides, *self.groups.values(), self.input_size, self.num_classes)
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise ValueError(f"every number of a config must be an integer of at least 1, got {self}")

    def block_shapes(self):
        """Return `(in_channels, out_channels, stride, groups)` of every block, in order."""
        shapes, in_channels = [], 3
        for depth, width, stride in zip(self.depths, self.widths, self.strides, strict=True):
            for i in range(depth):
                shapes.append((in_channels, width, stride if i == 0 else 1, self.groups.get(len(shapes), 1)))
                in_channels = width
        return shapes

    def count_kernel_numbers(self):
        """Return how many numbers the 3x3 kernels of all blocks hold."""
        return sum(9 * c_in * c_out // groups for c_in, c_out, _, groups in self.block_shapes())


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
        Blocks of three branches, or of one convolution.

    Raises
    ------
    ValueError
        If there is no class, or no such form.
    """

    def __init__(self, config, num_classes=None, *, rng, dtype=np.float32, form="training"):
        super().__init__(config, num_classes, dtype, form)
        self.stages = []
        shapes = iter(config.block_shapes())
        for stage, depth in enumerate(config.depths):
            blocks = [self._block(*next(shapes), rng) for _ in range(depth)]
            # The official code has the first stage's only block by itself, and the others in chains.
            part = blocks[0] if stage == 0 and depth == 1 else Sequential(*blocks)
            self.stages.append(self.add_child(f"stage{stage}", part))
        self.pool = GlobalAvgPool()
        self.add_child("gap", self.pool)
        self.linear = self.add_child("linear", Linear(config.widths[-1], self.num_classes, rng=rng, dtype=dtype))
        if form == "inference":
            self.eval()

    def _block(self, in_channels, out_channels, stride, groups, rng):
        """Make one block in this network's form."""
        if self.form == "training":
            return RepVGGBlock(in_channels, out_channels, stride, groups, rng=rng, dtype=self.dtype)
        kernel = np.zeros((out_channels, in_channels // groups, 3, 3), self.dtype)
        return FusedRepVGGBlock(kernel, np.zeros(out_channels, self.dtype), stride, groups)

    def forward(self, x):
        """Classify: (N, 3, H, W) -> (N, num_classes), the logits."""
        self.check_pictures(x)
        for stage in self.stages:
            x = stage(x)
        return self.linear(self.pool(x))

    def backward(self, grad_logits):
        """Compute the gradient of the input (N, 3, H, W) from that of the logits; set every parameter's `grad`."""
        grad = self.pool.backward(self.linear.backward(grad_logits))
        for stage in reversed(self.stages):
            grad = stage.backward(grad)
        return grad

    def architecture(self):
        """Return what two networks must have in common to be forms of one another."""
        return self.config.block_shapes(), self.num_classes

    def blocks(self):
        """Return `(name, block)` of every block, in the order in which a picture passes through them."""
        kinds = (RepVGGBlock, FusedRepVGGBlock)
        return [(name, layer) for name, layer in self.named_layers() if isinstance(layer, kinds)]

    def fused(self):
        """Return the inference form, a new network."""
        twin = RepVGG(self.config, self.num_classes, rng=None, dtype=self.dtype, form="inference")
        twin.name, twin.notes = self.name, dict(self.notes)
        state = {f"linear.{name}": array for name, array in self.linear.state_dict().items()}
        for name, block in self.blocks():
            state.update({f"{name}.{part}": array for part, array in block.fused().state_dict().items()})
        twin.load_state_dict(state)
        return twin
