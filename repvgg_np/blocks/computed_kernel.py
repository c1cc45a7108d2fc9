"""Convolutions whose kernel is computed from other parameters at every step: another expression of the same kernel.

The paper compares with two of them (table 7): they have a shortcut *in the kernel*, but no branch and no batch norm of
its own, and gain less. In either case the kernel that is convolved with is folded as it is.
"""

import numpy as np

from repvgg_np.blocks.branched import BranchedBlock
from repvgg_np.blocks.step import Step
from repvgg_np.fuse import identity_kernel
from repvgg_np.fuse_sequence import pad_kernel
from repvgg_np.kernels import conv2d, conv2d_backward
from repvgg_np.layers import BatchNorm2d, Conv2d
from repvgg_np.reference import square_root


class ComputedKernelConv(Conv2d):
    """A convolution without bias that computes its kernel from its parameters.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, groups, rng, dtype
        As for `Conv2d`.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups, False, rng=rng, dtype=dtype)

    def kernel(self):
        """Return the kernel (C_out, C_in / groups, K, K) that is convolved with."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its kernel is")

    def kernel_backward(self, grad_kernel):
        """Set the gradients of the parameters, from that of the kernel."""
        raise NotImplementedError(f"{type(self).__name__} does not differentiate its kernel")

    def forward(self, x):
        """Convolve `x` (N, C_in, H, W) with the kernel of this moment."""
        self._x = x if self.training else None
        return conv2d(x, self.kernel(), None, self.stride, self.padding, self.groups)

    def backward(self, grad_out):
        """Set the gradients of the parameters; return that of the input."""
        if self._x is None:
            raise ValueError("backward needs a forward pass in training mode before it")
        geometry = (self.stride, self.padding, self.groups)
        grad_x, grad_kernel, _ = conv2d_backward(grad_out, self._x, self.kernel(), *geometry, bias_gradient=False)
        self.kernel_backward(grad_kernel)
        return grad_x

    def steps(self):
        """Return its one step."""
        return [Step(self.kernel(), None, self.stride[0], self.padding, self.groups)]


class DiracConv2d(ComputedKernelConv):
    """DiracNet's kernel (arXiv 1706.00388): `W^ = diag(alpha) I + diag(beta) W / |W|`.

    `|W|` is the Euclidean length of each whole filter; alpha (1 at first) and beta (0.1) are a number for each output
    channel. I is the identity's 3x3 kernel; where there are more input than output channels or the other way round,
    output i copies input i as far as both go (in each group). A filter of zeros is left as it is.

    In a state dict "weight", "alpha" and "beta", as in the official code.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        data = self.weight.peek()
        self.alpha = self.add_parameter("alpha", np.ones(len(data), data.dtype))
        self.beta = self.add_parameter("beta", np.full(len(data), 0.1, data.dtype))

    def delta(self):
        """Return I, the kernel that copies."""
        weight = self.weight.peek()
        c_out, depth_in = weight.shape[:2]
        delta = np.zeros(weight.shape, weight.dtype)
        rows = np.arange(c_out)
        own = rows % (c_out // self.groups)  # the number of each output channel in its group
        rows, own = rows[own < depth_in], own[own < depth_in]
        delta[rows, own, weight.shape[2] // 2, weight.shape[3] // 2] = 1
        return delta

    def _directions(self):
        """Return `W / |W|` and `|W|`, (C_out, 1, 1, 1)."""
        weight = self.weight.peek()
        length = square_root((weight * weight).sum(axis=(1, 2, 3)))[:, None, None, None]
        length = np.where(length == 0, length + 1, length)
        return weight / length, length

    def kernel(self):
        """Return W^."""
        alpha, beta = (p.peek()[:, None, None, None] for p in (self.alpha, self.beta))
        return alpha * self.delta() + beta * self._directions()[0]

    def kernel_backward(self, grad_kernel):
        """Differentiate: of W / |W|, only what is orthogonal to the direction passes, divided by the length."""
        direction, length = self._directions()
        along = (grad_kernel * direction).sum(axis=(1, 2, 3))
        self.alpha.grad, self.beta.grad = (grad_kernel * self.delta()).sum(axis=(1, 2, 3)), along
        beta = self.beta.peek()[:, None, None, None]
        self.weight.grad = (grad_kernel - along[:, None, None, None] * direction) * (beta / length)


class IdentityPlusConv2d(ComputedKernelConv):
    """A kernel to which the identity's is added: `W^ = W + I`, where input and output have as many channels.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, groups, rng, dtype
        As for `Conv2d`. With another number of output channels, or a stride, nothing is added.
    """

    def kernel(self):
        """Return W^."""
        weight = self.weight.peek()
        c_out, depth_in = weight.shape[:2]
        if c_out != depth_in * self.groups or self.stride != (1, 1):
            return weight
        return weight + pad_kernel(identity_kernel(c_out, self.groups, weight.dtype), weight.shape[2:])

    def kernel_backward(self, grad_kernel):
        """Pass the gradient on: I is a constant."""
        self.weight.grad = grad_kernel


class IdentityPlusPointwiseConv2d(IdentityPlusConv2d):
    """A 3x3 kernel to which a 1x1 kernel and the identity's are added: `W^ = W + pad(W1) + I`.

    In a state dict "weight" and "pointwise_weight".
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups, rng=rng, dtype=dtype)
        small = Conv2d(in_channels, out_channels, 1, stride, 0, groups, False, rng=rng, dtype=dtype)
        self.pointwise_weight = self.add_parameter("pointwise_weight", small.weight.peek())

    def kernel(self):
        """Return W^."""
        return super().kernel() + pad_kernel(self.pointwise_weight.peek(), self.weight.peek().shape[2:])

    def kernel_backward(self, grad_kernel):
        """Pass the gradient on; the 1x1 kernel gets that of the middle."""
        super().kernel_backward(grad_kernel)
        self.pointwise_weight.grad = grad_kernel[:, :, 1:2, 1:2].copy()


class ComputedKernelBlock(BranchedBlock):
    """`ReLU(BN(X * W^))` with a computed kernel W^: "DiracNet" and "Trivial Re-param" of table 7.

    The paper does not say where the batch norm stands: here behind the convolution, as in a plain network. Nor does it
    say what happens where the shape changes: DiracNet's kernel is used there too, with the official code's I of unequal
    channels (which at stride 1 is all it allows; here any stride); the trivial one adds no identity there. Convolutions
    have no bias, as everywhere here in training. SGD does not decay alpha and beta unless it decays everything, as the
    authors of DiracNet advise.

    "Trivial" is the paper's `W^ = I + W`. With a 1x1 kernel too, `W^ = I + pad(W1) + W`, the function is that of
    `PostAdditionBNBlock`, and so are its gradients, by another order of the same arithmetic.

    Parameters
    ----------
    conv : class
        `DiracConv2d`, `IdentityPlusConv2d` or `IdentityPlusPointwiseConv2d`.
    in_channels, out_channels, stride, groups : int
    rng : numpy.random.Generator or None
    dtype : dtype
    """

    def __init__(self, conv, in_channels, out_channels, stride=1, groups=1, *, rng, dtype=np.float32):
        super().__init__(in_channels, out_channels, stride, groups)
        self.add_branch("conv", conv(in_channels, out_channels, 3, stride, 1, groups, rng=rng, dtype=dtype))
        self.add_after("bn", BatchNorm2d(out_channels, dtype=dtype))
