"""Numba kernels as XLA custom calls on CPUs.

XLA calls a handler with the address of a frame that points to its arrays; the layout is that of xla/ffi/api/c_api.h,
version 0.1 and later. A handler is a `numba.cfunc` of signature `HANDLER`: it returns at once if `is_version_query`,
and reads its arrays, which all have four axes, by `array`. A call runs on one thread, unless it starts more itself.
Where the batch is split over several CPU devices, each call processes the whole batch.
"""

import ctypes
from typing import Any

import jax
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hmr_jax.io.cache import keeps_compiled

HANDLER = types.int64(types.int64)
ARGUMENTS, RESULTS = 72, 112
"""Offsets in a frame, in bytes: the addresses of its list of arguments and of its list of results."""

kernel = numba.njit(
    cache=keeps_compiled(), error_model="numpy", fastmath={"contract", "reassoc", "nsz"}, forceinline=True
)
"""Decorator of functions that a handler calls: sums may be reordered; NaN and infinity behave as usual.

They become part of the handler. Otherwise there would be two machine codes of a function, one alone and one in the
handler's object file, which round differently, and which one runs depends on whether the process compiled it or loaded
it from the disk: a resumed run would differ in a last bit.
"""


def register(name: str, handler: Any) -> None:
    """Registers a handler with XLA under a name, for `jax.ffi.ffi_call`."""
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(handler.address)), platform="cpu")


def _to_pointer(typing_context, address):
    """An integer as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


_pointer: Any = intrinsic(_to_pointer)  # called with the address alone


@numba.njit(cache=keeps_compiled())
def _word(address: int) -> int:
    return numba.carray(_pointer(address), 1, np.int64)[0]


@numba.njit(cache=keeps_compiled())
def is_version_query(frame: int) -> bool:
    """Whether XLA asks for the version of the handler, which is then answered, instead of calling it."""
    query = _word(frame + 8)
    if query == 0:
        return False
    answer = _word(query + 24)
    version = numba.carray(_pointer(answer + 24), 3, np.int32)  # major, minor, traits
    version[0], version[1], version[2] = 0, 1, 0
    return True


@numba.njit(cache=keeps_compiled())
def array(frame: int, which: int, index: int) -> np.ndarray:
    """The index-th of the frame's ARGUMENTS or RESULTS, float32, with four axes."""
    buffer = _word(_word(frame + which) + 8 * index)
    shape = _word(buffer + 40)
    sizes = (_word(shape), _word(shape + 8), _word(shape + 16), _word(shape + 24))
    return numba.carray(_pointer(_word(buffer + 24)), sizes, np.float32)


@numba.njit(cache=keeps_compiled())
def gradient_arrays(frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of a call that takes two arguments and a cotangent and gives the gradients of both."""
    return (
        array(frame, ARGUMENTS, 0), array(frame, ARGUMENTS, 1), array(frame, ARGUMENTS, 2),
        array(frame, RESULTS, 0), array(frame, RESULTS, 1),
    )  # fmt: skip


@numba.njit(cache=keeps_compiled())
def attribute(frame: int, index: int) -> int:
    """The index-th of the call's attributes in the order of their names, a 64-bit integer."""
    scalar = _word(_word(frame + 160) + 8 * index)
    return _word(_word(scalar + 8))
