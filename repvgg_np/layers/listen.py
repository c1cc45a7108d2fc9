"""Listen to what the layers of a network are given, while it computes."""

from contextlib import contextmanager


@contextmanager
def inputs_told(layers, tell):
    """While inside, call `tell(name, layer, x)` with what each layer is given, before it computes.

    Parameters
    ----------
    layers : iterable of (str, Layer or ConvolutionAndNorm)
    tell : callable
    """
    entrances = [_tell_first(name, layer, tell) for name, layer in layers]
    try:
        yield
    finally:
        for entrance in entrances:
            del entrance.forward


def _tell_first(name, layer, tell):
    """Put `tell` in front of a forward pass; return the layer whose `forward` now hides its class's."""
    entrance = layer if hasattr(layer, "forward") else layer.conv  # a convolution and its batch norm are two layers

    def told(x, **options):
        del entrance.forward  # whoever is told may run the layer himself
        try:
            tell(name, layer, x)
            return entrance.forward(x, **options)
        finally:
            entrance.forward = told

    entrance.forward = told
    return entrance


@contextmanager
def gradients_told(layers, tell):
    """While inside, call `tell(name, gradient)` with the gradient of each layer's output, before it passes it back.

    Parameters
    ----------
    layers : iterable of (str, Layer)
    tell : callable
    """
    layers = list(layers)
    for name, layer in layers:
        layer.backward = _tell_gradient(name, layer.backward, tell)
    try:
        yield
    finally:
        for _, layer in layers:
            del layer.backward


def _tell_gradient(name, backward, tell):
    """Return a backward pass that tells what it is given."""

    def told(grad_out, *options):
        tell(name, grad_out)
        return backward(grad_out, *options)

    return told
