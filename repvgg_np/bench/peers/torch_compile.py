"""PyTorch's compiler: operations fused into generated C++. It needs a C++ compiler, and takes its time."""

from functools import partial

from repvgg_np.bench.peers import torch as eager


def inference(network, x, threads):
    """Build the variants of an inference network; as `torch.inference` does.

    The weights are declared constant ("freezing"), so that the compiler may pack them ahead, as ONNX Runtime and
    OpenVINO do.
    """
    return [(name, partial(_compiled, network, x, threads, name)) for name in eager.FORMATS]


def _compiled(network, x, threads, memory_format):
    """Return the function of one memory format."""
    import torch

    module, pictures = eager.module_and_input(network, x, threads, memory_format)
    torch._dynamo.reset()  # else it would recall that it compiled this kind of network for another shape
    module = torch.compile(module, options={"freezing": True}, dynamic=False)

    def run():
        with torch.no_grad():
            return module(pictures).numpy()

    return run


def training(model, x, labels, settings, threads):
    """Build the variants of a training step; as `torch.training` does."""
    import torch

    from repvgg_np.bench.peers.torch_training import Trainer

    torch._dynamo.reset()
    steps = (model, x, labels, settings, threads)
    formats = {name: eager.as_format(torch, name) for name in eager.FORMATS}
    return [(name, partial(Trainer, *steps, order, compiled=True)) for name, order in formats.items()]
