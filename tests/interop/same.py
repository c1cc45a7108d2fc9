"""Comparing dicts of arrays bit by bit."""

import numpy as np


def assert_same_arrays(found, expected):
    """Same names in the same order, same shapes, bits and dtypes; but the byte order is native."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert type(found[name]) is np.ndarray
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].dtype.isnative
        assert found[name].flags.c_contiguous
        assert found[name].shape == array.shape
        # Through the native byte order, so that the bits can be compared (NaNs are equal to nothing).
        native = array.astype(array.dtype.newbyteorder("=")) if not array.dtype.isnative else array
        assert found[name].tobytes() == native.tobytes()
