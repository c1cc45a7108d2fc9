"""The step of gradient descent with momentum, in one pass over memory.

The oracle is `reference.momentum_step`; the results have the same bits, because each number goes through the same
roundings, and none of the products is fused with a sum.
"""

from repvgg_np.kernels.jit import kernel
from repvgg_np.kernels.layout import plain_memory


@kernel
def _step(data, grad, velocity, learning_rate, momentum, weight_decay, nesterov):
    for i in range(data.size):
        direction = grad[i] + weight_decay * data[i] if weight_decay else grad[i]
        velocity[i] = momentum * velocity[i] + direction
        data[i] -= learning_rate * (direction + momentum * velocity[i] if nesterov else velocity[i])


def step(data, grad, velocity, learning_rate, momentum, weight_decay, nesterov):
    """Move a parameter against its gradient.

    Parameters
    ----------
    data : ndarray
        Is moved. Any shape; float32 or float64.
    grad : ndarray
        Of the same shape and dtype.
    velocity : ndarray
        Likewise, and C-contiguous. Is brought up to date.
    learning_rate, momentum, weight_decay : float
        Are rounded to the dtype of `data`.
    nesterov : bool
    """
    kind, plain = data.dtype.type, plain_memory(data)
    rates = kind(learning_rate), kind(momentum), kind(weight_decay)
    _step(plain.reshape(-1), plain_memory(grad).reshape(-1), velocity.reshape(-1), *rates, nesterov)
    if plain is not data:  # it lies in memory in another order, and its copy was moved
        data[...] = plain
