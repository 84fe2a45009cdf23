"""How Numba compiles the generator's loops: with fast arithmetic, without the interpreter lock, cached on disk."""

from typing import Any

import numba
import numpy as np

from hmr_jax.io.cache import keeps_compiled

f32, i32, u32 = np.float32, np.int32, np.uint32
Number = int | float | np.integer | np.floating
Struct = Any
"""A record of a structured array: in compiled loops its fields are attributes."""

# Inlined into their callers: otherwise LLVM makes two versions of a callee, one alone and one in the caller's object
# file, and fast arithmetic may round differently in them. A process that compiles the caller runs the first and one
# that loads it from the cache the second, so their batches would differ in the last bit.
jit = numba.njit(nogil=True, cache=keeps_compiled(), fastmath=True, error_model="numpy", forceinline=True)
# For small functions in loops, inlined before LLVM: compiled alone, they would keep the loop from being vectorised.
part = numba.njit(nogil=True, cache=keeps_compiled(), fastmath=True, error_model="numpy", inline="always")
