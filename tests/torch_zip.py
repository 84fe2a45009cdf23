"""Writes checkpoints in the formats of `torch.save` without PyTorch, also ones that it would never write."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

_STORAGES = {
    np.dtype(np.float32): "FloatStorage", np.dtype(np.float16): "HalfStorage", np.dtype(np.int64): "LongStorage",
    np.dtype(bool): "BoolStorage", np.dtype(np.float64): "DoubleStorage", np.dtype(np.int32): "IntStorage",
    np.dtype(np.uint8): "ByteStorage", np.dtype(np.complex128): "ComplexDoubleStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
}  # fmt: skip


class Raw:
    """Opcodes that are put into the pickle as they are."""

    def __init__(self, opcodes: bytes):
        self.opcodes = opcodes


class Declared:
    """A tensor whose pickle says what it likes of `data`."""

    def __init__(
        self, data: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], length: int, offset: int = 0
    ):
        self.data, self.shape, self.strides, self.length, self.offset = data, shape, strides, length, offset


def write_torch_zip(
    path: Path, content: Any, compression: int = zipfile.ZIP_STORED, extra: Mapping[str, bytes] | None = None
) -> Path:
    """Writes nested dictionaries of arrays (and of `Raw` and `Declared`) to a file.

    Args:
        path: of the file.
        content: what is saved.
        compression: of the zip file's members.
        extra: further members by name.
    """
    storages: list[np.ndarray] = []
    opcodes = b"\x80\x02" + _pickled(content, storages) + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", opcodes)
        archive.writestr("archive/byteorder", b"little")
        for number, array in enumerate(storages):
            archive.writestr(f"archive/data/{number}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
        for name, data in (extra or {}).items():
            archive.writestr(f"archive/{name}", data)
    return path


def write_torch_legacy(path: Path, content: Any) -> Path:
    """Writes what `write_torch_zip` does in the format of before version 1.6."""
    storages: list[np.ndarray] = []
    opcodes = b"\x80\x02" + _pickled(content, storages) + b"."
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    parts += [opcodes, pickle.dumps([str(number) for number in range(len(storages))], 2)]
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in storages]
    path.write_bytes(b"".join(parts))
    return path


def name(module: str, attribute: str) -> bytes:
    """The opcode that looks up a name."""
    return f"c{module}\n{attribute}\n".encode()


def _pickled(value: Any, storages: list[np.ndarray]) -> bytes:
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, Mapping):
        items = b"".join(_plain(key) + _pickled(entry, storages) for key, entry in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, np.ndarray):
        strides = tuple(stride // value.itemsize for stride in np.empty(value.shape, value.dtype).strides)
        value = Declared(np.ascontiguousarray(value), value.shape, strides, value.size)
    if isinstance(value, Declared):
        storages.append(value.data)
        kind = name("torch", _STORAGES[value.data.dtype])
        storage = b"(" + _plain("storage") + kind + _plain(str(len(storages) - 1)) + _plain("cpu")
        storage += _plain(value.length) + b"tQ"
        hooks = name("collections", "OrderedDict") + b")R"
        arguments = storage + _plain(value.offset) + _plain(value.shape) + _plain(value.strides) + b"\x89" + hooks
        return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"
    return _plain(value)


def _plain(value: Any) -> bytes:
    """The opcodes of a plain value, without header, stop and memo."""
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_plain, value)) + b"t"
    return pickle.dumps(value, 2)[2:-1]
