"""Numba kernels as XLA custom calls on CPUs, for what XLA's own kernels do slowly.

XLA calls a handler with the address of a frame that leads to its arrays; the layout is that of xla/ffi/api/c_api.h,
version 0.1 and later. A handler is a `numba.cfunc` of signature `HANDLER`: it returns at once where `answered`, and
reads its arrays, all of four axes, by `array`. A call runs on one thread, unless it starts more itself, and where the
batch is split over several CPU devices, on all of it.
"""

import ctypes
from typing import Any

import jax
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

HANDLER = types.int64(types.int64)
ARGUMENTS, RESULTS = 72, 112
"""Where a frame keeps the address of its list of arguments and of results, in bytes."""

kernel = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
"""Decorates what a handler calls: sums in any order, NaN and infinity as usual."""


def register(name: str, handler: Any) -> None:
    """Makes a handler known to XLA under a name, for `jax.ffi.ffi_call`."""
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(handler.address)), platform="cpu")


@intrinsic
def _pointer(typing_context, address):
    """An integer as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@numba.njit(cache=True)
def _word(address):
    return numba.carray(_pointer(address), 1, np.int64)[0]


@numba.njit(cache=True)
def answered(frame):
    """Whether this is not a call but the question after the handler's version, which is then answered."""
    question = _word(frame + 8)
    if question == 0:
        return False
    answer = _word(question + 24)
    version = numba.carray(_pointer(answer + 24), 3, np.int32)  # major, minor, traits
    version[0], version[1], version[2] = 0, 1, 0
    return True


@numba.njit(cache=True)
def array(frame, which, index):
    """The index-th of the frame's ARGUMENTS or RESULTS, float32, with four axes."""
    buffer = _word(_word(frame + which) + 8 * index)
    shape = _word(buffer + 40)
    sizes = (_word(shape), _word(shape + 8), _word(shape + 16), _word(shape + 24))
    return numba.carray(_pointer(_word(buffer + 24)), sizes, np.float32)


@numba.njit(cache=True)
def gradient_arrays(frame):
    """The arrays of a call that takes two arguments and a cotangent and gives the gradients of both."""
    return (
        array(frame, ARGUMENTS, 0), array(frame, ARGUMENTS, 1), array(frame, ARGUMENTS, 2),
        array(frame, RESULTS, 0), array(frame, RESULTS, 1),
    )  # fmt: skip


@numba.njit(cache=True)
def attribute(frame, index):
    """The index-th of the call's attributes in the order of their names, a 64-bit integer."""
    scalar = _word(_word(frame + 160) + 8 * index)
    return _word(_word(scalar + 8))
