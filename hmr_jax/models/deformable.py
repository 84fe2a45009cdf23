"""Query-agnostic deformable cross-attention: the feature map alone determines where all queries sample it.

This is DAT's deformable attention (Xia et al. 2022) with the offset network moved from the queries to the feature map,
because DeforHMR's queries are body tokens without a position in the image. With the map itself as queries it equals
DAT's layer.

Shapes: B batch, T queries of width D, H, W the map with C channels, G groups of c channels, N = h w sampling points,
one for each result of the offset network's convolution (h = H / stride and w = W / stride for odd kernels), M heads.
"""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.ops import Dense, attend, depthwise_convolution, gelu, sample_points


def reference_grid(
    height: int,
    width: int,
    stride: int,
    kind: Literal["cells", "dat"] = "cells",
    shape: tuple[int, int] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The sampling points before any offset, and the size of half a key cell.

    Args:
        height: rows of the feature map.
        width: its columns.
        stride: of the grid over the map.
        kind: "cells" puts the points on the centres of (blocks of) cells; "dat" is DAT's grid, which lies half a
            key cell further right and down, partly outside the map.
        shape: rows and columns of the grid, (h, w); None: one point for each (begun) block of cells. A grid with more
            points than that is centred on the map, as the results of a padded even kernel are.

    Returns:
        (N, 2) points as x, y in pixels of the map, and (2,) half the distance between neighbouring points as DAT
        defines it: the map's extent divided by twice the number of gaps.
    """
    blocks = -(-height // stride), -(-width // stride)
    rows, columns = shape or blocks
    x, y = jnp.meshgrid(jnp.arange(columns, dtype=jnp.float32), jnp.arange(rows, dtype=jnp.float32))
    grid = jnp.stack([x, y], -1).reshape(-1, 2)
    extent = jnp.array([width - 1.0, height - 1.0])
    gaps = jnp.array([max(columns - 1.0, 1.0), max(rows - 1.0, 1.0)])
    if kind == "dat":
        return (grid + 0.5) / gaps * extent, extent / gaps / 2
    more = jnp.array([max(columns - blocks[1], 0), max(rows - blocks[0], 0)])
    return (grid + 0.5 - more / 2) * stride - 0.5, extent / gaps / 2


class DepthwiseConv(nn.Module):
    """`depthwise_convolution` with the parameters of `nn.Conv`, and padded as DAT's."""

    kernel: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, G, c) -> (B, h, w, G, c); raises ValueError if the kernel is larger than the padded map."""
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:])
        pad = 0 if self.kernel == self.stride else self.kernel // 2
        if min(x.shape[1:3]) + 2 * pad < self.kernel:
            raise ValueError(
                f"A kernel of {self.kernel} with a stride of {self.stride} does not fit {x.shape[1:3]} cells."
            )
        x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
        return depthwise_convolution(x, kernel, self.stride, pad) + bias


class OffsetNetwork(nn.Module):
    """Depth-wise convolution, LayerNorm, GELU and a 1x1 convolution to one offset per point, shared by all groups."""

    groups: int = 8
    kernel: int = 5
    stride: int = 1
    offset_range: float = 2.0
    grid: Literal["cells", "dat"] = "cells"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """(B, H, W, G c) projected features -> (B, G, N, 2) sampling points, x and y in pixels of the map.

        Offsets are bounded by tanh to `offset_range` half key cells. With a negative range they are unbounded, in units
        of half the map, and the points are clipped to the map. They start at zero.

        Raises:
            ValueError: if the channels do not divide into the groups, or the kernel is larger than the map.
        """
        batch, height, width, channels = features.shape
        if channels % self.groups:
            raise ValueError(f"{channels} channels cannot be split into {self.groups} offset groups.")
        x = features.reshape(batch, height, width, self.groups, -1)
        x = DepthwiseConv(self.kernel, self.stride, self.dtype, name="depthwise")(x)  # (B, h, w, G, c)
        x = gelu(nn.LayerNorm(1e-5, self.dtype, name="norm")(x))
        zeros = nn.initializers.zeros_init()
        # Positions are always float32: near 16, bfloat16 has steps of 1/16 pixel.
        shape = x.shape[1], x.shape[2]
        offsets = Dense(2, use_bias=False, kernel_init=zeros, dtype=jnp.float32, name="offset")(x)
        offsets = jnp.swapaxes(offsets.reshape(batch, -1, self.groups, 2), 1, 2)  # (B, G, N, 2)

        points, half_cell = reference_grid(height, width, self.stride, self.grid, shape)
        extent = jnp.array([width - 1.0, height - 1.0])
        if self.offset_range >= 0:
            return points + self.offset_range * jnp.tanh(offsets) * half_cell
        return jnp.clip(points + offsets * extent / 2, 0.0, extent)


class Sampled(NamedTuple):
    """What queries attend to."""

    points: jax.Array
    """(B, G, N, 2) x and y in pixels of the map."""
    keys: jax.Array
    """(B, N, C) features at the points, with the position code."""
    values: jax.Array
    """(B, N, C) features at the points."""


class DeformableCrossAttention(nn.Module):
    """Attention of queries to features sampled at points that depend on the features alone."""

    num_heads: int
    head_dim: int
    out_dim: int
    groups: int = 8
    kernel: int = 5
    stride: int = 1
    offset_range: float = 2.0
    grid: Literal["cells", "dat"] = "cells"
    normalize_features: bool = True
    use_bias: bool = False
    key_position_code: bool = True
    position_bias: bool = False
    sampling: Literal["matmul", "gather"] = "matmul"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        queries: jax.Array,
        features: jax.Array,
        sampled: Sampled | None = None,
        more: jax.Array | None = None,
    ) -> tuple[jax.Array, Sampled]:
        """Attends to features at the sampling points.

        Args:
            queries: (B, T, D).
            features: (B, H, W, C).
            sampled: what an earlier layer sampled, to use again, or None to predict points and sample.
            more: (B, M, C) tokens to attend to beside the samples, or None.

        Returns:
            (B, T, out_dim) and what was sampled.
        """
        inner = self.num_heads * self.head_dim
        if sampled is None:
            sampled = self._sample(features)
        query = Dense(inner, use_bias=self.use_bias, dtype=self.dtype, name="query")(queries)
        keys, values = sampled.keys, sampled.values
        if more is not None:
            keys, values = (jnp.concatenate([array, more.astype(array.dtype)], 1) for array in (keys, values))
        key = Dense(inner, use_bias=self.use_bias, dtype=self.dtype, name="key")(keys)
        value = Dense(inner, use_bias=self.use_bias, dtype=self.dtype, name="value")(values)
        bias = None
        if self.position_bias:
            bias = self._position_bias(features.shape[1:3], queries.shape[1], sampled.points)
            bias = bias if more is None else jnp.pad(bias, ((0, 0), (0, 0), (0, 0), (0, more.shape[1])))
        query, key, value = (x.reshape(*x.shape[:2], self.num_heads, self.head_dim) for x in (query, key, value))
        y = attend(query, key, value, bias).reshape(*queries.shape[:2], inner)
        return Dense(self.out_dim, dtype=self.dtype, name="out")(y), sampled

    def _sample(self, features: jax.Array) -> Sampled:
        x = nn.LayerNorm(1e-5, self.dtype, name="offset_norm")(features) if self.normalize_features else features
        inner = self.num_heads * self.head_dim
        x = Dense(inner, use_bias=self.use_bias, dtype=self.dtype, name="offset_proj")(x)
        points = OffsetNetwork(
            self.groups, self.kernel, self.stride, self.offset_range, self.grid, self.dtype, name="offsets"
        )(x)
        keys = values = sample_points(features, points, self.sampling)  # (B, N, C)
        if self.key_position_code:
            height, width = features.shape[1:3]
            extent = jnp.array([max(width - 1.0, 1.0), max(height - 1.0, 1.0)])
            code = sine_position_code(points.mean(1) / extent, values.shape[-1])
            keys = values + code.astype(values.dtype)
        return Sampled(points, keys, values)

    def _position_bias(self, size: tuple[int, ...], tokens: int, points: jax.Array) -> jax.Array:
        """(B, M, T, N): a learned map per token and head, sampled at the points of the head's group.

        DAT's relative bias needs the position of a query, which a body token does not have; this is its counterpart
        for queries that are always the same tokens.
        """
        batch, groups = points.shape[:2]
        heads = self.num_heads // groups
        table = self.param("position_bias", nn.initializers.zeros_init(), (*size, groups * heads * tokens))
        bias = sample_points(jnp.broadcast_to(table, (batch, *table.shape)), points, self.sampling)
        bias = bias.reshape(batch, -1, groups * heads, tokens)
        return jnp.transpose(bias, (0, 2, 3, 1)).astype(self.dtype)


def sine_position_code(points: jax.Array, channels: int) -> jax.Array:
    """(B, N, 2) points in [0, 1] -> (B, N, channels) fixed sines and cosines of x and y (Carion et al. 2020)."""
    frequencies = channels // 4
    scale = 2 * jnp.pi / 10_000 ** (jnp.arange(frequencies) / frequencies)
    angles = points[..., None] * scale  # (B, N, 2, channels / 4)
    code = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).reshape(*points.shape[:-1], -1)
    return jnp.pad(code, ((0, 0), (0, 0), (0, channels - code.shape[-1])))
