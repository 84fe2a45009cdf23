"""Read pickles without running code from them: arrays, containers and numbers are read, anything else is refused.

Research files (SMPL models, torch checkpoints, annotations) are pickles, and a pickle is a program that may call
anything. Here every name in it is looked up in a short allow list; NumPy's own restoring functions are replaced too,
because a forged dtype can corrupt memory. Readers of a format pass `resolve` to add stand-ins for its names. NumPy is
the only dependency.
"""

import io
import itertools
import math
import pickle
import pickletools
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import IO, Any

import numpy as np

Resolve = Callable[[str, str], Any]


class RefusedPickleError(ValueError):
    """The pickle asks for something that is not on the allow list."""


class Opaque:
    """Stand-in for an object of an external class: keeps its arguments and state, runs none of its code."""

    class_name = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> "Opaque":
        self = object.__new__(cls)
        self.arguments, self.state = args, {}
        return self

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def opaque_class(name: str) -> type[Opaque]:
    """A new `Opaque` class with the full name of the external class."""
    return type("Opaque", (Opaque,), {"class_name": name})


def load(
    file: IO[bytes],
    resolve: Resolve | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Unpickles a file of any protocol, also of Python 2 (its byte strings become latin-1 text).

    Args:
        file: open binary file.
        resolve: called with the module and name of everything that is not on the built-in list; returns a class or
            function to stand in for it (e.g. `opaque_class(...)`), or None to refuse it.
        persistent_load: called with the persistent ids of formats that keep data elsewhere (torch).

    Raises:
        RefusedPickleError: the pickle asks for something that is not allowed.
        ValueError: it is damaged, cut off, or not a pickle.
    """
    try:
        if not file.seekable():
            file = io.BytesIO(file.read())
        _check_memo(file)
        return _Unpickler(file, resolve, persistent_load).load()
    except RefusedPickleError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())  # it may quote lines of the file
        raise ValueError(f"not a pickle, or a damaged or truncated one ({type(error).__name__}: {reason}).") from error


def _check_memo(file: IO[bytes]) -> None:
    """Refuses memo indices that no writer produces: ten bytes could make the reader allocate gigabytes."""
    start = file.tell()
    for position in itertools.count():
        opcode = _OPCODES.get(file.read(1))
        if opcode is None or opcode.name == "STOP":  # an unknown one, or the end of the file: the reader reports it
            break
        if opcode.name in _LINES:  # text; pickletools would read that of Python 2 as ASCII, but it may be anything
            for _ in range(_LINES[opcode.name]):
                file.readline()
        elif opcode.arg is not None:
            argument = opcode.arg.reader(file)
            # Writers count up, and each object needs an opcode.
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > position + 1000:
                raise RefusedPickleError("The pickle has absurd memo indices: reading it would fill the memory.")
    file.seek(start)


_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_LINES = {"STRING": 1, "UNICODE": 1, "GLOBAL": 2, "INST": 2, "PERSID": 1, "INT": 1, "LONG": 1, "FLOAT": 1}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], resolve: Resolve | None, persistent_load: Callable[[Any], Any] | None):
        super().__init__(file, encoding="latin1")
        self._resolve = resolve
        self._persistent_load = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((_MODULE_NOW.get(module, module), name))
        if found is None and self._resolve is not None:
            found = self._resolve(module, name)
        if found is None:
            raise RefusedPickleError(f"The pickle asks for {module}.{name}, which is not on the list of safe names.")
        return found if isinstance(found, type) else _Function(found)

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent_load is None:
            raise RefusedPickleError("The pickle refers to data outside the file.")
        return self._persistent_load(pid)


class _Function:
    """A function that a pickle may call but not alter: a plain function would accept any attribute as its "state"."""

    __slots__ = ("_call",)

    def __init__(self, function: Callable):
        self._call = function

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickleError("The pickle tries to alter a function.")


class _DType:
    """Type of an array as written in the pickle; only numbers, text and lists of objects are allowed."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        code = code.decode("latin1") if isinstance(code, bytes) else str(code)
        if not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU]\d{1,6}|O8?|\?)", code):
            raise RefusedPickleError(f"The pickle holds an array of type {code!r}, which is not on the safe list.")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array that restores its state from checked parts only."""

    def __setstate__(self, state: tuple) -> None:
        shape, kind, fortran, data = state[-4:]
        if kind.dtype.hasobject != isinstance(data, list):
            raise RefusedPickleError("The pickle holds an array whose data do not match its type.")
        # NumPy reads lists of objects without a look at their length.
        if isinstance(data, list) and not (isinstance(shape, tuple) and len(data) == math.prod(shape)):
            raise RefusedPickleError(f"The pickle holds an array of shape {shape} with {len(data)} objects.")
        super().__setstate__((1, shape, kind.dtype, fortran, _bytes(data)))


def _bytes(data: Any) -> Any:
    return data.encode("latin1") if isinstance(data, str) else data


def _reconstruct_array(subtype: type, shape: tuple, code: Any) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _array_from_buffer(data: bytes, kind: _DType, shape: tuple, order: Any) -> np.ndarray:
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order).copy()


def _scalar(kind: _DType, data: Any) -> Any:
    if kind.dtype.hasobject:
        raise RefusedPickleError("The pickle holds an object as a NumPy scalar.")
    return np.frombuffer(_bytes(data), kind.dtype, count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"The pickle uses the text encoding {encoding!r}.")
    return text.encode("latin1")


def _reconstruct_object(cls: type, base: type, state: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, Opaque)):
        raise RefusedPickleError("The pickle restores an object of a class that is not on the list of safe names.")
    return cls() if state is None else cls(state)  # of a class that extends dict, its items


# Names that moved: Python 2 -> 3, NumPy 1 -> 2.
_MODULE_NOW = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "matrix"): _Array,
    ("numpy.matrixlib.defmatrix", "matrix"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): lambda: b"",  # how old protocols write an empty byte string
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
} | {
    ("builtins", kind.__name__): kind
    for kind in (object, set, frozenset, slice, complex, list, dict, tuple, int, float, bool, str)
}
