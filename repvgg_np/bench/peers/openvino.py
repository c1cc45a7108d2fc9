"""OpenVINO, on the processor: a latency hint, float32 also where the processor has bfloat16."""

from functools import partial

import numpy as np


def inference(network, x, threads):
    """Build the only variant of an inference network; as `torch.inference` does."""
    return [("latency hint, f32", partial(_build, network, x, threads))]


def _build(network, x, threads):
    """Return the function that returns the outputs."""
    import openvino
    from openvino import opset13

    data = opset13.parameter(list(x.shape), np.float32, name="x")
    out = data
    for part in network.convolutions:
        out = _convolution(opset13, out, part)
        channels = np.reshape(part.bias, (1, -1, 1, 1))
        out = opset13.relu(opset13.add(out, opset13.constant(channels)))
    if network.classifier is not None:
        weight, bias = network.classifier
        out = opset13.reduce_mean(out, opset13.constant(np.array([2, 3])), keep_dims=False)
        out = opset13.matmul(out, opset13.constant(weight), transpose_a=False, transpose_b=True)
        out = opset13.add(out, opset13.constant(bias))
    model = openvino.Model([opset13.result(out)], [data], "RepVGG")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ascontiguousarray(x)))

    def run():
        request.infer()
        return request.get_output_tensor().data

    return run


def _convolution(opset, data, part):
    """Return the node of a convolution; with groups the kernel has a fifth axis in front."""
    geometry = {"strides": [part.stride] * 2, "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    if part.groups == 1:
        return opset.convolution(data, opset.constant(part.weight), **geometry)
    c_out, *rest = part.weight.shape
    kernel = part.weight.reshape(part.groups, c_out // part.groups, *rest)
    return opset.group_convolution(data, opset.constant(kernel), **geometry)
