"""How far rounding can take a block's two forms apart: a bound that is proven, and computed from the data.

Both forms of a block get the same input X, in inference mode. In exact arithmetic they are equal. In floating point,
with s = gamma / sigma of a batch norm (s = 1 where there is none) and c = |beta| + |mu s|, each of the two is off from
the exact value by at most what follows; so they differ by at most the sum. `rounding.py` has the model of arithmetic,
gamma_n, and the bound E of a single convolution. Where the convolution before the batch norm has a bias b, as in VGG,
E is that of the convolution with it, and c has |b s| more.

**The training form** adds B branches. Each is a convolution, or several in a row, with a batch norm. For the last
convolution of a branch, which finds an input X' that was itself computed, and is off by at most e' (X' = X and e' = 0
in a branch of one convolution):

    own    = |s| E(X', W)              the convolution's own rounding, multiplied by s
    passed = |s| (|W| * e')            what its input was off by; exact arithmetic, since convolution is linear
    S      = |s| (|W| * |X'|) + c      what the roundings around it are relative to

The roundings are 5 of `gamma / sqrt(var + eps)` and `beta - mean scale`, 2 of `scale x + shift`, and B - 1 of the
additions. With r = 7 + (B - 1), by the rule that gamma_a + gamma_b + gamma_a gamma_b <= gamma_(a + b), the sum over the
branches is off by at most

    (sum of own + passed) (1 + gamma_r)  +  gamma_r (sum of S)

A batch norm behind the addition multiplies all of this by its |s|, adds its c to S, and 7 to r.

**Convolutions in a row.** The output of every step but the last is off by e' = own (1 + gamma_7) + passed + gamma_7 S,
by the same argument for B = 1. A ReLU between brings numbers closer together, never apart. A border that is added is
`beta - mean scale`, off by at most gamma_7 c. The X' of the next step is what the block itself computes.

**The inference form.** A kernel that was folded from branches is a sum of products. Let M be the same sum over absolute
values, and let each of its terms have gone through q roundings (`Fold.roundings` counts them: 4 of `kernel scale` and
B - 1 of the additions, in the RepVGG block); then the kernel is off by at most gamma_q M, and the bias likewise.
The bound of the convolution with this kernel takes both into account. Where an inference form is itself several
convolutions, with a shortcut around them, they are put together as in the training form, with |K| <= M.

Underflow: as in `rounding.py`, sqrt(t) is added to whatever is multiplied, to the factors of folded kernels too.

The last ReLU brings numbers closer together as well. A difference above the bound is not rounding: the fusion, or a
file, is wrong.
"""

import numpy as np

from repvgg_np.kernels import choose_algorithm, conv2d
from repvgg_np.rounding import absolute_convolution, convolution_bound, gamma, underflow_guard

BATCH_NORM = 7  # roundings: see the text
OF_MAGNITUDES = 12  # what a magnitude of one step, computed in the same dtype, may itself have gone through


def fusion_bound(block, x):
    """Compute the bound on the difference of a block's two forms, as in the text above.

    Parameters
    ----------
    block : Block or ConvolutionAndNorm
        In training form and inference mode.
    x : ndarray (N, C_in, H, W)

    Returns
    -------
    bound : ndarray (N, C_out, H_out, W_out) float64
    algorithm : str
        Of the (first) fused convolution.

    Raises
    ------
    ValueError
        If the block does not fold.
    """
    folds = block.folds()
    branch_error = _training_error(block.paths(), block.after, x)
    fused_error, algorithm = _inference_error(folds, x)
    # The magnitudes went through roundings of their own: those of a bias, and 5 of their sums.
    most = 5 + max(fold.roundings()[1] for path in folds for fold in path)
    return (branch_error + fused_error) * (1 + gamma(most, x.dtype)), algorithm


def _training_error(paths, after, x):
    """Bound the error of the training form."""
    error, terms = 0, 0
    for path in paths:
        own_error, own_terms = _path_error(path, x)
        error, terms = error + own_error, terms + own_terms
    rounds = len(paths) - 1
    if any(path[-1].norm is not None for path in paths):
        rounds += BATCH_NORM
    if after is not None:
        scale, constants = _scale_and_constants(after)
        error, terms = scale * error, scale * terms + constants + float(underflow_guard(x.dtype))
        rounds += BATCH_NORM
    return error * (1 + gamma(rounds, x.dtype)) + gamma(rounds, x.dtype) * terms


def _path_error(path, x):
    """Bound, for the last step of a path, own + passed, and S."""
    dtype, error_in = x.dtype, None
    for number, step in enumerate(path):
        geometry = ((step.stride, step.stride), step.padding, step.groups)
        bias = 0 if step.bias is None else np.abs(step.bias)[:, None, None].astype(np.float64)
        scale, constants = (1, 0) if step.norm is None else _scale_and_constants(step.norm)
        constants = constants + scale * bias + float(underflow_guard(dtype))
        algorithm = choose_algorithm(x.shape, step.kernel.shape, *geometry)
        own = scale * convolution_bound(x, step.kernel, *geometry, algorithm, bias=bias)
        terms = scale * absolute_convolution(x, step.kernel, *geometry) + constants
        passed = 0
        if error_in is not None:
            passed = scale * absolute_convolution(error_in, step.kernel.astype(np.float64), *geometry)
        if number == len(path) - 1:
            return own + passed, terms
        error_in = own * (1 + gamma(BATCH_NORM, dtype)) + passed + gamma(BATCH_NORM, dtype) * terms
        if step.border:
            room = ((0, 0), (0, 0), (step.border, step.border), (step.border, step.border))
            inside = np.pad(np.ones(error_in.shape[2:], bool), room[2:])
            off = np.broadcast_to(gamma(BATCH_NORM, dtype) * constants, (error_in.shape[1], 1, 1))
            error_in = np.where(inside, np.pad(error_in, room), off)
        error_in = error_in * (1 + gamma(OF_MAGNITUDES, dtype))
        x = step.run(x)
    raise ValueError("path must have a step, got none")


def _inference_error(folds, x):
    """Bound the error of the inference form."""
    error, terms, algorithms = 0, 0, []
    for path in folds:
        own_error, own_terms, algorithm = _folded_path_error(path, x, need_terms=len(folds) > 1)
        error, terms = error + own_error, terms + own_terms
        algorithms.append(algorithm)
    rounds = len(folds) - 1
    return error * (1 + gamma(rounds, x.dtype)) + gamma(rounds, x.dtype) * terms, algorithms[0]


def _folded_path_error(path, x, need_terms):
    """Bound the error of folded convolutions in a row, ReLU between them; return it, S and the first algorithm."""
    dtype, error_in, first = x.dtype, None, None
    for number, fold in enumerate(path):
        kernel, bias = fold.kernel_and_bias()
        magnitude, constants = fold.kernel_and_bias(absolute=True, guard=underflow_guard(dtype))
        weight_roundings, bias_roundings = fold.roundings()
        constants = constants[:, None, None].astype(np.float64)
        padding = (kernel.shape[2] // 2, kernel.shape[3] // 2) if fold.padding is None else fold.padding
        geometry = ((fold.stride, fold.stride), padding, fold.groups)
        algorithm = choose_algorithm(x.shape, kernel.shape, *geometry)
        first = first or algorithm
        rounded_before = {
            "magnitude": magnitude,
            "weight_roundings": weight_roundings,
            "bias": constants,
            "bias_roundings": bias_roundings,
        }
        error = convolution_bound(x, kernel, *geometry, algorithm, **rounded_before)
        if error_in is not None:
            error = error + absolute_convolution(error_in, magnitude.astype(np.float64), *geometry)
        if number < len(path) - 1:
            error_in = error * (1 + gamma(OF_MAGNITUDES, dtype))
            x = conv2d(x, kernel, bias, *geometry, relu=True)
    terms = absolute_convolution(x, magnitude, *geometry) + constants if need_terms else 0
    return error, terms, first


def _scale_and_constants(norm):
    """Return |s| and c of a batch norm, (C, 1, 1)."""
    scale = np.abs(norm.gamma.peek()) / np.sqrt(norm.running_var + norm.running_var.dtype.type(norm.eps))
    constants = np.abs(norm.beta.peek()) + np.abs(norm.running_mean) * scale
    return scale[:, None, None].astype(np.float64), constants[:, None, None].astype(np.float64)
