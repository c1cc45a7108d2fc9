"""Orthogonalisation of matrices by five steps of a Newton-Schulz iteration, for the optimizer Muon.

A matrix is `U S V^T`, with U and V orthogonal and the singular values in S. An odd polynomial in the matrix,

    phi(X) = a X + b (X X^T) X + c (X X^T)^2 X,

leaves U and V as they are and acts on each singular value s as `a s + b s^3 + c s^5`. With the coefficients below, five
steps take all singular values but the smallest to near 1, and a division of the matrix by its length beforehand brings
them into reach, from 0 to 1. Near is enough: they end between about 0.7 and 1.2. In return a small one grows by
a = 3.44 at each step (Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024, from where the
coefficients are).

A kernel (C_out, C_in K K) is a wide matrix, and most of the multiplications would be spent on its length. But each step
is a product with a small square one, and all of these are polynomials in X X^T, so that they commute:

    phi(X) = Q X,   Q = a I + b G + c G^2   with   G = X X^T,   and the next G is  (Q X) (Q X)^T = Q G Q.

So the steps are taken on the small squares alone, and what they come to is multiplied with X once, at the end.

A network has a dozen kernels and more, and none of these products is worth the meeting of two threads: so each matrix
belongs to one thread, from beginning to end, and the threads meet once. All arrays are in *panels*, as `multiply` in
`gemm.py` wants its right-hand matrix, and are not packed between products: it reads a left-hand matrix in pieces, and
writes its result a panel at a time. For that they are filled up with zeros to whole panels, which changes no number.
The products are a list that `_plan` writes and one loop goes through, because a call of `multiply` takes seconds to
compile.

The oracle is `reference_muon.newton_schulz`.
"""

import numpy as np
from numba import prange

from repvgg_np.kernels import buffers
from repvgg_np.kernels.gemm import multiply, round_up
from repvgg_np.kernels.jit import get_num_threads, kernel, parallel_kernel
from repvgg_np.kernels.simd import VECTOR_BYTES

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5


def length(array):
    """Return the square root of the sum of all squares, added up in float64, in one order whatever that of the memory.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    float
    """
    return float(np.sqrt(np.square(array, dtype=np.float64, order="C").sum()))


# The kinds of products: X X^T; of two squares; G G, of which Q is made; the last, with X.
GRAM, SQUARES, POLYNOMIAL, LAST = range(4)


def _plan(steps):
    """List the products: the numbers of the left-hand square, of the right-hand one and of the result; the kind."""
    gram, spare, free = 0, 1, [2, 3, 4]
    plan, factors = [(-1, -1, gram, GRAM)], None
    for step in range(steps):
        q = free.pop()
        plan.append((gram, gram, q, POLYNOMIAL))
        if step < steps - 1:
            plan += [(q, gram, spare, SQUARES), (spare, q, gram, SQUARES)]
        if factors is None:
            factors = q
        else:
            product = free.pop()
            plan.append((q, factors, product, SQUARES))
            free += [q, factors]
            factors = product
    return np.array([*plan, (factors, -1, -1, LAST)])


@kernel
def _pack(x, size, columns, width, transposed, panels):
    """Write X, which is at the beginning of `x`, or X^T in panels."""
    for row in range(size):
        for column in range(columns):
            i, j, depth = (column, row, columns) if transposed else (row, column, size)
            x[panels + j // width * width * depth + i * width + j % width] = x[row * columns + column]


@kernel
def _make_polynomial(x, gram, square, size, width, coefficients):
    """Make Q = a I + b G + c G^2 of the G^2 at `square`."""
    a, b, c = coefficients
    for i in range(size * size):
        x[square + i] = x[square + i] * c + b * x[gram + i]
    for i in range(size):  # on the diagonal
        x[square + i // width * width * size + i * width + i % width] += a


@kernel
def _iterate(x, plan, size, columns, coefficients, bias):
    """Go through the plan. X (size, columns) is at the beginning of `x`, and makes room for the result, in panels."""
    width = len(bias)
    packed, squares = size * columns, 2 * size * columns
    for i in range(len(plan)):
        kind = plan[i, 3]
        left, right, out = (
            squares + plan[i, 0] * size**2,
            squares + plan[i, 1] * size**2,
            squares + plan[i, 2] * size**2,
        )
        starts, runs, depth, panels = width * np.arange(size), (1, 0, size // width, size * width, width), size, size
        if kind == GRAM:
            _pack(x, size, columns, width, True, packed)
            left, right, depth = 0, packed, columns
            starts, runs = columns * np.arange(size), (1, 0, 1, 0, columns)
        elif kind == LAST:
            _pack(x, size, columns, width, False, packed)
            right, out, panels = packed, 0, columns
        for panel in range(panels // width):
            multiply(
                x, left, starts, size, runs, x, right + panel * depth * width, width, bias, 0, False, False,
                x, out + panel * size * width, width,
            )  # fmt: skip
        if kind == POLYNOMIAL:
            _make_polynomial(x, left, out, size, width, coefficients)


@kernel
def _share(worker, flat, shapes, places, owners, plan, coefficients, x, bias, out):
    """Do the matrices of one thread; `x` is its own memory."""
    width = len(bias)
    for matrix in range(len(shapes)):
        if owners[matrix] == worker:
            rows, columns, place = shapes[matrix, 0], shapes[matrix, 1], places[matrix]
            size, filled = round_up(rows, width), round_up(columns, width)
            for row in range(size):
                for column in range(filled):
                    real = row < rows and column < columns
                    x[row * filled + column] = flat[place + row * columns + column] if real else 0
            _iterate(x, plan, size, filled, coefficients, bias)
            for row in range(rows):
                for column in range(columns):
                    panel = column // width * width * size
                    out[place + row * columns + column] = x[panel + row * width + column % width]


@parallel_kernel
def _orthogonalise(flat, shapes, places, owners, plan, coefficients, scratch, bias, out):
    for worker in prange(len(scratch)):
        own = scratch[np.intp(worker)]
        _share(np.intp(worker), flat, shapes, places, owners, plan, coefficients, own, bias, out)


def newton_schulz(matrices, steps=STEPS):
    """Make the singular values of each matrix alike, and leave its singular vectors as they are.

    Parameters
    ----------
    matrices : sequence of ndarray (M, N)
        Of any sizes; all float32 or all float64. Only the direction of each matters, not its length.
    steps : int
        At least 1.

    Returns
    -------
    list of ndarray (M, N)
        Of the same dtype; new arrays. Of a matrix of zeros, zeros.
    """
    # So that X X^T is the smaller of the two squares.
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    dtype, workers = wide[0].dtype, get_num_threads()
    ends = np.cumsum([x.size for x in wide])
    flat = buffers.empty((int(ends[-1]),), dtype)
    for x, end in zip(wide, ends, strict=True):
        np.divide(x, dtype.type(length(x) or 1), out=flat[end - x.size : end].reshape(x.shape))

    width = 2 * VECTOR_BYTES // dtype.itemsize
    shapes = np.array([x.shape for x in wide])
    sizes, filled = -(-shapes.T // width) * width
    # By the number of multiplications.
    owners = _share_out(sizes**2 * (3 * steps * sizes + 2 * filled), workers)
    scratch = buffers.empty((workers, int((2 * sizes * filled + 5 * sizes**2).max())), dtype)
    coefficients = tuple(dtype.type(number) for number in COEFFICIENTS)
    out, bias, places = buffers.empty(flat.shape, dtype), np.zeros(width, dtype), ends - shapes.prod(axis=1)
    _orthogonalise(flat, shapes, places, owners, _plan(steps), coefficients, scratch, bias, out)
    found = [out[end - x.size : end].reshape(x.shape) for x, end in zip(wide, ends, strict=True)]
    return [x if x.shape == matrix.shape else x.T for x, matrix in zip(found, matrices, strict=True)]


def _share_out(costs, workers):
    """Return for each piece of work who does it: the most costly first, each by who has least to do until then."""
    owners, busy = np.empty(len(costs), np.intp), np.zeros(workers, np.int64)
    for piece in np.argsort(-costs, kind="stable"):
        owners[piece] = busy.argmin()
        busy[owners[piece]] += costs[piece]
    return owners
