"""Dot-product attention and its back ends.

Shapes: B batch, T queries, N keys, M heads, D head width.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from hmr_jax.ops.cpu import is_plain


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    backend: Literal["xla", "cudnn"] = "xla",
) -> jax.Array:
    """softmax(q k^T / sqrt(D) + bias) v, with the softmax in float32.

    On CPUs an implementation of our own takes half the time of `jax.nn.dot_product_attention`, which all other
    platforms use: the heads are moved before the tokens, and weights are divided by their sum after the product.

    Args:
        query: (B, T, M, D).
        key: (B, N, M, D).
        value: (B, N, M, D).
        bias: (B or 1, M, T, N) or None.
        backend: "cudnn" is the fused kernel of NVIDIA GPUs: half precision only.

    Returns:
        (B, T, M, D).
    """
    if backend == "cudnn":
        return jax.nn.dot_product_attention(query, key, value, bias=bias, implementation=backend)
    if is_plain():
        return _by_jax(query, key, value, bias)
    return jax.lax.platform_dependent(query, key, value, bias, cpu=_heads_first, default=_by_jax)


def _by_jax(query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array | None) -> jax.Array:
    return jax.nn.dot_product_attention(query, key, value, bias=bias, implementation="xla")


def _heads_first(query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array | None) -> jax.Array:
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))  # (B, M, T or N, D)
    scores = jnp.einsum("bmtd,bmnd->bmtn", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    y = jnp.einsum("bmtn,bmnd->bmtd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    y = (y / weights.sum(-1, keepdims=True)).astype(value.dtype)
    return jnp.swapaxes(y, 1, 2)
