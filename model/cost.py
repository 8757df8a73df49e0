"""Reads a float32 step graph and gives what one step of one game costs, in floating-point operations."""

from math import prod

import onnx
from onnx import shape_inference


def operations(model: onnx.ModelProto) -> int:
    """Count the multiplications and additions of all products and convolutions of one row, two for each pair."""
    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    for value in [*alone.graph.input, *alone.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(alone, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return sum(_operations(node, shapes) for node in graph.node)


def _operations(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type == "MatMul":
        return 2 * prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Conv":
        return 2 * prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    return 0
