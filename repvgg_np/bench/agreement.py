"""Do the contestants compute the same? How far rounding may carry two correct programs apart, and the comparison.

For a single convolution there is a proven bound (`rounding.py`). For a whole network a proven bound says nothing: each
layer multiplies it by a hundred or more. There a statistical one is used:

1. The rounding errors of a sum of n products behave like a random walk: with near certainty the sum is what one gets
   from exact arithmetic on products that are each off by at most `8 sqrt(n) u`, relative to themselves (Higham and
   Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019, theorem 2.4 with lambda = 8: it fails with a
   probability below 2 n exp(-32)). Winograd's algorithm multiplies that by what its proven bound exceeds the direct
   algorithm's.
2. So every weight and every pixel is moved by that much, up or down at random, and the function is computed again. What
   changes in its results is what rounding could do to one program; two programs may differ by twice that.
"""

import numpy as np

from repvgg_np.kernels import choose_algorithm
from repvgg_np.layers import Conv2d, Linear
from repvgg_np.rounding import convolution_bound

LAMBDA, DRAWS = 8, 2
CROP = 8  # pixels: enough for Winograd's tiles, to compare the bounds of the two algorithms


def kernels_of(network):
    """List the kernels of a network's convolutions, and the matrices of its linear layers, which are 1x1 kernels.

    Parameters
    ----------
    network : Network

    Returns
    -------
    list of (weight, stride, groups)
    """
    kernels = []
    for _, layer in network.named_layers():
        if isinstance(layer, Conv2d):
            kernels.append((layer.weight.peek(), layer.stride[0], layer.groups))
        elif isinstance(layer, Linear):
            kernels.append((layer.weight.peek()[:, :, None, None], 1, 1))
    return kernels


def relative_rounding(kernels, pixels=0):
    """Return the relative change of products that stands for the rounding of a network's longest sum.

    Parameters
    ----------
    kernels : list of (weight, stride, groups)
        From `kernels_of`.
    pixels : int
        The longest sum over pixels: the batch's, in a training step; 0 in inference.

    Returns
    -------
    float
    """
    longest = max(weight[0].size + 1 for weight, _, _ in kernels) + pixels
    amplification = max(_amplification(*kernel) for kernel in kernels)
    return float(LAMBDA * np.sqrt(longest) * np.finfo(np.float32).eps / 2 * amplification)


def _amplification(weight, stride, groups):
    """Return the quotient of the proven bounds of the algorithm that is used, and of the direct one."""
    stride = (stride, stride)
    x = np.random.default_rng(0).standard_normal((1, weight.shape[1] * groups, CROP, CROP), np.float32)
    algorithm = choose_algorithm(x.shape, weight.shape, stride, (1, 1), groups)
    if algorithm != "winograd":
        return 1.0
    if groups == 1:
        weight = weight[:16]  # some output channels stand for all
    bounds = [convolution_bound(x, weight, stride, (1, 1), groups, name).max() for name in (algorithm, "im2col")]
    return float(bounds[0] / bounds[1])


def moved(array, relative, rng):
    """Return the array with every number moved by a relative amount, up or down at random; integers as they are."""
    if array.dtype.kind != "f":
        return array
    factors = 1 + relative * rng.choice(np.array([-1, 1], array.dtype), array.shape)
    # pictures keep their memory order, channels-last
    return np.multiply(array, factors.astype(array.dtype), out=np.empty_like(array))


def logits_tolerance(fused, x):
    """Return by how much the logits of two correct programs may differ.

    Parameters
    ----------
    fused : Network
        In inference form.
    x : ndarray (N, 3, H, W)

    Returns
    -------
    float
    """
    relative, logits, state = relative_rounding(kernels_of(fused)), fused(x), fused.state_dict()
    rng, largest = np.random.default_rng(1), 0.0
    for _ in range(DRAWS):
        other = fused.fused()
        other.load_state_dict({name: moved(array, relative, rng) for name, array in state.items()})
        largest = max(largest, float(np.abs(other.eval()(moved(x, relative, rng)) - logits).max()))
    return 2 * largest


def convolution_tolerance(x, weight, bias, stride, groups):
    """Bound by how much two programs' convolutions differ, ours and a direct one: proven, for each output.

    ReLU after them brings the two no further apart.

    Parameters
    ----------
    x : ndarray (N, C_in, H, W)
    weight : ndarray (C_out, C_in / groups, 3, 3)
    bias : ndarray (C_out,)
    stride, groups : int

    Returns
    -------
    ndarray (N, C_out, H_out, W_out)
    """
    geometry = ((stride, stride), (1, 1), groups)
    bias = np.abs(bias)[:, None, None].astype(np.float64)
    algorithm = choose_algorithm(x.shape, weight.shape, *geometry)
    ours, direct = (convolution_bound(x, weight, *geometry, name, bias=bias) for name in (algorithm, "im2col"))
    return ours + direct


def check_difference(name, found, expected, tolerance):
    """Compare the results of two programs.

    Parameters
    ----------
    name : str
        Whose result it is.
    found, expected : ndarray
    tolerance : float or ndarray
        Of the largest difference, or of each.

    Returns
    -------
    difference, tolerance : float
        Of the element that takes the largest share of its tolerance.

    Raises
    ------
    ValueError
        If the shapes differ, or a difference exceeds its tolerance or is no number.
    """
    if found.shape != expected.shape:
        raise ValueError(f"the outputs don't agree: {name} has the shape {found.shape}, ours {expected.shape}")
    difference = np.abs(found - expected)
    tolerance = np.broadcast_to(tolerance, difference.shape)
    share = difference / np.maximum(tolerance, np.finfo(np.float64).tiny)
    worst = np.unravel_index(np.argmax(share), share.shape)
    if not (difference <= tolerance).all():
        raise ValueError(
            f"the outputs don't agree: {name} differs from ours by {difference[worst]:.2g}, "
            f"rounding explains {tolerance[worst]:.2g}"
        )
    return float(difference[worst]), float(tolerance[worst])
