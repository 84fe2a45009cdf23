"""How the generator's loops are compiled: fast arithmetic, without the interpreter's lock, kept on disk.

Whole numbers are cast back to 32 bits after each operation, for Numba widens them.
"""

import numba
import numpy as np

f32, i32, u32 = np.float32, np.int32, np.uint32

# Every loop becomes part of the loop that calls it. Otherwise LLVM would optimise it twice, once alone and once more
# within its caller's object file. Fast arithmetic may round differently in the two, and which one runs depends on
# whether a process compiles the caller or loads it from the disk: batches of two processes would differ in a last bit.
jit = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", forceinline=True)
# For what loops call: compiled on its own it would already use vectors, and the loop around it could not.
part = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", inline="always")
