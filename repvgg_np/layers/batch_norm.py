"""The batch norm layer: two functions under one name, one for training and one for inference."""

import numpy as np

from repvgg_np.kernels import batch_norm
from repvgg_np.kernels.layout import channels_first, channels_last, check_float
from repvgg_np.layers.layer import Layer


class BatchNorm2d(Layer):
    """Normalise each channel, then scale it by gamma and shift it by beta.

    In training mode with the mean and variance of the batch, which are also blended into the running statistics; in
    inference mode with the running statistics. The same input gives different outputs in the two modes: a network is
    compared with its fused form in inference mode.

    Computed as `scale x + (beta - mean scale)` with `scale = gamma / std`, in one pass. Where |mean| is much larger
    than the deviation, the two terms cancel, and float32 loses as many digits as |mean| / std has.

    Parameters
    ----------
    channels : int
    eps : float
        Added to the variance before the square root.
    momentum : float
        The weight of the batch in the running statistics, as in PyTorch.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    gamma, beta : Parameter (C,)
        In a state dict "weight" and "bias".
    running_mean, running_var : ndarray (C,)
    num_batches_tracked : ndarray () int64
    frozen : bool
        If True, training mode too uses the running statistics and leaves them as they are.
    """

    def __init__(self, channels, eps=1e-5, momentum=0.1, *, dtype=np.float32):
        super().__init__()
        self.eps, self.momentum, self.frozen = eps, momentum, False
        self.gamma = self.add_parameter("weight", np.ones(channels, dtype))
        self.beta = self.add_parameter("bias", np.zeros(channels, dtype))
        self.running_mean = self.add_buffer("running_mean", np.zeros(channels, dtype))
        self.running_var = self.add_buffer("running_var", np.ones(channels, dtype))
        self.num_batches_tracked = self.add_buffer("num_batches_tracked", np.zeros((), np.int64))
        self._kept = None

    def forward(self, x):
        """Normalise `x` (N, C, H, W)."""
        gamma, beta = self.gamma.peek(), self.beta.peek()
        self.check(x)
        pixels = channels_last(x)
        rows = pixels.reshape(-1, gamma.size)  # (N, H, W, C) -> (N*H*W, C)
        if self.training and not self.frozen:
            mean, var = batch_norm.batch_statistics(rows)
            self.track(mean, var, len(rows))
        else:
            mean, var = self.running_mean, self.running_var
        std = np.sqrt(var + gamma.dtype.type(self.eps))
        scale = gamma / std
        out = np.empty_like(pixels)
        batch_norm.scale_and_shift(rows, scale, beta - mean * scale, out.reshape(rows.shape))
        self._kept = (pixels, mean.copy(), std) if self.training else None
        return channels_first(out)

    def check(self, x):
        """Refuse what cannot be normalised: another dtype, other channels, or a single pixel for batch statistics."""
        check_float("x", x, "(N, C, H, W)", self.gamma.peek().dtype)
        if x.shape[1] != self.gamma.peek().size:
            raise ValueError(f"x must have {self.gamma.peek().size} channels, got {x.shape[1]}")
        pixels = len(x) * x.shape[2] * x.shape[3]
        if self.training and not self.frozen and pixels < 2:
            raise ValueError(f"x must have more than one pixel in each channel for batch statistics, got {pixels}")

    def backward(self, grad_out):
        """Set the gradients of gamma and beta; return that of the input."""
        if self._kept is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        pixels, mean, std = self._kept
        gamma = self.gamma.peek()
        grad_pixels = channels_last(grad_out)
        rows, grad_rows = pixels.reshape(-1, gamma.size), grad_pixels.reshape(-1, gamma.size)
        grad_gamma, grad_beta = batch_norm.parameter_gradients(grad_rows, rows, mean, std)
        self.gamma.grad, self.beta.grad = grad_gamma.astype(gamma.dtype), grad_beta.astype(gamma.dtype)
        if self.frozen:  # the statistics are constants: what is left is a straight line for each channel
            grad_x = np.empty_like(grad_rows)
            batch_norm.scale_and_shift(grad_rows, gamma / std, np.zeros_like(gamma), grad_x)
        else:
            grad_x = batch_norm.input_gradient(grad_rows, rows, gamma, mean, std, grad_gamma, grad_beta)
        return channels_first(grad_x.reshape(pixels.shape))

    def track(self, mean, var, count):
        """Blend the statistics of `count` pixels into the running ones; as in PyTorch, the variance is unbiased."""
        kind = mean.dtype.type
        blend, unbiased = kind(self.momentum), kind(count / (count - 1))
        self.running_mean += blend * (mean - self.running_mean)
        self.running_var += blend * (var * unbiased - self.running_var)
        self.num_batches_tracked += 1

    def forget(self):
        """Drop what was kept for `backward`."""
        self._kept = None
