"""How arrays lie in memory: pictures channels-last, whatever shape they are spoken of.

An activation is spoken of as (N, C, H, W), as in the paper and in PyTorch, and lies in memory as (N, H, W, C): the
channels of one pixel are neighbours, so that a vector register holds sixteen channels of it. The two are views of the
same bytes.
"""

import numpy as np

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def channels_last(x):
    """View an (N, C, H, W) array as a C-contiguous (N, H, W, C) one; copy it only if its memory is in another order.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
        In any memory order.

    Returns
    -------
    ndarray (N, H, W, C)
        C-contiguous, aligned and writeable: the one kind of array for which the kernels are compiled.
    """
    return plain_memory(x.transpose(0, 2, 3, 1))


def channels_first(x):
    """View an (N, H, W, C) array as (N, C, H, W), without a copy.

    Parameters
    ----------
    x : ndarray (N, H, W, C)

    Returns
    -------
    ndarray (N, C, H, W)
    """
    return x.transpose(0, 3, 1, 2)


def plain_memory(a):
    """Return `a` itself if it is C-contiguous, aligned and writeable, else such a copy of it.

    Numba compiles a kernel anew for a read-only array; a copy is cheaper.
    """
    if a.flags.carray:  # all three
        return a
    return np.require(a, requirements=["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


def check_float(name, a, dimensions, dtype=None):
    """Refuse an array that no kernel is compiled for.

    Parameters
    ----------
    name : str
        What the caller calls the array.
    a : object
        What came.
    dimensions : str
        The expected axes, such as ``"(N, C, H, W)"``.
    dtype : numpy.dtype, optional
        What the dtype must be; without it, float32 or float64.

    Raises
    ------
    ValueError
        If `a` is no array of that many dimensions and of that dtype.
    """
    expected = len(dimensions.strip("(,)").split(","))
    if not isinstance(a, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array of shape {dimensions}, got {type(a).__name__}")
    if a.ndim != expected:
        raise ValueError(f"{name} must have the shape {dimensions}, got {a.shape}")
    if dtype is not None and a.dtype != dtype:
        raise ValueError(f"{name} must be {dtype} like the other arrays, got {a.dtype}")
    if a.dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name} must be float32 or float64, got {a.dtype}")


def as_pair(name, value, least):
    """Return `value`, one integer or two, as a pair of integers: one for the height, one for the width.

    Parameters
    ----------
    name : str
        What the caller calls the value.
    value : int or pair of int
    least : int
        The smallest that is allowed.

    Raises
    ------
    ValueError
        If `value` is neither, or too small.
    """
    if type(value) is int and value >= least:  # most often
        return value, value
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in pair)
    if len(pair) != 2 or not whole or min(pair) < least:
        raise ValueError(f"{name} must be an integer, or a pair of them, of at least {least}, got {value!r}")
    return int(pair[0]), int(pair[1])
