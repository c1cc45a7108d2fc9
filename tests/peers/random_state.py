"""Weights and statistics as a trained network might have them: of any sign, and of moderate size."""

import numpy as np


def randomise(model, rng):
    """Draw every number of a network or block, so that activations neither explode nor vanish; return it.

    Kernels have variance 1 / fan_in, so a convolution keeps the mean square of what it is given. Two or three branches
    with gamma^2 of about 1/2 add up to about as much again, and ReLU halves it: from block to block the mean square
    changes by a factor near 1, also over the 28 of the largest networks.
    """
    state = model.state_dict()
    for name, array in state.items():
        if array.ndim >= 2:
            numbers = rng.standard_normal(array.shape, np.float32) / np.sqrt(array[0].size)
        elif name.endswith("running_var"):
            numbers = rng.uniform(0.5, 1.5, array.shape)
        elif name.endswith("num_batches_tracked"):
            numbers = np.asarray(rng.integers(1, 1000))
        elif name.endswith("weight"):
            numbers = rng.uniform(0.4, 1, array.shape) * rng.choice([-1, 1], array.shape, p=[0.2, 0.8])
        else:
            numbers = rng.normal(0, 0.1, array.shape)
        state[name] = numbers.astype(array.dtype)
    model.load_state_dict(state)
    return model
