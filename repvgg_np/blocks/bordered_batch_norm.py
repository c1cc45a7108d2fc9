"""A batch norm that also puts a border around the picture: of what it makes of zero."""

import numpy as np

from repvgg_np.kernels import batch_norm
from repvgg_np.kernels.layout import channels_first, channels_last
from repvgg_np.layers import BatchNorm2d, Layer


class BorderedBatchNorm(Layer):
    """Normalise, and pad with the batch norm's own output for an input of zero: `beta - mean gamma / std`.

    It stands between a 1x1 convolution and a KxK convolution that are to become one. The one convolution pads *its*
    input with zeros; a 1x1 convolution without bias makes zeros of them, and the batch norm makes this border of those.
    A border of zeros, in front of the KxK convolution, would be another function, in the outermost pixels.

    In training the statistics are those of the picture without the border, as in the official code. But the border is
    made with the *same* statistics as the picture, in training those of the batch, and its gradient passes on to gamma,
    beta and, through mean and deviation, the input. (The official code takes the running statistics for the border in
    training too, and lets no gradient pass. In inference mode the two are the same.)

    In a state dict the batch norm is called "bn", as in the official code.

    Parameters
    ----------
    channels : int
    border : int
        How many pixels on each side.
    dtype : dtype
    """

    def __init__(self, channels, border, *, dtype=np.float32):
        super().__init__()
        self.bn, self.border = self.add_child("bn", BatchNorm2d(channels, dtype=dtype)), border
        self._kept = None

    def forward(self, x):
        """Normalise and pad: (N, C, H, W) -> (N, C, H + 2 border, W + 2 border)."""
        bn, border = self.bn, self.border
        inside = channels_last(bn(x))
        # In inference, and with frozen statistics, the running ones; else those that the batch norm has just taken.
        pixels, mean, std = bn._kept if self.training else (None, bn.running_mean, None)
        if std is None:
            std = np.sqrt(bn.running_var + bn.gamma.peek().dtype.type(bn.eps))
        n, height, width, channels = inside.shape
        out = np.empty((n, height + 2 * border, width + 2 * border, channels), inside.dtype)
        out[...] = bn.beta.peek() - mean * (bn.gamma.peek() / std)
        out[:, border : border + height, border : border + width] = inside
        self._kept = (pixels, mean, std) if self.training else None
        return channels_first(out)

    def backward(self, grad_out):
        """Set the gradients of gamma and beta; return that of the input.

        A pixel of the border is as if it were an input of zero, normalised with the others, xhat = (0 - mean) / std,
        but not counted in the statistics: it adds to the sums over grad and grad xhat, and is not among the pixels that
        these sums are shared among.
        """
        if self._kept is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        pixels, mean, std = self._kept
        bn, border = self.bn, self.border
        gamma, channels = bn.gamma.peek(), len(mean)
        grad_all = channels_last(grad_out)
        height, width = pixels.shape[1:3]
        grad_pixels = np.ascontiguousarray(grad_all[:, border : border + height, border : border + width])
        rows, grad_rows = pixels.reshape(-1, channels), grad_pixels.reshape(-1, channels)
        grad_gamma, grad_beta = batch_norm.parameter_gradients(grad_rows, rows, mean, std)  # float64 sums
        grad_border = grad_all.sum(axis=(0, 1, 2), dtype=np.float64) - grad_pixels.sum(axis=(0, 1, 2), dtype=np.float64)
        grad_beta = grad_beta + grad_border
        grad_gamma = grad_gamma + grad_border * (-mean.astype(np.float64) / std)
        bn.gamma.grad, bn.beta.grad = grad_gamma.astype(gamma.dtype), grad_beta.astype(gamma.dtype)
        if bn.frozen:
            grad_x = np.empty_like(grad_rows)
            batch_norm.scale_and_shift(grad_rows, gamma / std, np.zeros_like(gamma), grad_x)
        else:
            grad_x = batch_norm.input_gradient(grad_rows, rows, gamma, mean, std, grad_gamma, grad_beta)
        return channels_first(grad_x.reshape(pixels.shape))

    def forget(self):
        """Drop what was kept for `backward`."""
        self._kept = None
