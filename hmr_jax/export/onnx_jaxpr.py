"""From a jaxpr, JAX's own form of a program, to nodes of an ONNX graph.

What depends on no input is computed while exporting.
"""

from typing import Any

import numpy as np

from hmr_jax.export.onnx_graph import Graph, Value
from hmr_jax.export.onnx_operations import OPERATIONS, row, shape_of, stack
from hmr_jax.export.onnx_products import PRODUCTS

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
            "custom_vjp_call": "call_jaxpr", "remat": "jaxpr", "checkpoint": "jaxpr"}  # fmt: skip
"""Operations that call a jaxpr, and where they hold it."""


def convert(graph: Graph, jaxpr: Any, constants: list[np.ndarray], values: list[Value]) -> list[Value]:
    """Adds a jaxpr to a graph.

    Args:
        graph: the nodes are added to it.
        jaxpr: what is computed.
        constants: of `jaxpr.constvars`.
        values: of its inputs.

    Returns:
        The values of its outputs.

    Raises:
        ValueError: an operation has no counterpart in ONNX.
    """
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= dict(zip(jaxpr.invars, values, strict=True))

    def read(variable: Any) -> Value:
        return np.asarray(variable.val) if hasattr(variable, "val") else known[variable]

    for equation in jaxpr.eqns:
        results = _convert_equation(graph, equation, [read(one) for one in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(one) for one in jaxpr.outvars]


def _convert_equation(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    name = equation.primitive.name
    if equation.params.get("name") == "relu6":  # as one operation, which onnxruntime joins with a convolution
        limits = [np.array(limit, values[0].dtype) for limit in (0, 6)]
        return [graph.node("Clip", [*values, *limits], values[0].shape, values[0].dtype)]
    if name in _INLINED:
        inner = equation.params[_INLINED[name]]
        return convert(graph, getattr(inner, "jaxpr", inner), list(getattr(inner, "consts", [])), values)
    if name == "scan" and "num_consts" in equation.params:  # jax 0.11 describes loops in another way
        return _scan(graph, equation, values)
    if name == "platform_index":  # ONNX is none of JAX's platforms: what holds for the others
        return [np.array([one is None for one in equation.params["platforms"]].index(True), np.int32)]
    if name == "cond" and isinstance(values[0], np.ndarray):
        inner = equation.params["branches"][int(values[0])]
        return convert(graph, inner.jaxpr, list(inner.consts), values[1:])
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if len(arrays) == len(values) and name != "dim_as_value" and _is_fixed(equation):
        shaped = [np.broadcast_to(value, shape_of(one)) for value, one in zip(arrays, equation.invars, strict=True)]
        results = equation.primitive.bind(*shaped, **equation.params)
        return [np.asarray(one) for one in (results if equation.primitive.multiple_results else [results])]
    operation = OPERATIONS.get(name) or PRODUCTS.get(name)
    if operation is None:
        raise ValueError(f"The network has the operation '{name}', which has no ONNX form here: export to stablehlo.")
    result = operation(graph, equation, values)
    return result if isinstance(result, list) else [result]


def _scan(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    """A loop over the first axis of some inputs, turn by turn."""
    parameters = equation.params
    length, fixed, carried = parameters["length"], parameters["num_consts"], parameters["num_carry"]
    constants, carry, sequences = values[:fixed], values[fixed : fixed + carried], values[fixed + carried :]
    body = parameters["jaxpr"]
    turns: list[list[Value]] = []
    for number in range(length):
        at = length - 1 - number if parameters["reverse"] else number
        rows = [row(graph, one, at) for one in sequences]
        results = convert(graph, body.jaxpr, list(body.consts), [*constants, *carry, *rows])
        carry = results[:carried]
        turns.append(results[carried:])
    stacked = []
    for place, variable in enumerate(equation.outvars[carried:]):
        parts = [turn[place] for turn in (turns[::-1] if parameters["reverse"] else turns)]
        stacked.append(stack(graph, parts, variable, 0))
    return [*carry, *stacked]


def _is_fixed(equation: Any) -> bool:
    """Whether no shape depends on the batch."""
    return all(isinstance(side, int) for one in (*equation.invars, *equation.outvars) for side in shape_of(one))
