"""An ONNX graph that is built node by node, with shapes of a symbolic batch.

A value is a `Tensor` of the graph, or an array that is known while exporting. The shape of either may have ones where
the array of JAX is longer: broadcasts cost nothing until an operation needs them, see `Graph.expand`.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Dim = Any
"""A side of an array: an int, or an expression of `jax.export.symbolic_shape` in the batch size."""
_HALF_FROM = 1024
"""Constants with at least so many numbers are stored as float16 where that is exact."""
_LARGEST = 2**31 - 2**24
"""Bytes of constants; protobuf's limit, less room for the rest."""


@dataclass(frozen=True)
class Tensor:
    """A value that is known when the graph runs."""

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype


Value = Tensor | np.ndarray


class Graph:
    """Nodes and constants."""

    def __init__(self, batch: Dim):
        """Without nodes; `batch` is the symbolic dimension of the inputs."""
        import onnx

        self._onnx = onnx
        self.batch = batch
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._inputs: list[tuple[str, Tensor]] = []
        self._outputs: list[Tensor] = []
        self._batch_length: Tensor | None = None
        self._reshaped: dict[str, Tensor] = {}
        """Results of "Reshape", and what was reshaped."""

    def input(self, name: str, shape: Sequence[Dim], dtype: Any) -> Tensor:
        """Adds an input, whose first side is the batch."""
        tensor = Tensor(name, tuple(shape), np.dtype(dtype))
        self._inputs.append((name, tensor))
        return tensor

    def output(self, name: str, value: Value, shape: Sequence[Dim], dtype: Any) -> None:
        """Gives a value, of this shape once it is broadcast, as an output."""
        result = Tensor(name, tuple(shape), np.dtype(dtype))
        self._append("Identity", [self.expand(value, shape)], [name])
        self._outputs.append(result)

    def node(self, kind: str, values: Sequence[Value], shape: Sequence[Dim], dtype: Any, **attributes: Any) -> Tensor:
        """Adds a node with one result of this shape and type."""
        result = Tensor(f"v{len(self.nodes)}", tuple(shape), np.dtype(dtype))
        self._append(kind, values, [result.name], **attributes)
        return result

    def expand(self, value: Value, shape: Sequence[Dim]) -> Value:
        """A value broadcast to just this shape."""
        shape = tuple(shape)
        if tuple(value.shape) == shape:
            return value
        if isinstance(value, np.ndarray) and all(isinstance(side, int) for side in shape):
            return np.broadcast_to(value, shape)
        # A side of one leaves the other as it is, so the batch's length is read only where it is missing.
        known = [1 if mine == side else side for mine, side in zip(value.shape, shape, strict=True)]
        return self.node("Expand", [value, self.sides(known)], shape, value.dtype)

    def reshape(self, value: Value, shape: Sequence[Dim]) -> Value:
        """The same numbers in another shape, of which at most one side depends on the batch."""
        shape = tuple(shape)
        if tuple(value.shape) == shape:
            return value
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        if value.name in self._reshaped:
            return self.reshape(self._reshaped[value.name], shape)
        target = np.array([side if isinstance(side, int) else -1 for side in shape], np.int64)
        if (target < 0).sum() > 1:
            raise ValueError(
                f"The shape {shape} has more than one side that depends on the batch: it has no ONNX form."
            )
        result = self.node("Reshape", [value, target], shape, value.dtype)
        self._reshaped[result.name] = value
        return result

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """A value with its axes in another order."""
        order = [int(axis) for axis in order]
        if order == list(range(len(order))):
            return value
        if isinstance(value, np.ndarray):
            return np.transpose(value, order)
        shape = [value.shape[axis] for axis in order]
        moved = [axis for axis in order if not _is_one(value.shape[axis])]
        if moved == sorted(moved):  # only sides of one change their places
            return self.reshape(value, shape)
        return self.node("Transpose", [value], shape, value.dtype, perm=order)

    def sides(self, shape: Sequence[Dim]) -> Value:
        """A shape as a value: int64, one axis."""
        if all(isinstance(side, int) for side in shape):
            return np.array(shape, np.int64)
        parts = [np.array([side], np.int64) if isinstance(side, int) else self.length(side) for side in shape]
        return self.node("Concat", parts, [len(parts)], np.int64, axis=0)

    def length(self, side: Dim) -> Tensor:
        """A side that is a multiple of the batch, as a value: int64 of shape (1,)."""
        times, rest = divmod(side, self.batch)
        if not isinstance(times, int) or not isinstance(rest, int) or rest:
            raise ValueError(f"A side of {side} is no multiple of the batch: it has no ONNX form.")
        if self._batch_length is None:
            self._batch_length = self.node("Shape", [self._inputs[0][1]], [1], np.int64, start=0, end=1)
        return self.node("Mul", [self._batch_length, np.array([times], np.int64)], [1], np.int64)

    def model(self, name: str, opset: int, ir_version: int) -> Any:
        """The graph as ONNX's own object."""
        helper = self._onnx.helper
        infos = [
            [helper.make_tensor_value_info(one.name, self._type(one.dtype), [self._side(s) for s in one.shape])
             for one in tensors]
            for tensors in ([tensor for _, tensor in self._inputs], self._outputs)
        ]  # fmt: skip
        nodes, needed = self._needed()
        constants = [tensor for constant, tensor in self.constants.items() if constant in needed]
        if sum(len(tensor.raw_data) for tensor in constants) > _LARGEST:
            raise ValueError(
                "The network's parameters take more than 2 GB, which no ONNX file holds: export to stablehlo."
            )
        graph = helper.make_graph(nodes, name, *infos, constants)
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="hmr_jax")

    def _needed(self) -> tuple[list[Any], set[str]]:
        """The nodes on which outputs depend, and the names of all that they read."""
        names, nodes = {tensor.name for tensor in self._outputs}, []
        for node in reversed(self.nodes):
            if names.intersection(node.output):
                nodes.append(node)
                names.update(node.input)
        return nodes[::-1], names

    def _append(self, kind: str, values: Sequence[Value], results: Sequence[str], **attributes: Any) -> None:
        names = [value.name if isinstance(value, Tensor) else self._constant(value) for value in values]
        self.nodes.append(self._onnx.helper.make_node(kind, names, results, **attributes))

    def _constant(self, array: np.ndarray) -> str:
        """The name of a constant; equal ones are stored once, and as float16 where that has the same numbers."""
        array = np.ascontiguousarray(array)
        digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=12)
        digest.update(array.tobytes())
        name = f"c{digest.hexdigest()}"
        if name in self.constants or f"{name}_half" in self.constants:
            return name
        half = _exact_half(array)
        stored, stored_name = (array, name) if half is None else (half, f"{name}_half")
        self.constants[stored_name] = self._onnx.numpy_helper.from_array(stored, stored_name)
        if half is not None:
            cast = self._onnx.helper.make_node("Cast", [stored_name], [name], to=self._type(array.dtype))
            self.nodes.append(cast)
        return name

    def _type(self, dtype: Any) -> int:
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def _side(self, side: Dim) -> int | str:
        return side if isinstance(side, int) else str(side)


def broadcast(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The shape of an elementwise operation's result, as NumPy broadcasts."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result = []
    for sides in zip(*padded, strict=True):
        longer = [side for side in sides if not _is_one(side)]
        result.append(longer[0] if longer else 1)
    return tuple(result)


def size(sides: Sequence[Dim]) -> Dim:
    """The number of cells."""
    return math.prod(sides)


def _is_one(side: Dim) -> bool:
    return isinstance(side, int) and side == 1


def _exact_half(array: np.ndarray) -> np.ndarray | None:
    if array.dtype != np.float32 or array.size < _HALF_FROM:
        return None
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else None
