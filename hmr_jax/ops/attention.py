"""Dot-product attention behind one name. Letters: B batch, T queries, N keys, M heads, D head width."""

from typing import Literal

import jax
import jax.numpy as jnp

MANY_SCORES = 512 * 512


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    backend: Literal["xla", "cudnn"] = "xla",
) -> jax.Array:
    """softmax(q k^T / sqrt(D) + bias) v, with the softmax in float32.

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
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))  # (B, M, T or N, D)
    many = query.shape[2] * key.shape[2] > MANY_SCORES
    if many and bias is None and jax.default_backend() == "cpu":
        y = _attend_by_head(query, key, value)
    else:
        y = _attend_at_once(query, key, value, bias)
    return jnp.swapaxes(y, 1, 2)


def _attend_at_once(query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """(..., T, D), (..., N, D), (..., N, D), bias (..., T, N) -> (..., T, D).

    With the heads before the tokens and the weights divided by their sum after the product, half the time of
    `jax.nn.dot_product_attention` on CPUs.
    """
    scores = jnp.einsum("...td,...nd->...tn", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    y = jnp.einsum("...tn,...nd->...td", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (y / weights.sum(-1, keepdims=True)).astype(value.dtype)


def _attend_by_head(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """One head after another, whose scores fit a CPU's cache: with 1,370 tokens a third of the time."""
    shape = query.shape
    heads = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value))
    return jax.lax.map(lambda head: _attend_at_once(*head), tuple(heads)).reshape(shape)
