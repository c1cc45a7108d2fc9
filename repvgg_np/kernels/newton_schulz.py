"""Orthogonalisation of a matrix by five steps of a Newton-Schulz iteration, for the optimizer Muon.

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

The oracle is `reference_muon.newton_schulz`.
"""

import numpy as np

from repvgg_np.kernels.matrix_product import matrix_product

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


def newton_schulz(matrix, steps=STEPS):
    """Make the singular values of a matrix alike, and leave its singular vectors as they are.

    Parameters
    ----------
    matrix : ndarray (M, N)
        float32 or float64. Only its direction matters, not its length.
    steps : int
        At least 1.

    Returns
    -------
    ndarray (M, N)
        Of the same dtype; a new array. Of a matrix of zeros, zeros.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T  # so that X X^T is the smaller of the two squares
    size = length(x)
    if not size:
        return np.zeros_like(matrix, order="C")
    kind = matrix.dtype.type
    a, b, c = (kind(number) for number in COEFFICIENTS)
    x = x / kind(size)
    gram, factors = matrix_product(x, x.T), None  # G, and the product of all Q
    for step in range(steps):
        factor = matrix_product(gram, gram)
        factor *= c
        factor += b * gram
        factor.reshape(-1)[:: len(factor) + 1] += a  # on the diagonal
        factors = factor if step == 0 else matrix_product(factor, factors)
        if step < steps - 1:
            gram = matrix_product(matrix_product(factor, gram), factor)
    x = matrix_product(factors, x)
    return np.ascontiguousarray(x if wide else x.T)
