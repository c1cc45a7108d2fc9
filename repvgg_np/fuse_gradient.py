"""Fusion is differentiable: the gradient of the fused kernel, carried back to the three branches.

`fuse.py` computes, with s = gamma / sigma for each branch,

    kernel = sum over branches of pad(s W),      bias = sum over branches of (beta - mu s)

The running statistics mu and sigma are constants. So by the chain rule, for each branch, with "crop" what undoes "pad"
(the middle of a 3x3 kernel, for a 1x1 branch):

    grad_W     = s crop(grad_kernel)
    grad_gamma = (sum over all but the output channel of crop(grad_kernel) W  -  mu grad_bias) / sigma
    grad_beta  = grad_bias

Whoever trains the fused network (to quantize it, say) can thus train the branches instead.
"""

from repvgg_np.reference import square_root


def fuse_backward(grad_kernel, grad_bias, branches):
    """Carry the gradient of a fused kernel and bias back to the branches that they were fused from.

    Parameters
    ----------
    grad_kernel : ndarray (C_out, C_in / groups, 3, 3)
    grad_bias : ndarray (C_out,)
    branches : list of (kernel, gamma, running_mean, running_var, eps)
        Each as `fold_batch_norm` was given it: kernels (C_out, C_in / groups, K, K) with K = 3 or 1, the others
        (C_out,). For an identity branch the kernel is `identity_kernel`, and its gradient of no use.

    Returns
    -------
    list of (grad_kernel, grad_gamma, grad_beta)
        For each branch, in the shapes of its kernel and of (C_out,).

    Raises
    ------
    ValueError
        If a gradient has another shape than what it is the gradient of.
    """
    gradients = []
    for kernel, gamma, running_mean, running_var, eps in branches:
        if kernel.shape[2:] not in ((3, 3), (1, 1)):
            raise ValueError(f"kernel of a branch must be 3x3 or 1x1, got the shape {kernel.shape}")
        if grad_kernel.shape != (*kernel.shape[:2], 3, 3):
            raise ValueError(f"grad_kernel must have the shape {(*kernel.shape[:2], 3, 3)}, got {grad_kernel.shape}")
        if grad_bias.shape != gamma.shape:
            raise ValueError(f"grad_bias must have the shape {gamma.shape}, got {grad_bias.shape}")
        if running_var.dtype != object:
            eps = running_var.dtype.type(eps)
        std = square_root(running_var + eps)
        own = grad_kernel if kernel.shape[2:] == (3, 3) else grad_kernel[:, :, 1:2, 1:2]
        grad_scale = (own * kernel).sum(axis=(1, 2, 3)) - running_mean * grad_bias
        gradients.append((own * (gamma / std)[:, None, None, None], grad_scale / std, grad_bias.copy()))
    return gradients
