"""ONNX Runtime, on the processor. It needs the package `onnx` too, to be given the network."""

from functools import partial

import numpy as np

from repvgg_np.bench.peers.onnx_graph import onnx_model


def inference(network, x, threads):
    """Build the only variant of an inference network; as `torch.inference` does."""
    return [("all optimisations", partial(_build, network, x, threads))]


def _build(network, x, threads):
    """Return the function that returns the outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    model = onnx_model(network, x.shape)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    pictures = np.ascontiguousarray(x)  # (N, C, H, W) in memory, as ONNX says
    return lambda: session.run(None, {"x": pictures})[0]
