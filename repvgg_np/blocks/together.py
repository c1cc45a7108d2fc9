"""The training form of a block, computed together instead of layer by layer.

The layers of `RepVGGBlock` say what is computed; here the same is computed with a third of the passes over memory: the
convolutions as always, and everything between them (three batch norms, the addition, the ReLU, and their gradients) by
`kernels/branches.py`. The result differs by rounding alone, and the tests compare the two.
"""

import numpy as np

from repvgg_np.kernels import branches as kernels
from repvgg_np.kernels.layout import channels_first, channels_last, check_float


class Together:
    """One forward pass of a block in training mode, and what its backward pass needs.

    Parameters
    ----------
    block : RepVGGBlock
        In training mode, its batch norms too, and none of them frozen.
    x : ndarray (N, C_in, H, W)

    Attributes
    ----------
    out : ndarray (N, C_out, H_out, W_out)
    """

    def __init__(self, block, x):
        self.block = block
        self.norms = [block.dense.bn, block.pointwise.bn]
        ys = [block.dense.conv(x), block.pointwise.conv(x)]
        if block.identity is not None:
            self.norms.append(block.identity)
            ys.append(x)
        for norm, y in zip(self.norms, ys, strict=True):
            norm.check(y)
        self.branches = [_flat(y) for y in ys]
        self.gammas = np.array([norm.gamma.peek() for norm in self.norms], np.float64)
        betas = np.array([norm.beta.peek() for norm in self.norms], np.float64)
        eps = np.array([norm.eps for norm in self.norms])
        self._out, self.means, variances = kernels.normalise(self.branches, self.gammas, betas, eps)
        self.stds = np.sqrt(variances + eps[:, None])
        rows = self._out.size // block.out_channels
        for norm, mean, var in zip(self.norms, self.means.astype(x.dtype), variances.astype(x.dtype), strict=True):
            norm.track(mean, var, rows)
        self.out = _as_pictures(self._out, ys[0].shape)

    def backward(self, grad_out, input_gradient=True):
        """Set the gradients of all parameters of the block; return that of the input, or None if it is not wanted.

        Raises
        ------
        ValueError
            If `grad_out` is no array of the output's shape and dtype.
        """
        dtype = self.out.dtype
        check_float("grad_out", grad_out, "(N, C_out, H_out, W_out)", dtype)
        if grad_out.shape != self.out.shape:
            raise ValueError(f"grad_out must have the output's shape {self.out.shape}, got {grad_out.shape}")
        grads, grad_gammas, grad_beta = kernels.backward(
            _flat(grad_out), self._out, self.branches, self.gammas, self.means, self.stds
        )
        for norm, grad_gamma in zip(self.norms, grad_gammas.astype(dtype), strict=True):
            norm.gamma.grad, norm.beta.grad = grad_gamma, grad_beta.astype(dtype)
        grad_dense, grad_pointwise = (_as_pictures(grad, self.out.shape) for grad in grads[:2])
        grad_x = self.block.dense.conv.backward(grad_dense, input_gradient)
        other = self.block.pointwise.conv.backward(grad_pointwise, input_gradient)
        if not input_gradient:
            return None
        kernels.add_to(_flat(grad_x), [_flat(other), *grads[2:]])
        return grad_x


def _flat(y):
    """View an activation (N, C, H, W) as its memory, pixel after pixel."""
    return channels_last(y).reshape(-1)


def _as_pictures(flat, shape):
    """View memory as an activation of shape (N, C, H, W)."""
    n, channels, height, width = shape
    return channels_first(flat.reshape(n, height, width, channels))
