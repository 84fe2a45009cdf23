"""Products of matrices on CPUs by Intel's MKL. Letters: M rows, N columns, K the contracted axis."""

import ctypes

import jax
import jax.numpy as jnp
import llvmlite.binding
import numba
import numpy as np
from numba import types

from hmr_jax.ops.dense import find_mkl
from hmr_jax.ops.native import ARGUMENTS, HANDLER, RESULTS, answered, array, attribute, register

ROW_MAJOR, AS_IT_IS = 101, 111
"""As cblas.h numbers them; 112 is transposed."""


@jax.custom_vjp
def product_by_mkl(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    """(M, K) and (K, N) float32 matrices -> (M, N)."""
    return _product(lhs, rhs)


def _product(lhs, rhs, transpose_lhs=False, transpose_rhs=False):
    """The same of matrices that may be given transposed."""
    rows, columns = lhs.shape[1 if transpose_lhs else 0], rhs.shape[0 if transpose_rhs else 1]
    result = jax.ShapeDtypeStruct((1, 1, rows, columns), jnp.float32)
    call = jax.ffi.ffi_call("hmr_jax.product", result, vmap_method="sequential")
    flags = {"transpose_lhs": np.int64(transpose_lhs), "transpose_rhs": np.int64(transpose_rhs)}
    return call(lhs[None, None], rhs[None, None], **flags)[0, 0]


def _forward(lhs, rhs):
    return _product(lhs, rhs), (lhs, rhs)


def _backward(residuals, cotangent):
    lhs, rhs = residuals
    return _product(cotangent, rhs, transpose_rhs=True), _product(lhs, cotangent, transpose_lhs=True)


product_by_mkl.defvjp(_forward, _backward)


_address = ctypes.cast(ctypes.CDLL(str(find_mkl())).cblas_sgemm, ctypes.c_void_p).value
llvmlite.binding.add_symbol("hmr_jax_sgemm", _address)
_MATRIX = types.voidptr, types.int32  # with the length of its rows
_sgemm = types.ExternalFunction(
    "hmr_jax_sgemm",
    types.void(*[types.int32] * 6, types.float32, *_MATRIX, *_MATRIX, types.float32, *_MATRIX),
)


@numba.cfunc(HANDLER, cache=True)
def _handler(frame):
    if not answered(frame):
        lhs, rhs, y = array(frame, ARGUMENTS, 0), array(frame, ARGUMENTS, 1), array(frame, RESULTS, 0)
        transpose_lhs, transpose_rhs = attribute(frame, 0), attribute(frame, 1)
        rows, columns = y.shape[2], y.shape[3]
        contracted = lhs.shape[2] if transpose_lhs else lhs.shape[3]
        _sgemm(
            ROW_MAJOR, AS_IT_IS + transpose_lhs, AS_IT_IS + transpose_rhs, rows, columns, contracted,
            np.float32(1), lhs.ctypes, lhs.shape[3], rhs.ctypes, rhs.shape[3], np.float32(0), y.ctypes, columns,
        )  # fmt: skip
    return 0


register("hmr_jax.product", _handler)
