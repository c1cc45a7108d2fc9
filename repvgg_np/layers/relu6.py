"""ReLU6, the activation of MobileNet."""

from repvgg_np.kernels import relu6
from repvgg_np.layers.elementwise import Elementwise


class ReLU6(Elementwise):
    """`min(max(x, 0), 6)` (MobileNetV2, arXiv 1801.04381)."""

    kernel, backward_kernel = staticmethod(relu6.relu6), staticmethod(relu6.relu6_backward)
