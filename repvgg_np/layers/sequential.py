"""A chain of layers."""

from repvgg_np.layers.layer import Layer


class Sequential(Layer):
    """Layers one after the other; in a state dict they are called "0", "1", ...

    Parameters
    ----------
    *layers : Layer
    """

    def __init__(self, *layers):
        super().__init__()
        self.layers = [self.add_child(str(i), layer) for i, layer in enumerate(layers)]

    def forward(self, x):
        """Pass `x` through every layer."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, grad_out, input_gradient=True):
        """Pass the gradient back through every layer; the first may be told that its input's gradient is not wanted."""
        for layer in reversed(self.layers[1:]):
            grad_out = layer.backward(grad_out)
        for layer in self.layers[:1]:
            grad_out = layer.backward(grad_out) if input_gradient else layer.backward(grad_out, False)
        return grad_out

    def fused(self):
        """Return the chain of the inference forms."""
        return Sequential(*(layer.fused() for layer in self.layers)).train(self.training)

    def __len__(self):
        """Return how many layers there are."""
        return len(self.layers)

    def __getitem__(self, index):
        """Return one layer."""
        return self.layers[index]
