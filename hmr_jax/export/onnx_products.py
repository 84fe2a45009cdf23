"""JAX's products, convolutions and windows in ONNX; see `hmr_jax.export.onnx_operations`."""

from typing import Any

import numpy as np

from hmr_jax.export.onnx_graph import Dim, Graph, Value, size
from hmr_jax.export.onnx_operations import Operation, dtype_of, exact, shape_of


def _product(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """`dot_general` as a matrix product: the axes of both sides are brought into its order and merged."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    left, right = exact(graph, equation, values)
    left_free = [axis for axis in range(len(left.shape)) if axis not in (*left_sum, *left_batch)]
    right_free = [axis for axis in range(len(right.shape)) if axis not in (*right_sum, *right_batch)]

    def sides(value: Value, axes: Any) -> list[Dim]:
        return [value.shape[axis] for axis in axes]

    batch, rows, columns = sides(left, left_batch), sides(left, left_free), sides(right, right_free)
    # Without batch axes the rows stay apart: ONNX multiplies any number of axes with a matrix.
    merged = rows if not batch and rows else [size(rows)]
    summed = size(sides(left, left_sum))
    left = graph.transpose(left, [*left_batch, *left_free, *left_sum])
    right = graph.transpose(right, [*right_batch, *right_sum, *right_free])
    left = graph.reshape(left, [*batch, *merged, summed])
    right = graph.reshape(right, [*batch, summed, size(columns)])
    (result,) = equation.outvars
    product = graph.node("MatMul", [left, right], [*batch, *merged, size(columns)], dtype_of(result))
    return graph.reshape(product, [*batch, *rows, *columns])


def _convolution(graph: Graph, equation: Any, values: list[Value]) -> Value:
    parameters = equation.params
    image, kernel = exact(graph, equation, values)
    numbers = parameters["dimension_numbers"]
    if parameters["batch_group_count"] != 1 or set(parameters["lhs_dilation"]) != {1}:
        raise ValueError("The network has a transposed convolution: this has no ONNX form here.")
    (result,) = equation.outvars
    shape = shape_of(result)
    y = graph.node(
        "Conv",
        [graph.transpose(image, numbers.lhs_spec), graph.transpose(kernel, numbers.rhs_spec)],
        [shape[axis] for axis in numbers.out_spec],
        dtype_of(result),
        strides=list(parameters["window_strides"]),
        dilations=list(parameters["rhs_dilation"]),
        group=int(parameters["feature_group_count"]),
        pads=_pads(parameters["padding"]),
    )
    return graph.transpose(y, np.argsort(numbers.out_spec).tolist())


def _window_maximum(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """Over windows of rows and columns, with channels last."""
    parameters = equation.params
    (value,) = exact(graph, equation, values)
    window, strides = parameters["window_dimensions"], parameters["window_strides"]
    padding = parameters["padding"]
    dilated = {*parameters["base_dilation"], *parameters["window_dilation"]} != {1}
    if len(window) != 4 or {window[0], window[3], strides[0], strides[3]} != {1} or dilated:
        raise ValueError("The network has maxima over windows other than rows and columns: this has no ONNX form here.")
    (result,) = equation.outvars
    shape = shape_of(result)
    y = graph.node(
        "MaxPool",
        [graph.transpose(value, (0, 3, 1, 2))],
        [shape[axis] for axis in (0, 3, 1, 2)],
        dtype_of(result),
        kernel_shape=list(window[1:3]),
        strides=list(strides[1:3]),
        pads=_pads(padding[1:3]),
    )
    return graph.transpose(y, (0, 2, 3, 1))


def _pads(padding: Any) -> list[int]:
    before, after = zip(*padding, strict=True)
    return [*map(int, before), *map(int, after)]


PRODUCTS: dict[str, Operation] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _window_maximum,
}
"""By the name of JAX's primitive."""
