"""Linear layers as one matrix product. Letters: ... any leading axes, C input and D output channels."""

import functools
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

LARGE = 2**20
"""Numbers in a kernel as wide as ViT-L's, a tenth faster by MKL; with smaller ones its threads and XLA's are in each
other's way (measured in docs/results.md)."""


def flat_dot_general(lhs: jax.Array, rhs: jax.Array, dimension_numbers, **options) -> jax.Array:
    """`lax.dot_general` of (..., C) and (C, D) with the leading axes of the left side merged into one.

    The result is the same. On CPUs the backward pass of a linear layer is about a third faster so: the gradient of its
    kernel is a plain product of two matrices rather than a contraction over several axes, which XLA lays out anew.
    Where MKL is installed, it makes the products of float32 arrays with LARGE kernels there.
    """
    contracted = (((lhs.ndim - 1,), (0,)), ((), ()))
    if dimension_numbers != contracted:
        raise ValueError(f"flat_dot_general contracts the last axis with the first, not {dimension_numbers}.")
    rows = lhs.reshape(-1, lhs.shape[-1])
    if jax.default_backend() == "cpu" and lhs.dtype == rhs.dtype == jnp.float32 and rhs.size >= LARGE and find_mkl():
        from hmr_jax.ops.dense_mkl import product_by_mkl  # Numba is loaded where it is needed

        product = product_by_mkl(rows, rhs)
    else:
        product = jax.lax.dot_general(rows, rhs, (((1,), (0,)), ((), ())), **options)
    return product.reshape(*lhs.shape[:-1], rhs.shape[-1])


Dense = functools.partial(nn.Dense, dot_general=flat_dot_general)
"""`flax.linen.Dense`, computed as one matrix product."""


@functools.cache
def find_mkl() -> Path | None:
    """Intel's MKL of this Python environment, which `pip install "hmr_jax[mkl]"` puts there; None without it."""
    return next(iter(sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))), None)
