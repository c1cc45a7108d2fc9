"""What every layer is: something with a forward and a backward pass, parameters, buffers and children."""

import copy

import numpy as np


class Parameter:
    """A trainable array and its gradient.

    Attributes
    ----------
    data : ndarray
        The numbers. Write into it in place, or assign an array of the same shape and dtype.
    grad : ndarray or None
        The gradient of the loss with respect to `data`, after a backward pass; of the same shape and dtype.
    """

    def __init__(self, data):
        self._data = data
        self._shared = False
        self._prepared = {}
        self.grad = None

    @property
    def data(self):
        """The numbers."""
        if not self._shared:
            self._shared, self._prepared = True, {}  # from now on, whoever got hold of the array may write into it
        return self._data

    @data.setter
    def data(self, value):
        if not isinstance(value, np.ndarray) or value.shape != self._data.shape or value.dtype != self._data.dtype:
            raise ValueError(
                f"data must be an array of shape {self._data.shape} and dtype {self._data.dtype}, "
                f"got {getattr(value, 'shape', type(value).__name__)} {getattr(value, 'dtype', '')}"
            )
        self._data = value
        self._shared = True
        self._prepared = {}

    def replace(self, data):
        """Take over new numbers, of the same shape and dtype, from a caller who gives the array away.

        Unlike after an assignment to `data`, nobody else can write into them.
        """
        self._data, self._shared, self._prepared = data, False, {}

    def prepared(self, key, prepare):
        """Return `prepare(data)`, made once and remembered under `key` until the numbers change.

        Convolution kernels are read in a form of their own (transformed, packed). In inference that form is made once.
        If anybody could have written into `data` since, the numbers are compared with those it was made of.

        Parameters
        ----------
        key : hashable
            Says which form.
        prepare : callable
            Makes it from the array.
        """
        made = self._prepared.get(key)
        if made is None or (self._shared and not np.array_equal(made[0], self._data)):
            before = self._data.copy() if self._shared else self._data
            made = self._prepared[key] = (before, prepare(self._data))
        return made[1]

    def peek(self):
        """Return the numbers to a reader who promises not to write into them."""
        return self._data

    def __deepcopy__(self, memo):
        """Copy the numbers; gradients and prepared forms stay behind."""
        return Parameter(self._data.copy())


class Layer:
    """A function of an array, with its gradient written by hand.

    A subclass writes `forward` and `backward`. It registers what it owns with `add_parameter`, `add_buffer` and
    `add_child`, each under the name that it has in a state dict, and keeps it under a readable name of its own:
    ``self.gamma = self.add_parameter("weight", ...)``.

    Attributes
    ----------
    training : bool
        True: batch statistics are used, and what `backward` needs is kept. False (inference): neither.
    """

    def __init__(self):
        self.training = True
        self._parameters = {}
        self._buffers = {}
        self._children = []  # of (name, layer)

    def add_parameter(self, name, data):
        """Register a trainable array; return it as a `Parameter`."""
        self._parameters[name] = Parameter(data)
        return self._parameters[name]

    def add_buffer(self, name, data):
        """Register an array that belongs to the state but is not trained; return it."""
        self._buffers[name] = data
        return data

    def add_child(self, name, layer):
        """Register a layer that is part of this one; return it.

        Under the name "", the names of the layer's own children stand in a state dict as if they were this one's.
        """
        self._children.append((name, layer))
        return layer

    def forward(self, x):
        """Compute the output."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")

    def backward(self, grad_out):
        """Compute the gradient of the input from that of the output; set the `grad` of every parameter."""
        raise NotImplementedError(f"{type(self).__name__} has no backward pass")

    def __call__(self, x):
        """Compute the output: the same as `forward`."""
        return self.forward(x)

    def train(self, mode=True):
        """Switch to training mode (or, with False, to inference mode), the children included; return the layer."""
        self.training = mode
        if not mode:
            self.forget()
        for _, child in self._children:
            child.train(mode)
        return self

    def eval(self):
        """Switch to inference mode, the children included; return the layer."""
        return self.train(False)

    def forget(self):
        """Drop what the last forward pass kept for `backward`."""

    def out_shape(self, shape):
        """Return the output's shape for an input's, both without the batch: (C, H, W) or (C,). Here: the same."""
        return shape

    def trace(self, shape, name=""):
        """Follow a shape through the layer, without computing anything.

        Parameters
        ----------
        shape : tuple
            Of the input, without the batch: (C, H, W) or (C,).
        name : str
            The layer's own, in a state dict.

        Returns
        -------
        out_shape : tuple
        steps : list of (name, layer, in_shape, out_shape)
            Of the layers without parts, in the order in which they compute.
        """
        out_shape = self.out_shape(shape)
        return out_shape, [(name, self, shape, out_shape)]

    def children(self):
        """Return the layers that this one is made of, by their names in a state dict."""
        return dict(self._children)

    def named_layers(self, prefix=""):
        """Yield `(name, layer)` of this layer and of all inside it, in the order of the state dict."""
        yield prefix.rstrip("."), self
        for name, child in self._children:
            yield from child.named_layers(f"{prefix}{name}." if name else prefix)

    def named_parameters(self):
        """Yield `(name, parameter)` of all parameters, under the names of the state dict."""
        for prefix, layer in self.named_layers():
            for name, parameter in layer._parameters.items():
                yield f"{prefix}.{name}".lstrip("."), parameter

    def _named_buffers(self):
        """Yield `(name, owner, name in its owner)` of all buffers."""
        for prefix, layer in self.named_layers():
            for name in layer._buffers:
                yield f"{prefix}.{name}".lstrip("."), layer, name

    def count_parameters(self):
        """Return how many trainable numbers there are."""
        return sum(parameter.peek().size for _, parameter in self.named_parameters())

    def state_dict(self):
        """Return a copy of every parameter and buffer.

        Returns
        -------
        dict of str to ndarray
        """
        state = {}
        for prefix, layer in self.named_layers():
            for name, parameter in layer._parameters.items():
                state[f"{prefix}.{name}".lstrip(".")] = parameter.peek().copy()
            for name, buffer in layer._buffers.items():
                state[f"{prefix}.{name}".lstrip(".")] = buffer.copy()
        return state

    def load_state_dict(self, state):
        """Take over parameters and buffers. If anything does not fit, nothing is taken over.

        Parameters
        ----------
        state : dict of str to ndarray
            With exactly the names, shapes and dtypes of `state_dict()`. Only the batch counters
            (`num_batches_tracked`), which older files don't have, may be missing.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape or dtype.
        """
        mine = self.state_dict()
        missing = [name for name in mine if name not in state and not name.endswith("num_batches_tracked")]
        unknown = [name for name in state if name not in mine]
        if missing or unknown:
            parts = [
                f"{what} {_shortened(names)}" for what, names in (("lacks", missing), ("has unknown", unknown)) if names
            ]
            raise ValueError(f"state does not belong to this network: it {' and '.join(parts)}")
        for name, array in state.items():
            if array.shape != mine[name].shape:
                raise ValueError(f"state[{name!r}] must have the shape {mine[name].shape}, got {array.shape}")
            if array.dtype != mine[name].dtype:
                raise ValueError(f"state[{name!r}] must be {mine[name].dtype}, got {array.dtype}")
        for name, parameter in self.named_parameters():
            parameter.replace(state[name].copy())
        for name, layer, own_name in self._named_buffers():
            if name in state:
                layer._buffers[own_name][...] = state[name]

    def fused(self):
        """Return the inference form of this layer as a new layer. Without branches to fuse, that is a copy of it."""
        twin = copy.deepcopy(self)
        twin.forget()
        return twin


def _shortened(names):
    """Return the first few of a list of names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
