"""What a step of Muon is: slow, obvious definitions, for arrays of any dtype.

Like `reference.py`, whose matrix product they use: on Python's fractions they are exact.
"""

from repvgg_np.reference import matmul


def newton_schulz(matrix, coefficients, steps):
    """Apply the odd polynomial `phi(X) = a X + b (X X^T) X + c (X X^T)^2 X` again and again.

    Parameters
    ----------
    matrix : ndarray (M, N)
        Of any dtype, already of the length that the iteration is to begin with.
    coefficients : tuple
        a, b and c, of that dtype.
    steps : int

    Returns
    -------
    ndarray (M, N)
    """
    a, b, c = coefficients
    for _ in range(steps):
        once = matmul(matmul(matrix, matrix.T), matrix)
        twice = matmul(matmul(matrix, matrix.T), once)
        matrix = a * matrix + b * once + c * twice
    return matrix
