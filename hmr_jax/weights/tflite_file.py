"""Read TensorFlow Lite files (.tflite) without TensorFlow: the operators of a network and its constant tensors.

Format: a FlatBuffer with TensorFlow Lite's schema, version 3, file identifier "TFL3". Only the parts that a float
network on one graph has are read. Nothing of a file is executed, and every offset in it is checked against its length.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_IDENTIFIER = b"TFL3"
_DTYPES: dict[int, Any] = {
    0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 7: np.int16, 9: np.int8,
    10: np.float64,
}  # fmt: skip
_INDEX_DTYPES: dict[int, Any] = {1: np.int32, 2: np.uint16, 3: np.uint8}
_SPARSEST = 100  # numbers for each stored value; more is a damaged shape, which could fill the memory
# The builtin operators that are known, with the fields of their options: name -> (field, format, default).
_KINDS: dict[int, tuple[str, dict[str, tuple[int, str, Any]]]] = {
    0: ("ADD", {"activation": (0, "b", 0)}),
    2: ("CONCATENATION", {"axis": (0, "i", 0), "activation": (1, "b", 0)}),
    3: (
        "CONV_2D",
        {
            "padding": (0, "b", 0), "stride": (2, "i", 0), "stride_width": (1, "i", 0), "activation": (3, "b", 0),
            "dilation": (5, "i", 1), "dilation_width": (4, "i", 1),
        },
    ),
    4: (
        "DEPTHWISE_CONV_2D",
        {
            "padding": (0, "b", 0), "stride": (2, "i", 0), "stride_width": (1, "i", 0), "multiplier": (3, "i", 0),
            "activation": (4, "b", 0), "dilation": (6, "i", 1), "dilation_width": (5, "i", 1),
        },
    ),
    5: ("DEPTH_TO_SPACE", {"block": (0, "i", 0)}),
    6: ("DEQUANTIZE", {}),
    14: ("LOGISTIC", {}),
    17: (
        "MAX_POOL_2D",
        {
            "padding": (0, "b", 0), "stride": (2, "i", 0), "stride_width": (1, "i", 0), "size": (4, "i", 0),
            "size_width": (3, "i", 0), "activation": (5, "b", 0),
        },
    ),
    22: ("RESHAPE", {}),
    23: ("RESIZE_BILINEAR", {"align_corners": (2, "?", False), "half_pixel_centers": (3, "?", False)}),
    34: ("PAD", {}),
    124: ("DENSIFY", {}),
}  # fmt: skip
_NAMES: dict[str, dict[int, str | None]] = {
    "padding": {0: "SAME", 1: "VALID"},
    "activation": {0: None, 1: "relu", 3: "relu6"},
}


@dataclass(frozen=True)
class Operator:
    """One operator of a graph. Tensors are named by their numbers."""

    kind: str
    """As TensorFlow Lite writes it, e.g. "CONV_2D"."""
    inputs: tuple[int, ...]
    """-1 stands for an input that is left out."""
    outputs: tuple[int, ...]
    options: dict[str, Any]
    """E.g. {"padding": "SAME", "stride": (2, 2), "activation": "relu6"}."""


@dataclass(frozen=True)
class Graph:
    """The graph of a TensorFlow Lite file. Operators are in the order in which they run."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    shapes: dict[int, tuple[int, ...]]
    """Of all tensors."""
    constants: dict[int, np.ndarray]
    """Constant tensors; float16 constants that the graph widens stand here as float32 under the widened number, and
    sparse ones are filled up with zeros."""


def is_tflite(head: bytes) -> bool:
    """Whether a file with this start is a TensorFlow Lite file."""
    return head[4:8] == _IDENTIFIER


def read_tflite(path: Path) -> Graph:
    """Reads a float network of one graph.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no TensorFlow Lite file, is cut off or damaged, is quantised, or has an unknown operator.
    """
    try:
        return parse_tflite(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def parse_tflite(data: bytes) -> Graph:
    """`read_tflite` of a file's contents, which the constants share."""
    if not is_tflite(data[:8]):
        raise ValueError("it is not a TensorFlow Lite file: its identifier is not 'TFL3'.")
    try:
        return _graph(_Table(data, _Table(data, 0).offset_at(0)))
    except struct.error as error:
        raise ValueError(f"it is cut off or damaged ({error}): download it again.") from error


class _Table:
    """A table of a FlatBuffer: a position in the file, whose fields are found by a list of offsets."""

    def __init__(self, data: bytes, position: int):
        self._data, self._position = data, position

    def offset_at(self, position: int) -> int:
        """The target of the unsigned offset that stands at a position."""
        (offset,) = self._unpack("I", position)
        if not offset:
            raise ValueError("it has an empty offset: it is damaged.")
        return position + offset

    def number(self, field: int, kind: str, default: Any = 0) -> Any:
        """A scalar field, with a format of `struct`."""
        place = self._place(field)
        return default if place is None else self._unpack(kind, place)[0]

    def numbers(self, field: int, dtype: Any) -> np.ndarray:
        """A list of scalars; empty where the field is missing."""
        place = self._place(field)
        if place is None:
            return np.zeros(0, dtype)
        start, length = self._list(place, np.dtype(dtype).itemsize)
        return np.frombuffer(self._data, dtype, length, start)

    def table(self, field: int) -> "_Table | None":
        """A table, or None where the field is missing."""
        place = self._place(field)
        return None if place is None else _Table(self._data, self.offset_at(place))

    def tables(self, field: int) -> "Iterator[_Table]":
        """A list of tables; empty where the field is missing."""
        place = self._place(field)
        if place is not None:
            start, length = self._list(place, 4)
            for i in range(length):
                yield _Table(self._data, self.offset_at(start + 4 * i))

    def _place(self, field: int) -> int | None:
        """Where a field stands. The table begins with the distance back to its list of offsets."""
        fields = self._position - self._unpack("i", self._position)[0]
        (size,) = self._unpack("H", fields)
        entry = 4 + 2 * field
        if entry + 2 > size:
            return None
        (offset,) = self._unpack("H", fields + entry)
        return self._position + offset if offset else None

    def _list(self, place: int, itemsize: int) -> tuple[int, int]:
        """The start and the length of a list."""
        start = self.offset_at(place)
        (length,) = self._unpack("I", start)
        if start + 4 + length * itemsize > len(self._data):
            raise ValueError(f"a list of {length:,} entries reaches beyond its end: it is cut off or damaged.")
        return start + 4, length

    def _unpack(self, kind: str, position: int) -> tuple:
        if position < 0:
            raise ValueError("an offset points before its start: it is damaged.")
        return struct.unpack_from("<" + kind, self._data, position)


def _graph(model: _Table) -> Graph:
    version = model.number(0, "I")
    if version != 3:
        raise ValueError(f"its schema has version {version}; 3 is known.")
    graphs = list(model.tables(2))
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs; networks of one are known.")
    buffers = [table.numbers(0, np.uint8) for table in model.tables(4)]
    shapes, constants = {}, {}
    for number, tensor in enumerate(graphs[0].tables(0)):
        shapes[number] = tuple(int(side) for side in tensor.numbers(0, np.int32))
        array = _constant(number, tensor, shapes[number], buffers)
        if array is not None:
            constants[number] = array
    kinds = [_kind(code) for code in model.tables(1)]
    operators = []
    for table in graphs[0].tables(3):
        operator = _operator(table, kinds, len(shapes))
        if operator.kind not in ("DEQUANTIZE", "DENSIFY"):
            operators.append(operator)
            continue
        narrow = constants.get(operator.inputs[0])
        if narrow is None or narrow.dtype != np.float16:
            raise ValueError("it is quantised: take the float version of the network.")
        constants[operator.outputs[0]] = narrow if operator.kind == "DENSIFY" else narrow.astype(np.float32)
    inputs, outputs = (_numbers(graphs[0], field, len(shapes)) for field in (1, 2))
    return Graph(inputs, outputs, tuple(operators), shapes, constants)


def _constant(number: int, tensor: _Table, shape: tuple[int, ...], buffers: list[np.ndarray]) -> np.ndarray | None:
    """The data of a constant tensor, or None."""
    buffer = tensor.number(2, "I")
    if buffer >= len(buffers):
        raise ValueError(f"tensor {number} names the buffer {buffer} of {len(buffers)}: it is damaged.")
    if not len(buffers[buffer]):
        return None
    kind = tensor.number(1, "b")
    if kind not in _DTYPES:
        raise ValueError(f"tensor {number} has the type {kind}, which is not known.")
    dtype = np.dtype(_DTYPES[kind])
    sparsity = tensor.table(6)
    if sparsity is not None and len(buffers[buffer]) % dtype.itemsize == 0:
        return _dense(number, sparsity, shape, buffers[buffer].view(dtype))
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(buffers[buffer]):
        raise ValueError(f"tensor {number} of shape {shape} has {len(buffers[buffer]):,} bytes: it is damaged.")
    return buffers[buffer].view(dtype).reshape(shape)


def _dense(number: int, sparsity: _Table, shape: tuple[int, ...], values: np.ndarray) -> np.ndarray:
    """A sparse tensor filled up with zeros. Known are compressed rows (CSR): all axes but the last are dense."""
    axes = list(sparsity.tables(2))
    order = sparsity.numbers(0, np.int32).tolist()
    formats = [axis.number(0, "b") for axis in axes]
    sizes = [axis.number(1, "i") for axis in axes[:-1]]
    if (
        not shape
        or order != list(range(len(shape)))
        or len(sparsity.numbers(1, np.int32))
        or formats != [0] * (len(shape) - 1) + [1]
        or sizes != list(shape[:-1])
    ):
        raise ValueError(f"tensor {number} is sparse in a way that is not known.")
    ends, columns = _indices(axes[-1], 2), _indices(axes[-1], 4)
    counts = np.diff(ends)
    if min(shape) < 1 or math.prod(shape) > _SPARSEST * len(values) or len(counts) != math.prod(shape[:-1]):
        raise ValueError(f"tensor {number} of shape {shape} has {len(values):,} values: it is damaged.")
    if ends[0] or ends[-1] != len(values) or len(columns) != len(values) or counts.min() < 0:
        raise ValueError(f"tensor {number} has values outside its rows: it is damaged.")
    if columns.min() < 0 or columns.max() >= shape[-1]:
        raise ValueError(f"tensor {number} has values outside its columns: it is damaged.")
    dense = np.zeros((len(counts), shape[-1]), values.dtype)
    dense[np.repeat(np.arange(len(counts)), counts), columns] = values
    return dense.reshape(shape)


def _indices(axis: _Table, field: int) -> np.ndarray:
    """A list of row ends or columns: its type in one field, and in the next a table that holds it."""
    kind, table = axis.number(field, "B"), axis.table(field + 1)
    if kind not in _INDEX_DTYPES or table is None:
        raise ValueError(f"a sparse tensor has indices of the type {kind}, which is not known.")
    return table.numbers(0, _INDEX_DTYPES[kind]).astype(np.int64)


def _kind(code: _Table) -> int:
    """The number of a builtin operator. Small ones may stand in the field of the format's first years."""
    return max(code.number(0, "b"), code.number(3, "i"))


def _operator(table: _Table, kinds: list[int], tensors: int) -> Operator:
    index = table.number(0, "I")
    if index >= len(kinds):
        raise ValueError(f"an operator names the kind {index} of {len(kinds)}: it is damaged.")
    if kinds[index] not in _KINDS:
        raise ValueError(f"it has an operator of number {kinds[index]}, which is not known.")
    kind, fields = _KINDS[kinds[index]]
    inputs, outputs = (_numbers(table, field, tensors) for field in (1, 2))
    if not inputs or not outputs:
        raise ValueError(f"an operator {kind} has no input or no output: it is damaged.")
    values = table.table(4)
    options = {
        name: default if values is None else values.number(field, form, default)
        for name, (field, form, default) in fields.items()
    }
    return Operator(kind, inputs, outputs, _named(kind, options))


def _numbers(table: _Table, field: int, tensors: int) -> tuple[int, ...]:
    """Numbers of tensors."""
    numbers = tuple(int(number) for number in table.numbers(field, np.int32))
    if any(not -1 <= number < tensors for number in numbers):
        raise ValueError(f"an operator names a tensor of {numbers}, but there are {tensors}: it is damaged.")
    return numbers


def _named(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with names for numbers, and pairs of height and width."""
    named: dict[str, Any] = {}
    for name, value in options.items():
        if name in _NAMES:
            if value not in _NAMES[name]:
                raise ValueError(f"{kind} has the {name} {value}, which is not known.")
            named[name] = _NAMES[name][value]
        elif f"{name}_width" in options:
            named[name] = (value, options[f"{name}_width"])
        elif not name.endswith("_width"):
            named[name] = value
    return named
