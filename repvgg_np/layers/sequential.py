"""A chain of layers."""

from repvgg_np.layers.activation import ReLU
from repvgg_np.layers.batch_norm import BatchNorm2d
from repvgg_np.layers.convolution import Conv2d
from repvgg_np.layers.folding import fold_convolution
from repvgg_np.layers.layer import Layer


class Sequential(Layer):
    """Layers one after the other. Without any, the identity.

    Parameters
    ----------
    *layers : Layer
        In a state dict they are called "0", "1", ...
    **named : Layer
        In a state dict under their names; they follow the others.
    """

    def __init__(self, *layers, **named):
        super().__init__()
        self._steps = [(str(i), layer) for i, layer in enumerate(layers)] + list(named.items())
        self.layers = [self.add_child(name, layer) for name, layer in self._steps]

    def forward(self, x):
        """Pass `x` through every layer."""
        waiting = list(reversed(self.layers))
        while waiting:
            layer = waiting.pop()
            if not self.training and waiting and isinstance(layer, Conv2d) and isinstance(waiting[-1], ReLU):
                waiting.pop()
                x = layer.forward(x, relu=True)  # both in one pass over memory; `backward` would need them apart
            else:
                x = layer(x)
        return x

    def backward(self, grad_out, input_gradient=True):
        """Pass the gradient back through every layer; the first may be told that its input's gradient is not wanted."""
        for layer in reversed(self.layers[1:]):
            grad_out = layer.backward(grad_out)
        for layer in self.layers[:1]:
            grad_out = layer.backward(grad_out) if input_gradient else layer.backward(grad_out, False)
        return grad_out

    def trace(self, shape, name=""):
        """Follow a shape through every layer."""
        all_steps = []
        for part, layer in self._steps:
            shape, steps = layer.trace(shape, f"{name}.{part}".strip("."))
            all_steps += steps
        return shape, all_steps

    def pairs(self):
        """Return, by its name, each convolution with a batch norm right behind it, as `(conv, norm)`."""
        neighbours = zip(self._steps, self._steps[1:], strict=False)
        return {
            name: (layer, behind)
            for (name, layer), (_, behind) in neighbours
            if isinstance(layer, Conv2d) and isinstance(behind, BatchNorm2d)
        }

    def fused(self):
        """Return the chain of the inference forms; a batch norm right behind a convolution is written into it."""
        pairs = self.pairs()
        written = {norm for _, norm in pairs.values()}
        steps = {
            name: fold_convolution(*pairs[name]) if name in pairs else layer.fused()
            for name, layer in self._steps
            if layer not in written
        }
        return Sequential(**steps).train(self.training)

    def __len__(self):
        """Return how many layers there are."""
        return len(self.layers)

    def __getitem__(self, index):
        """Return one layer."""
        return self.layers[index]
