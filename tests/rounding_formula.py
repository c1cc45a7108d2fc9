"""The formulas of the rounding bounds a second time, evaluated from their texts, tile by tile.

A bound that counts one rounding too many would differ by one part in ten million, for the unit roundoff is so small; so
the two are also compared in a *coarse* arithmetic, one with so large a unit roundoff, and so early an underflow, that
no count and no guard can hide.
"""

import numpy as np

from repvgg_np import fusion_bound, reference, rounding
from repvgg_np.kernels import winograd
from repvgg_np.reference_winograd import FIVE, FOUR, STRIDED, TRANSFORMS

ARITHMETICS = ["coarse", "real"]


class Arithmetic:
    """What a bound knows of an arithmetic: its unit roundoff and the square root of its smallest normal number."""

    def __init__(self, name):
        coarse = name == "coarse"
        self.roundoff = {"f": 2.0**-12 if coarse else 2.0**-24, "d": 2.0**-11 if coarse else 2.0**-53}
        self.root_of_smallest = {"f": 2.0**-4 if coarse else 2.0**-63, "d": 2.0**-3 if coarse else 2.0**-511}

    def gamma(self, n, dtype):
        u = self.roundoff[np.dtype(dtype).char]
        return n * u / (1 - n * u)

    def guard(self, dtype):
        return np.dtype(dtype).type(self.root_of_smallest[np.dtype(dtype).char])

    def absolute_convolution(self, x, weight, stride, padding, groups):
        guard, x, weight = float(self.guard(x.dtype)), np.abs(x).astype(float), np.abs(weight).astype(float)
        return reference.conv2d(x + guard, weight + guard, None, stride, padding, groups)

    def bound(
        self, x, weight, stride, padding, groups, algorithm, magnitude=None, roundings=0, bias=0, bias_roundings=0
    ):
        magnitude, guard = np.abs(weight) if magnitude is None else magnitude, float(self.guard(x.dtype))
        if algorithm == "winograd":
            bound = self.winograd_bound(x, weight, stride, padding, groups, magnitude, roundings)
            return bound + self.gamma(1 + bias_roundings, x.dtype) * (bias + guard)
        terms = self.absolute_convolution(x, magnitude, stride, padding, groups)
        terms = terms * (1 + 2 * self.gamma(weight[0].size + 4, x.dtype))
        n = weight[0].size + 1
        return self.gamma(n + roundings, x.dtype) * terms + self.gamma(n + bias_roundings, x.dtype) * (bias + guard)

    def winograd_bound(self, x, weight, stride, padding, groups, magnitude, roundings):
        """Go through the four lines of the text for each tile and each output channel."""
        height, width = ((x.shape[2 + i] + 2 * padding[i] - 3) // stride[0] + 1 for i in (0, 1))
        form, stride = winograd.form_of(stride, (height, width), len(x)), stride[0]
        B, A, tile = TRANSFORMS[form].b_transposed, TRANSFORMS[form].a_transposed, {FIVE: 5}.get(form, 4)
        G = TRANSFORMS[form].g_numerators / TRANSFORMS[form].g_denominator
        of_v, steps, of_y = {FOUR: (6, 4, 7), STRIDED: (6, 2, 7), FIVE: (8, 4, 9)}[form]
        before_cancelling = np.abs(B)
        if (
            form == FIVE
        ):  # rows that are sums of two: (d5 - 2 d4 - d3 / 4 + d2 / 2) +- (d4 - 2 d3 - d2 / 4 + d1 / 2), ...
            one2, one1 = np.array([0, 0, 1 / 2, 1 / 4, 2, 1, 0]), np.array([0, 1 / 2, 1 / 4, 2, 1, 0, 0])
            half2, half1 = np.array([0, 0, 2, 1, 2, 1, 0]), np.array([0, 2, 1, 2, 1, 0, 0])
            before_cancelling[1:5] = [one2 + one1, one2 + one1, half2 + half1 / 2, half2 + half1 / 2]
        dtype, guard, depth_in = x.dtype, float(self.guard(x.dtype)), weight.shape[1]
        room = ((0, 0), (0, 0), (padding[0], padding[0] + 9), (padding[1], padding[1] + 9))
        padded = np.pad(x.astype(float), room)
        bound = np.zeros((len(x), len(weight), height + 4, width + 4))
        for n in range(len(x)):
            for o in range(len(weight)):
                first = o // (len(weight) // groups) * depth_in
                g, size = weight[o].astype(float), magnitude[o].astype(float)
                u = np.abs(G @ g @ G.T) + guard
                t = np.abs(G) @ (np.abs(g) + guard) @ np.abs(G).T
                scaling = self.gamma(2, dtype) + self.gamma(4, "d")
                du = self.gamma(steps, dtype) * t + scaling * (u + self.gamma(steps, dtype) * t)
                du = du + self.gamma(roundings, dtype) * (np.abs(G) @ (size + guard) @ np.abs(G).T)
                for i in range(0, height, tile):
                    for j in range(0, width, tile):
                        top, left = stride * i, stride * j
                        d = padded[n, first : first + depth_in, top : top + len(B), left : left + len(B)]
                        v = np.abs(B @ d @ B.T) + guard
                        dv = before_cancelling @ (np.abs(d) + guard) @ before_cancelling.T
                        dv = self.gamma(of_v, dtype) * dv
                        p = ((v + dv) * (u + du)).sum(axis=0)
                        dm = self.gamma(depth_in, dtype) * p + (dv * (u + du) + (v + dv) * du).sum(axis=0)
                        y = np.abs(A) @ (dm + self.gamma(of_y, dtype) * (p + dm)) @ np.abs(A).T
                        bound[n, o, i : i + tile, j : j + tile] = y
        return bound[:, :, :height, :width] * (1 + self.gamma(5 * depth_in + 100, "d"))

    def block_bound(self, block, x):
        """Evaluate the text of `fusion_bound.py`, step by step, from what the block says of itself."""
        dtype, paths, folds = x.dtype, block.paths(), block.folds()
        error = terms = 0
        for path in paths:
            found = x, 0
            for step in path[:-1]:
                own, passed, size, constants = self.step_bound(step, *found)
                off = (own * (1 + self.gamma(7, dtype)) + passed + self.gamma(7, dtype) * size).astype(float)
                ring = np.ones((off.shape[2] + 2, off.shape[3] + 2), bool)
                ring[1:-1, 1:-1] = False
                if step.border:
                    off = np.pad(off, ((0, 0), (0, 0), (1, 1), (1, 1)))
                    off[:, :, ring] = (self.gamma(7, dtype) * constants).reshape(1, -1, 1)
                found = step.run(found[0]), off * (1 + self.gamma(12, dtype))
            own, passed, size, _ = self.step_bound(path[-1], *found)
            error, terms = error + own + passed, terms + size
        rounds = len(paths) - 1 + (0 if path[-1].norm is None and paths[0][-1].norm is None else 7)
        if block.after is not None:
            scale, constants = self.scale_and_constants(block.after, dtype)
            error, terms, rounds = scale * error, scale * terms + constants + float(self.guard(dtype)), rounds + 7
        error = error * (1 + self.gamma(rounds, dtype)) + self.gamma(rounds, dtype) * terms
        fused = fused_terms = most = 0
        for path in folds:
            found = x, None
            for number, fold in enumerate(path):
                (kernel, bias), counts = fold.kernel_and_bias(), fold.roundings()
                magnitude, constants = fold.kernel_and_bias(absolute=True, guard=self.guard(dtype))
                constants, padding = constants[:, None, None], (kernel.shape[2] // 2, kernel.shape[3] // 2)
                geometry = (fold.stride,) * 2, fold.padding or padding, fold.groups
                algorithm = fusion_bound.choose_algorithm(found[0].shape, kernel.shape, *geometry)
                sizes = magnitude, counts[0], constants, counts[1]
                off = self.bound(found[0], kernel, *geometry, algorithm, *sizes)
                if found[1] is not None:
                    off = off + self.made_up_for(found[1], magnitude.astype(float), geometry)
                size, most = self.made_up_for(found[0], magnitude, geometry) + constants, max(most, counts[1])
                if number < len(path) - 1:
                    out = rounding.conv2d(found[0], kernel, bias, *geometry, relu=True)
                    found = out, off * (1 + self.gamma(12, dtype))
            fused, fused_terms = fused + off, fused_terms + size
        rounds = len(folds) - 1
        fused = fused * (1 + self.gamma(rounds, dtype)) + self.gamma(rounds, dtype) * fused_terms
        return (error + fused) * (1 + self.gamma(5 + most, dtype))

    def step_bound(self, step, x, off):
        """Evaluate own, passed, S and c for a step that finds `x`, which is off by `off`."""
        scale, constants = (1, 0) if step.norm is None else self.scale_and_constants(step.norm, x.dtype)
        bias = np.zeros((1, 1, 1)) if step.bias is None else np.abs(step.bias.astype(float))[:, None, None]
        constants, geometry = constants + float(self.guard(x.dtype)), ((step.stride,) * 2, step.padding, step.groups)
        constants = constants + bias * scale
        algorithm = fusion_bound.choose_algorithm(x.shape, step.kernel.shape, *geometry)
        own = scale * self.bound(x, step.kernel, *geometry, algorithm, bias=bias)
        passed = 0
        if isinstance(off, np.ndarray):
            passed = scale * self.made_up_for(off, step.kernel.astype(float), geometry)
        return own, passed, scale * self.made_up_for(x, step.kernel, geometry) + constants, constants

    def made_up_for(self, x, kernel, geometry):
        terms = self.absolute_convolution(x, kernel, *geometry)
        return terms * (1 + 2 * self.gamma(kernel[0].size + 4, x.dtype))

    def scale_and_constants(self, norm, dtype):
        scale = np.abs(norm.gamma.data.astype(float)) / np.sqrt(norm.running_var.astype(float) + dtype.type(norm.eps))
        constants = np.abs(norm.beta.data) + np.abs(norm.running_mean * scale)
        return scale[:, None, None], constants[:, None, None]


def tolerance(dtype):
    """What evaluating a formula of positive terms in two ways may come to: some dozens of roundings."""
    return 100 * float(np.finfo(dtype).eps)
