"""TensorFlow Lite files without their weights, and weights made by rule to fill them with.

A skeleton has the bytes of a file without its float16 tensors ("rest"), and where those tensors begin and how long they
are ("places": number of the tensor, start, bytes). Of sparse tensors it also lacks the columns of the values
("columns": start, bytes, bytes of a column, number of columns); how many values a row has stays.
"""

from typing import Any

import numpy as np

from hmr_jax.weights.tflite_file import parse_tflite


def stored_parts(data: bytes) -> dict[str, np.ndarray]:
    """The skeleton of a file; needs the schema of ai-edge-litert."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    whole = np.frombuffer(data, np.uint8)

    def start(array: np.ndarray) -> int:
        return array.ctypes.data - whole.ctypes.data

    places, columns = [], []
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        values = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if tensor.Type() != schema.TensorType.FLOAT16 or not isinstance(values, np.ndarray):
            continue
        places.append((number, start(values), values.nbytes))
        if tensor.Sparsity() is not None:
            axis = tensor.Sparsity().DimMetadata(tensor.ShapeLength() - 1)
            kinds: dict[int, Any] = {1: schema.Int32Vector, 2: schema.Uint16Vector, 3: schema.Uint8Vector}
            vector, union = kinds[axis.ArrayIndicesType()](), axis.ArrayIndices()
            vector.Init(union.Bytes, union.Pos)
            indices = vector.ValuesAsNumpy()
            columns.append((start(indices), indices.nbytes, indices.itemsize, tensor.Shape(tensor.ShapeLength() - 1)))
    parts = {"places": np.array(places, np.int64), "columns": np.array(columns, np.int64).reshape(-1, 4)}
    return {"rest": whole[_kept(len(whole), parts)]} | parts


def _kept(size: int, parts: dict[str, np.ndarray]) -> np.ndarray:
    """Which bytes of a file its skeleton has."""
    keep = np.ones(size, bool)
    for start, length in [*parts["places"][:, 1:], *parts["columns"][:, :2]]:
        keep[start : start + length] = False
    return keep


def fill(parts: dict[str, np.ndarray]) -> bytes:
    """A whole file, whose weights are normal with the variance 1 / inputs, seeded by the tensors' numbers.

    The values of a sparse tensor take its columns in turn.
    """
    parts = {"columns": np.zeros((0, 4), np.int64)} | parts
    places, columns = parts["places"], parts["columns"]
    whole = np.zeros(len(parts["rest"]) + places[:, 2].sum() + columns[:, 1].sum(), np.uint8)
    whole[_kept(len(whole), parts)] = parts["rest"]
    for start, size, itemsize, count in columns:
        indices = (np.arange(size // itemsize) % count).astype(f"<u{itemsize}")
        whole[start : start + size] = indices.view(np.uint8)
    constants = parse_tflite(whole.tobytes()).constants
    for number, start, size in places:
        shape = constants[int(number)].shape
        depthwise = len(shape) == 4 and shape[0] == 1 and shape[1] in (3, 5)
        inputs = np.prod(shape[1:3]) if depthwise else size // 2 / shape[0]
        scale = np.sqrt(1 / inputs) if len(shape) == 4 else 0.1
        values = scale * np.random.default_rng(int(number)).standard_normal(size // 2)
        whole[start : start + size] = values.astype("<f2").view(np.uint8)
    return whole.tobytes()


def image(side: int = 256) -> np.ndarray:
    """(1, side, side, 3) in [0, 1]: waves of all lengths."""
    steps = np.linspace(0, 1, side, dtype=np.float32)
    waves = [np.sin(2 * np.pi * (f * steps[:, None] + (9 - f) * steps[None] ** 2)) for f in (2, 5, 8)]
    return np.stack(waves, -1)[None].astype(np.float32) / 2 + 0.5
