"""Read the pickles in PyTorch's checkpoints: tensors become descriptions, external classes become stand-ins.

Nothing that a pickle names is imported or called. A tensor is described by its storage, offset, shape and strides, and
becomes an array only after the description has been checked against the bytes of the file.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from hmr_jax.io import safe_pickle
from hmr_jax.io.safe_pickle import Opaque, RefusedPickleError


@dataclass(frozen=True)
class Storage:
    """A block of numbers in the file, not read yet."""

    key: str
    dtype: np.dtype
    length: int
    """Number of elements."""


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, not read yet; strides and offset count elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(file: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """Unpickles what `torch.save` wrote: containers, numbers, `Tensor` descriptions and stand-ins.

    Args:
        file: open binary file; afterwards its position is behind the pickle.
        storages: receives every storage that the pickle refers to, by its key.

    Raises:
        RefusedPickleError: the pickle asks for something that is needed only to run code.
        ValueError: it is damaged or not a pickle.
    """

    def persistent_load(identity: Any) -> Any:
        found = _storage(identity)
        if storages is not None and isinstance(found, Storage):
            storages[found.key] = found
        return found

    return safe_pickle.load(file, _resolve, persistent_load)


def to_array(tensor: Tensor, name: str, buffer: memoryview, byte_order: str, largest: int) -> np.ndarray:
    """A read-only array that shares the file's bytes.

    Args:
        tensor: its description in the pickle.
        name: of the tensor, for messages.
        buffer: the bytes of its storage.
        byte_order: "<" or ">".
        largest: size in bytes up to which a tensor may repeat its storage.

    Raises:
        ValueError: the tensor is not inside its storage.
    """
    dtype, size = tensor.dtype, tensor.dtype.itemsize
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    valid = all(isinstance(number, int) and number >= 0 for number in numbers)
    if not valid or len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 32:
        raise ValueError(f"the tensor '{name}' has an impossible shape: the file is damaged or forged.")
    declared = size
    for length in tensor.shape:
        declared *= length
    extent = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True))
    end = (tensor.offset + extent + 1) * size if declared else 0
    if end > len(buffer) or declared > max(len(buffer), largest):
        raise ValueError(
            f"the tensor '{name}' is declared with {max(end, declared):,} bytes, but the file holds {len(buffer):,} "
            "bytes for it: it is cut off, damaged or forged."
        )
    dtype = dtype.newbyteorder(">") if dtype.kind != "V" and byte_order == ">" else dtype
    strides = tuple(stride * size for stride in tensor.strides)
    return np.ndarray(tensor.shape, dtype, buffer, tensor.offset * size if declared else 0, strides)


class Found(NamedTuple):
    """The weights by name in a checkpoint, and what else there is."""

    state: Mapping[str, Any]
    key: str
    """Under which they are, such as "state_dict" or "ema.module"; empty: they are the content itself."""
    others: dict[str, int]
    """Other keys under which there are tensors by name, such as averaged weights, and their number."""
    prefix: str | None
    """What is left of the prefix without the key."""


def state_dict(content: Any, prefix: str | None = None) -> Found:
    """The mapping of names to tensors in the content of a checkpoint.

    Args:
        content: of the pickle.
        prefix: starts with the key of the mapping, if not the first of `STATE_KEYS` is meant, or else the content
            itself, or else the only mapping of tensors that there is.

    Raises:
        ValueError: there is none, or several of which none is stated, or an entry of it is neither a tensor nor a
            number; the message says what it is.
    """
    if isinstance(content, Opaque):
        raise ValueError(
            f"it holds a whole pickled model ({content.class_name}) instead of its weights: save model.state_dict() "
            "with PyTorch."
        )
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__} and no weights by name.")
    groups = _groups(content)
    key = next((key for key in STATE_KEYS if key in groups or isinstance(content.get(key), Opaque)), None)
    if key is None:
        key = "" if _holds_tensors(content) else next(iter(groups), None)
    chosen = _key_of(prefix, groups, groups.get(key or "", content if key == "" else {}))
    if chosen is None and key and key not in groups:
        return state_dict(content[key])
    if chosen is None and key not in (None, "", *STATE_KEYS) and len(groups) > 1:
        raise ValueError(f"it holds several groups of weights, under {', '.join(groups)}: choose one with --prefix.")
    key = chosen or key
    if key is None:
        raise ValueError(f"it holds no weights, but only: {', '.join(map(str, list(content)[:20])) or 'nothing'}.")
    found = groups[key] if key else content
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray, np.generic, bool, int, float)):
            kind = value.class_name if isinstance(value, Opaque) else type(value).__name__
            raise ValueError(f"the entry '{name}' of its weights is a {kind}, which is not a tensor that can be read.")
    left = (prefix or "").strip(".").removeprefix(chosen).strip(".") if chosen else prefix
    others = {name: sum(map(_is_tensor, group.values())) for name, group in groups.items() if name != key}
    return Found(found, key, others, left or None)


STATE_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "teacher", "params")


def _groups(content: Mapping, before: str = "", depth: int = 2) -> dict[str, Mapping]:
    """The mappings of names to tensors in a checkpoint, by their keys, in its order; those of an optimizer are none."""
    groups = {}
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping) and "optim" not in key.lower():
            if _holds_tensors(value):
                groups[before + key] = value
            elif depth > 1:
                groups |= _groups(value, f"{before}{key}.", depth - 1)
    return groups


def _key_of(prefix: str | None, groups: Mapping[str, Mapping], default: Mapping) -> str | None:
    """The key of the mapping that a prefix starts with; None: it is no key, or one of names in the usual mapping."""
    start = (prefix or "").strip(".") + "."
    if not prefix or any(isinstance(name, str) and name.startswith(start) for name in default):
        return None
    return max((key for key in groups if start.startswith(f"{key}.")), key=len, default=None)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(map(_is_tensor, value.values()))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


# ------------------------------------------------------------------------------------------------ stand-ins for names

_DTYPES: dict[str, Any] = {
    "float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
    "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64, "complex64": np.complex64,
    "complex128": np.complex128, "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip


class _Type:
    """Stand-in for a torch.dtype or a class of storages; each file gets new subclasses."""

    dtype: Any = None


class _StandIn(Opaque):
    """Stands for an object of any other class, also of a list or dictionary; items put into it are discarded."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise RefusedPickleError("A tensor of the file has no storage in it.")
    return Tensor(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _rebuild_typed_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, kind: Any, *_: Any
) -> Tensor:
    tensor = _rebuild_tensor(storage, offset, shape, strides)
    return Tensor(storage, _dtype_of(kind), tensor.offset, tensor.shape, tensor.strides)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_subclass(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    if isinstance(function, type):
        raise RefusedPickleError("A tensor of the file is made by a class that is not known.")
    return function(*arguments)


_REBUILD: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_subclass,
}
# Modules of the standard library that get stand-ins: a checkpoint needs the others only to run code.
_HARMLESS = {
    "_codecs", "argparse", "collections", "copyreg", "datetime", "decimal", "enum", "fractions", "functools", "numbers",
    "pathlib", "random", "types", "typing", "uuid", "logging", "zoneinfo",
}  # fmt: skip
_PYTHON_2 = {"__builtin__", "commands", "popen2", "urllib2", "exceptions", "copy_reg"}


def _resolve(module: str, name: str) -> Any:
    """The stand-in for a name that `safe_pickle` does not know."""
    if (module, name) in _REBUILD:
        return _REBUILD[module, name]
    if (module, name) == ("torch", "Size"):
        return tuple
    if module == "torch" and name in _DTYPES:
        return type(name, (_Type,), {"dtype": np.dtype(_DTYPES[name])})
    if module.split(".")[0] == "torch" and name in _STORAGES:
        return type(name, (_Type,), {"dtype": np.dtype(_DTYPES[_STORAGES[name]])})
    root = module.split(".")[0]
    if (root in sys.stdlib_module_names or root in _PYTHON_2) and root not in _HARMLESS:
        raise RefusedPickleError(
            f"It asks to run {module}.{name}, which has no place in a checkpoint. Nothing was run; do not use the file."
        )
    return type("StandIn", (_StandIn,), {"class_name": f"{module}.{name}"})


def _dtype_of(kind: Any) -> np.dtype:
    dtype = kind.dtype if isinstance(kind, type) and issubclass(kind, _Type) else None
    if not isinstance(dtype, np.dtype):
        raise RefusedPickleError("A tensor of the file has a type that is not known.")
    return dtype


def _storage(identity: Any) -> Any:
    """A persistent id of torch: a storage, or the class of a pickled model."""
    if isinstance(identity, tuple) and identity[:1] == ("module",) and len(identity) > 1:
        return identity[1]
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise RefusedPickleError("It refers to data in a way that PyTorch does not.")
    if len(identity) > 5 and identity[5] is not None:
        raise ValueError("it uses views of storages, as PyTorch did before 0.4: save it again with a newer one.")
    kind, key, _, length = identity[1:5]
    if not isinstance(length, int) or length < 0:
        raise RefusedPickleError("A storage of the file has an impossible length.")
    return Storage(str(key), _dtype_of(kind), length)
