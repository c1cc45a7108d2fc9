"""What each kind of block computes, from the papers' formulas and `reference.py` alone: the oracle of the variants."""

from fractions import Fraction

import numpy as np

from repvgg_np import reference
from repvgg_np.blocks import VARIANTS
from tests.exact import EPS

FOLDING = [name for name in VARIANTS if name != "relu-in-branches"]
# (in_channels, out_channels, stride, groups): with and without an identity, with groups, with a stride.
SHAPES = [(2, 2, 1, 1), (2, 4, 1, 2), (4, 4, 1, 2), (2, 3, 2, 1)]


def make_blocks(name, shape, rng, dtype=np.float64):
    """Make the blocks of one layer; of two layers, where a block takes two."""
    shapes = [shape]
    if name == "residual-reorg":
        shapes.append((shape[1], shape[1], 1, shape[3]))
    return VARIANTS[name].training(shapes, rng=rng, dtype=dtype)


def before_relu(name, state, x, stride, groups, eps):
    """Compute what the last ReLU of a block gets, by the formulas.

    `state` is the block's state dict. Which branches there are is read from it; that they are the right ones is for
    the tests of names and parameter counts to say.
    """

    def conv(x, kernel, stride=stride, groups=groups, padding=None):
        padding = (kernel.shape[2] // 2, kernel.shape[3] // 2) if padding is None else padding
        return reference.conv2d(x, kernel, None, (stride, stride), padding, groups)

    def norm(x, prefix):
        parts = (state[f"{prefix}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        return reference.batch_norm(x, *parts, eps)

    def has(prefix):
        return any(key.startswith(f"{prefix}.") for key in state)

    same_shape = stride == 1 and next(iter(state_kernels(state))).shape[0] == x.shape[1]
    if name == "residual-reorg" and has("conv1"):
        inner = reference.relu(norm(conv(x, state["conv1.weight"]), "bn1"))
        out = norm(conv(inner, state["conv2.weight"], 1), "bn2")
        return out + (norm(conv(x, state["downsample.0.weight"]), "downsample.1") if has("downsample.0") else x)
    if name == "acb":
        return sum(norm(conv(x, state[f"{part}_conv.weight"]), f"{part}_bn") for part in ("square", "ver", "hor"))
    if name == "diracnet":
        return norm(conv(x, dirac_kernel(state["conv.weight"], state["conv.alpha"], state["conv.beta"], groups)), "bn")
    if name in ("trivial", "trivial-1x1"):
        total = conv(x, state["conv.weight"]) + (x if same_shape else 0)
        if name == "trivial-1x1":
            total = total + conv(x, state["conv.pointwise_weight"])
        return norm(total, "bn")
    if name == "post-addition-bn":
        total = conv(x, state["rbr_dense.weight"]) + conv(x, state["rbr_1x1.weight"]) + (x if same_shape else 0)
        return norm(total, "bn")
    if name == "dbb":
        return diverse_branches(state, x, conv, norm, has)
    convolutions = ["rbr_dense", "rbr_1x1", "rbr_scale", *(f"rbr_conv.{copy}" for copy in range(4))]
    branches = [norm(conv(x, state[f"{p}.conv.weight"]), f"{p}.bn") for p in convolutions if has(p)]
    branches += [norm(x, prefix) for prefix in ("rbr_identity", "rbr_skip") if has(prefix)]
    if name == "identity-without-bn" and same_shape:
        branches.append(x)
    if name == "relu-in-branches":
        branches = [reference.relu(branch) for branch in branches]
    return sum(branches)


def state_kernels(state):
    return (array for array in state.values() if array.ndim == 4)


def dirac_kernel(weight, alpha, beta, groups):
    """Compute diag(alpha) I + diag(beta) W / |W|, filter by filter."""
    kernel = np.empty_like(weight)
    per_group = len(weight) // groups
    for o in range(len(weight)):
        length = reference.square_root(np.array([sum(w * w for w in weight[o].ravel())], weight.dtype))[0]
        kernel[o] = weight[o] * (beta[o] / length)
        if o % per_group < weight.shape[1]:
            kernel[o, o % per_group, 1, 1] += alpha[o]
    return kernel


def diverse_branches(state, x, conv, norm, has):
    """Add the four branches of the Diverse Branch Block. A border of zeros goes *before* what makes the border."""

    def bordered(kernel, prefix):
        return norm(conv(reference.pad(x, (1, 1)), kernel, 1), prefix)

    total = norm(conv(x, state["dbb_origin.conv.weight"]), "dbb_origin.bn")
    if has("dbb_1x1"):
        total = total + norm(conv(x, state["dbb_1x1.conv.weight"]), "dbb_1x1.bn")
        averaged = bordered(state["dbb_avg.conv.weight"], "dbb_avg.bn.bn")
    else:
        averaged = reference.pad(x, (1, 1))
    ones = np.zeros((averaged.shape[1], 1, 3, 3), x.dtype) + (x[0, 0, 0, 0] * 0 + 1)
    total = total + norm(conv(averaged, ones, groups=len(ones), padding=(0, 0)) / 9, "dbb_avg.avgbn")
    if has("dbb_1x1_kxk.idconv1"):
        first = state["dbb_1x1_kxk.idconv1.weight"].copy()
        for i in range(len(first)):
            first[i, i % first.shape[1]] += 1
    else:
        first = state["dbb_1x1_kxk.conv1.weight"]
    inner = bordered(first, "dbb_1x1_kxk.bn1.bn")
    return total + norm(conv(inner, state["dbb_1x1_kxk.conv2.weight"], padding=(0, 0)), "dbb_1x1_kxk.bn2")


def randomise(layer, rng):
    """Give a layer statistics and parameters of any sign, as after some training."""
    state = layer.state_dict()
    for name, array in state.items():
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.1, 3, array.shape).astype(array.dtype)
        elif array.ndim == 1 or name.endswith("idconv1.weight"):
            state[name] = rng.normal(size=array.shape).astype(array.dtype)
        elif array.ndim == 4 and array[0].size == 1:
            # Of a single weight w near 0, a batch norm's output w x / sqrt(w^2 var + eps) is almost a step: too steep
            # for any difference quotient.
            state[name] = (rng.uniform(0.5, 1, array.shape) * rng.choice([-1, 1], array.shape)).astype(array.dtype)
    layer.load_state_dict(state)
    return layer


def make_exact(layer, rng):
    """Give a layer numbers that are fractions, each of its square roots a fraction too; return it.

    Parameters and buffers of such a dtype are for folding alone: no kernel is compiled for them.
    """

    def draw(shape, low=-9):
        return fractions(rng.integers(low, 10, shape), rng.integers(1, 7, shape))

    for _, part in layer.named_layers():
        dirac = "alpha" in part._parameters
        for name, parameter in part._parameters.items():
            shape = parameter._data.shape
            parameter._data = (
                unit_filters(draw(shape), draw(shape[:1], 1)) if dirac and name == "weight" else draw(shape)
            )
        if hasattr(part, "running_var"):
            std = draw(part.running_var.shape, 1) + Fraction(1, 4)
            part.running_mean, part.running_var, part.eps = draw(std.shape), std * std - EPS, EPS
            part._buffers |= {"running_mean": part.running_mean, "running_var": part.running_var}
        if isinstance(getattr(part, "kernel", None), np.ndarray):  # constants: ones, or ninths
            kernel = part.kernel
            numerators = np.rint(kernel * 9).astype(int)
            part.kernel = fractions(numerators, np.full(kernel.shape, 9))
    return layer


def fractions(numerators, denominators):
    out = np.empty(numerators.shape, object)
    for index in np.ndindex(out.shape):
        out[index] = Fraction(int(numerators[index]), int(denominators[index]))
    return out


def unit_filters(drawn, lengths):
    """Make filters whose length is a fraction: points on a sphere that lie on lines of fractions through a pole."""
    filters = np.empty_like(drawn)
    for o, t in enumerate(drawn.reshape(len(drawn), -1)):
        square = sum(v * v for v in t[1:])
        point = [(square - 1) / (square + 1), *(2 * v / (square + 1) for v in t[1:])]
        filters[o] = (np.array(point, object) * lengths[o]).reshape(drawn.shape[1:])
    return filters
