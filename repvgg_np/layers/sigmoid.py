"""The sigmoid, and SiLU, which multiplies x by its own sigmoid."""

from repvgg_np.kernels import sigmoid
from repvgg_np.layers.elementwise import Elementwise


class Sigmoid(Elementwise):
    """`1 / (1 + exp(-x))`: between 0 and 1, a gate."""

    kernel, backward_kernel = staticmethod(sigmoid.sigmoid), staticmethod(sigmoid.sigmoid_backward)


class SiLU(Elementwise):
    """`x / (1 + exp(-x))`, the activation of EfficientNet (Ramachandran et al., arXiv 1710.05941)."""

    kernel, backward_kernel = staticmethod(sigmoid.silu), staticmethod(sigmoid.silu_backward)
    keeps_input = True
