"""Multi-head attention.

Shapes: B batch, T queries of width D, N context tokens of width C.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.ops import Dense, attend


class Attention(nn.Module):
    """Four linear layers around softmax attention; self-attention where queries and context are the same."""

    num_heads: int
    head_dim: int | None = None
    """None: the heads share the width of the queries."""
    use_bias: bool = True
    """Whether the layers of queries, keys and values have a bias; the output layer always has one."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, queries: jax.Array, context: jax.Array) -> jax.Array:
        """(B, T, D) queries, (B, N, C) context -> (B, T, D).

        Raises:
            ValueError: if the width does not divide by the number of heads.
        """
        dim = queries.shape[-1]
        if self.head_dim is None and dim % self.num_heads:
            raise ValueError(f"Tokens of width {dim} cannot be split into {self.num_heads} heads.")
        inner = self.num_heads * (self.head_dim or dim // self.num_heads)

        def heads(x, name):
            x = Dense(inner, use_bias=self.use_bias, dtype=self.dtype, name=name)(x)
            return x.reshape(*x.shape[:2], self.num_heads, -1)

        y = attend(heads(queries, "query"), heads(context, "key"), heads(context, "value"))
        return Dense(dim, dtype=self.dtype, name="out")(y.reshape(*queries.shape[:2], inner))
