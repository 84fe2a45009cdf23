"""Dot-product attention behind one name. Letters: B batch, T queries, N keys, M heads, D head width."""

from typing import Literal

import jax


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
    return jax.nn.dot_product_attention(query, key, value, bias=bias, implementation=backend)
