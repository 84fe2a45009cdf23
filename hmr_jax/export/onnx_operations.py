"""JAX's operations in ONNX, one function for each: elementwise ones, and those that move or reduce numbers.

A function takes the graph, the equation of the jaxpr and the values of its inputs, and gives its result, or a list of
several. Products and convolutions are in `hmr_jax.export.onnx_products`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from hmr_jax.export.onnx_graph import Dim, Graph, Tensor, Value, broadcast

Operation = Callable[[Graph, Any, list[Value]], Any]


def shape_of(variable: Any) -> tuple[Dim, ...]:
    """The shape of a variable of a jaxpr."""
    return tuple(variable.aval.shape)


def dtype_of(variable: Any) -> np.dtype:
    """The type of a variable of a jaxpr."""
    return np.dtype(variable.aval.dtype)


def exact(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    """The inputs in the shapes that JAX has them in."""
    return [graph.expand(value, shape_of(one)) for value, one in zip(values, equation.invars, strict=True)]


def _elementwise(kind: str) -> Operation:
    def convert(graph: Graph, equation: Any, values: list[Value]) -> Value:
        shape = broadcast(*(tuple(value.shape) for value in values))
        return graph.node(kind, values, shape, dtype_of(equation.outvars[0]))

    return convert


def _chain(*kinds: str) -> Operation:
    """Operations of one argument, one after another."""

    def convert(graph: Graph, equation: Any, values: list[Value]) -> Value:
        (value,) = values
        for kind in kinds:
            value = graph.node(kind, [value], value.shape, dtype_of(equation.outvars[0]))
        return value

    return convert


def _same(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return values[0]


def _square(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return _elementwise("Mul")(graph, equation, values * 2)


def _not_equal(graph: Graph, equation: Any, values: list[Value]) -> Value:
    equal = _elementwise("Equal")(graph, equation, values)
    return graph.node("Not", [equal], equal.shape, bool)


def _integer_pow(graph: Graph, equation: Any, values: list[Value]) -> Value:
    power = equation.params["y"]
    if power == 2:
        return _square(graph, equation, values)
    exponent = np.array(power, dtype_of(equation.outvars[0]))
    return _elementwise("Pow")(graph, equation, [*values, exponent])


def _clamp(graph: Graph, equation: Any, values: list[Value]) -> Value:
    low, value, high = values
    return _elementwise("Min")(graph, equation, [_elementwise("Max")(graph, equation, [value, low]), high])


def _convert_type(graph: Graph, equation: Any, values: list[Value]) -> Value:
    import onnx

    wanted = dtype_of(equation.outvars[0])
    if values[0].dtype == wanted:
        return values[0]
    to = onnx.helper.np_dtype_to_tensor_dtype(wanted)
    return graph.node("Cast", values, values[0].shape, wanted, to=to)


def _select(graph: Graph, equation: Any, values: list[Value]) -> Value:
    which, *cases = values
    if len(cases) != 2 or which.dtype != bool:
        raise ValueError("The network selects among more than two cases: ONNX has no operation for it.")
    return _elementwise("Where")(graph, equation, [which, cases[1], cases[0]])


def _broadcast(graph: Graph, equation: Any, values: list[Value]) -> Value:
    shape: list[Dim] = [1] * len(equation.params["shape"])
    for mine, side in zip(equation.params["broadcast_dimensions"], values[0].shape, strict=True):
        shape[mine] = side
    return graph.reshape(values[0], shape)


def _reshape(graph: Graph, equation: Any, values: list[Value]) -> Value:
    (value,) = exact(graph, equation, values)
    return graph.reshape(value, shape_of(equation.outvars[0]))


def _squeeze(graph: Graph, equation: Any, values: list[Value]) -> Value:
    dropped = equation.params["dimensions"]
    return graph.reshape(values[0], [side for axis, side in enumerate(values[0].shape) if axis not in dropped])


def _transpose(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.transpose(values[0], equation.params["permutation"])


def _concatenate(graph: Graph, equation: Any, values: list[Value]) -> Value:
    (result,) = equation.outvars
    parts = exact(graph, equation, values)
    return graph.node("Concat", parts, shape_of(result), dtype_of(result), axis=int(equation.params["dimension"]))


def _stack(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return stack(graph, values, equation.outvars[0], int(equation.params["axis"]))


def stack(graph: Graph, values: list[Value], result: Any, axis: int) -> Value:
    """Values beside each other on a new axis, as the variable `result` of a jaxpr."""
    shape = shape_of(result)
    part = (*shape[:axis], *shape[axis + 1 :])
    parts = [graph.reshape(graph.expand(value, part), (*part[:axis], 1, *part[axis:])) for value in values]
    return graph.node("Concat", parts, shape, dtype_of(result), axis=axis)


def row(graph: Graph, value: Value, number: int, axis: int = 0) -> Value:
    """One element along an axis, without the axis."""
    shape = tuple(value.shape)
    start, limit = [0] * len(shape), list(shape)
    start[axis], limit[axis] = number, number + 1
    part = cut(graph, value, shape, start, limit) if shape[axis] != 1 else value
    return graph.reshape(part, (*shape[:axis], *shape[axis + 1 :]))


def _unstack(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    axis = int(equation.params["axis"])
    return [row(graph, values[0], number, axis) for number in range(len(equation.outvars))]


def _iota(graph: Graph, equation: Any, values: list[Value]) -> Value:
    axis, shape = equation.params["dimension"], equation.params["shape"]
    ones = [side if place == axis else 1 for place, side in enumerate(shape)]
    return np.arange(shape[axis], dtype=equation.params["dtype"]).reshape(ones)


def _dimension(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """A side that depends on the batch, as a number."""
    import onnx

    dtype = dtype_of(equation.outvars[0])
    number = graph.reshape(graph.length(equation.params["dim"]), ())
    return graph.node("Cast", [number], (), dtype, to=onnx.helper.np_dtype_to_tensor_dtype(dtype))


def _pad(graph: Graph, equation: Any, values: list[Value]) -> Value:
    value, filling = exact(graph, equation, values)
    (result,) = equation.outvars
    before, after, inside = (
        list(map(int, amounts)) for amounts in zip(*equation.params["padding_config"], strict=True)
    )
    if any(inside) or min(before + after) < 0:
        raise ValueError("The network pads between cells or by less than nothing: ONNX has no operation for it.")
    pads = np.array(before + after, np.int64)
    return graph.node("Pad", [value, pads, filling], shape_of(result), dtype_of(result))


def _slice(graph: Graph, equation: Any, values: list[Value]) -> Value:
    start, limit = equation.params["start_indices"], equation.params["limit_indices"]
    return cut(graph, values[0], shape_of(equation.invars[0]), start, limit, equation.params["strides"])


def _split(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    axis, shape = equation.params["axis"], shape_of(equation.invars[0])
    start, limit, parts = [0] * len(shape), list(shape), []
    for length in map(int, equation.params["sizes"]):
        limit[axis] = start[axis] + length
        parts.append(cut(graph, values[0], shape, start, limit))
        start[axis] = limit[axis]
    return parts


def cut(graph: Graph, value: Value, shape: tuple[Dim, ...], start: Any, limit: Any, strides: Any = None) -> Value:
    """A part of a value whose shape in JAX is `shape`; sides of one that stand for longer ones stay as they are."""
    strides = strides or [1] * len(shape)
    axes = [
        axis
        for axis, side in enumerate(shape)
        if value.shape[axis] == side and not (limit[axis] == side and start[axis] == 0 and strides[axis] == 1)
    ]
    if not axes:
        return value
    sides = list(value.shape)
    for axis in axes:
        sides[axis] = -(-(limit[axis] - start[axis]) // strides[axis])
    if isinstance(value, np.ndarray):
        at = {axis: slice(start[axis], limit[axis], strides[axis]) for axis in axes}
        return value[tuple(at.get(axis, slice(None)) for axis in range(value.ndim))]
    numbers = [np.array([int(one[axis]) for axis in axes], np.int64) for one in (start, limit, strides)]
    places = np.array(axes, np.int64)
    return graph.node("Slice", [value, numbers[0], numbers[1], places, numbers[2]], sides, value.dtype)


def _gather(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """Indices that are known: a part of the array, or rows along one axis."""
    value, indices = values
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    (result,) = equation.outvars
    operand = shape_of(equation.invars[0])
    along, dropped = numbers.start_index_map, numbers.collapsed_slice_dims
    if isinstance(indices, Tensor) or numbers.operand_batching_dims:
        raise ValueError("The network reads at places that it computes itself (gather): this has no ONNX form here.")
    indices = np.broadcast_to(indices, shape_of(equation.invars[1])).astype(np.int64)
    if indices.ndim == 1:
        start: list[Any] = [0] * len(operand)
        for axis, place in zip(along, indices.tolist(), strict=True):
            start[axis] = min(max(place, 0), operand[axis] - sizes[axis])
        part = cut(graph, value, operand, start, [a + b for a, b in zip(start, sizes, strict=True)])
        return graph.reshape(part, [side for axis, side in enumerate(part.shape) if axis not in dropped])
    whole = all(size == side for axis, (size, side) in enumerate(zip(sizes, operand, strict=True)) if axis not in along)
    if len(along) != 1 or dropped != along or not whole:
        raise ValueError("The network reads blocks of an array (gather): this has no ONNX form here.")
    (axis,) = along
    places = np.clip(indices[..., 0], 0, operand[axis] - 1)
    value = graph.expand(value, operand)
    shape = (*operand[:axis], *places.shape, *operand[axis + 1 :])
    taken = graph.node("Gather", [value, places], shape, dtype_of(result), axis=axis)
    kept = iter([*range(axis), *range(axis + places.ndim, len(shape))])
    rows = iter(range(axis, axis + places.ndim))
    return graph.transpose(taken, [next(kept if at in numbers.offset_dims else rows) for at in range(len(shape))])


def _reduce(kind: str) -> Operation:
    def convert(graph: Graph, equation: Any, values: list[Value]) -> Value:
        axes = [int(axis) for axis in equation.params["axes"]]
        (value,) = exact(graph, equation, values)
        (result,) = equation.outvars
        places = np.array(axes, np.int64)
        return graph.node(kind, [value, places], shape_of(result), dtype_of(result), keepdims=0)

    return convert


OPERATIONS: dict[str, Operation] = {
    **{name: _elementwise(kind) for name, kind in {
        "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
        "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal", "and": "And",
        "or": "Or", "not": "Not", "neg": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log",
        "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "erf": "Erf", "floor": "Floor",
        "logistic": "Sigmoid", "add_any": "Add",
    }.items()},
    **dict.fromkeys(("stop_gradient", "copy", "copy_p", "optimization_barrier"), _same),
    "rsqrt": _chain("Sqrt", "Reciprocal"),
    "square": _square,
    "ne": _not_equal,
    "integer_pow": _integer_pow,
    "clamp": _clamp,
    "convert_element_type": _convert_type,
    "select_n": _select,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "iota": _iota,
    "pad": _pad,
    "slice": _slice,
    "split": _split,
    "dim_as_value": _dimension,
    "gather": _gather,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
}  # fmt: skip
"""By the name of JAX's primitive."""
