"""The network as an ONNX graph, put together node by node: no exporter, so PyTorch is not needed."""


def onnx_model(network, shape):
    """Write a network as an ONNX model.

    Parameters
    ----------
    network : PlainNetwork
    shape : tuple of int
        (N, C, H, W) of the input; fixed, so that a runtime can prepare for it.

    Returns
    -------
    bytes
        The serialised model, with the input "x" and the output "out".
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, numbers, name = [], [], "x"
    batch, _, height, width = shape

    def constant(array, label):
        numbers.append(numpy_helper.from_array(array, label))
        return label

    for i, part in enumerate(network.convolutions):
        inputs = [name, constant(part.weight, f"weight{i}"), constant(part.bias, f"bias{i}")]
        geometry = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [part.stride] * 2, "group": part.groups}
        nodes.append(helper.make_node("Conv", inputs, [f"sum{i}"], **geometry))
        name = f"activation{i}"
        nodes.append(helper.make_node("Relu", [f"sum{i}"], [name]))
        height, width = (height - 1) // part.stride + 1, (width - 1) // part.stride + 1
        out_shape = [batch, len(part.weight), height, width]
    if network.classifier is not None:
        weight, bias = network.classifier
        nodes.append(helper.make_node("GlobalAveragePool", [name], ["average"]))
        nodes.append(helper.make_node("Flatten", ["average"], ["features"], axis=1))
        inputs = ["features", constant(weight, "weight"), constant(bias, "bias")]
        nodes.append(helper.make_node("Gemm", inputs, ["logits"], transB=1))
        name, out_shape = "logits", [batch, len(weight)]
    nodes.append(helper.make_node("Identity", [name], ["out"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, out_shape)
    graph = helper.make_graph(nodes, "RepVGG", [x], [out], numbers)
    # Versions that runtimes of several years know.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()
