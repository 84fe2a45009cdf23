"""ViTPose's vision transformer (Xu et al. 2022), the encoder of HMR2.0 and DeforHMR.

Shapes: B batch, H, W the image, h, w the map of patches, N = h w tokens of width D.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.ops import Dense, attend, gelu

LAYER_NORM_EPS = 1e-6


class Block(nn.Module):
    """Pre-norm transformer block."""

    dim: int
    num_heads: int
    mlp_ratio: int = 4
    attention: Literal["xla", "cudnn"] = "xla"
    dtype: Any = jnp.float32
    layer_scale: bool = False
    """Whether each branch ends with a scale per channel (LayerScale), as in DINOv2."""

    @nn.compact
    def __call__(self, x: jax.Array, drop_rate: jax.Array, train: bool) -> jax.Array:
        """(B, N, D) tokens and this block's stochastic depth rate () -> (B, N, D)."""
        batch, tokens, _ = x.shape

        def scale(y, name):
            if not self.layer_scale:
                return y
            return y * self.param(name, nn.initializers.ones_init(), (self.dim,)).astype(self.dtype)

        y = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="norm1")(x)
        qkv = Dense(3 * self.dim, dtype=self.dtype, name="qkv")(y)
        query, key, value = jnp.moveaxis(qkv.reshape(batch, tokens, 3, self.num_heads, -1), 2, 0)  # (B, N, heads, d)
        y = attend(query, key, value, backend=self.attention).reshape(batch, tokens, self.dim)
        y = Dense(self.dim, dtype=self.dtype, name="proj")(y)
        x = x + self._drop_path(scale(y, "scale1"), drop_rate, train)
        y = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="norm2")(x)
        y = Dense(self.mlp_ratio * self.dim, dtype=self.dtype, name="fc1")(y)
        y = Dense(self.dim, dtype=self.dtype, name="fc2")(gelu(y))
        return x + self._drop_path(scale(y, "scale2"), drop_rate, train)

    def _drop_path(self, y: jax.Array, rate: jax.Array, train: bool) -> jax.Array:
        """Stochastic depth (Huang et al. 2016): drops the branch for some samples."""
        if not train or not self.has_rng("dropout"):
            return y
        keep = jax.random.uniform(self.make_rng("dropout"), (len(y), 1, 1)) >= rate
        return jnp.where(keep, y / (1 - rate).astype(y.dtype), 0)


class ViT(nn.Module):
    """Images to a map of features.

    As in ViTPose the patch convolution pads by 2 pixels, and the first of the 1 + N position embeddings, once that of a
    class token, is added to every token. Blocks are scanned: their parameters have a leading axis of length `depth`,
    unless they come from `unstack_blocks`.
    """

    dim: int
    depth: int
    num_heads: int
    image_size: tuple[int, int] = (256, 192)
    patch_size: int = 16
    mlp_ratio: int = 4
    drop_path: float = 0.0
    remat: bool = False
    attention: Literal["xla", "cudnn"] = "xla"
    dtype: Any = jnp.float32
    unroll: bool = False
    """Whether to unroll the scan over the blocks: slower to compile, faster on CPUs."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, 3) images, normalised by ImageNet's statistics -> (B, h, w, D) features.

        Images of other sizes than `image_size` are possible: the position embedding is resized to their map.
        """
        patch = self.patch_size
        x = nn.Conv(self.dim, (patch, patch), patch, ((2, 2), (2, 2)), dtype=self.dtype, name="patch_embed")(images)
        batch, height, width, _ = x.shape
        grid = patch_grid(self.image_size, patch)
        embedding = self.param("pos_embed", nn.initializers.truncated_normal(0.02), (1 + grid[0] * grid[1], self.dim))
        position = resize_position_embedding(embedding, grid, (height, width))
        x = x.reshape(batch, height * width, self.dim) + (position[1:] + position[:1]).astype(x.dtype)

        rates = jnp.linspace(0.0, self.drop_path, self.depth)
        settings = (self.dim, self.num_heads, self.mlp_ratio, self.attention, self.dtype)
        if self.has_variable("params", _block_name(0)):
            for layer in range(self.depth):
                x = Block(*settings, name=_block_name(layer))(x, rates[layer], train)
        else:
            x = self._scan(settings, x, rates, train and self.drop_path > 0)
        x = nn.LayerNorm(LAYER_NORM_EPS, self.dtype, name="norm")(x)
        return x.reshape(batch, height, width, self.dim)

    def _scan(self, settings: tuple, x: jax.Array, rates: jax.Array, train: bool) -> jax.Array:
        """(B, N, D) tokens through all blocks, whose parameters are stacked."""
        block = Block
        if self.remat:
            block = nn.remat(Block, prevent_cse=False, static_argnums=(3,))
        blocks = nn.scan(
            _Scanned,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=self.depth,
            unroll=self.depth if self.unroll else 1,
        )
        return blocks(block, *settings, name="blocks")(x, rates, train)[0]


class _Scanned(nn.Module):
    """A block, possibly rematerialised, with the (carry, output) signature of a scan."""

    block: Any
    dim: int
    num_heads: int
    mlp_ratio: int
    attention: Literal["xla", "cudnn"]
    dtype: Any

    @nn.compact
    def __call__(self, x, rate, train):
        block = self.block(self.dim, self.num_heads, self.mlp_ratio, self.attention, self.dtype, name="block")
        return block(x, rate, train), None


def _block_name(layer: int) -> str:
    return f"block_{layer}"


def arrange_for_inference(params: Any) -> Any:
    """Arranges a network's parameters, a tree of NumPy arrays, for the fastest inference on this machine.

    On CPUs XLA copies each layer out of the stack before it multiplies, so there the blocks are unstacked.
    """
    return unstack_blocks(params) if jax.default_backend() == "cpu" else params


def unstack_blocks(params: Any) -> Any:
    """Unstacks the blocks of every ViT in a tree of parameters; the parameters of single blocks are views."""
    if not isinstance(params, dict):
        return params
    unstacked = {name: unstack_blocks(part) for name, part in params.items()}
    if {"patch_embed", "pos_embed", "blocks"} <= set(params):
        stack = unstacked.pop("blocks")["block"]
        depth = len(jax.tree.leaves(stack)[0])
        unstacked |= {_block_name(i): jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(depth)}
    return unstacked


def patch_grid(image_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Height and width of the map of patches; raises ValueError if the image does not divide into patches."""
    height, width = image_size
    if height % patch_size or width % patch_size:
        raise ValueError(f"image_size {image_size} must be divisible by the patch size {patch_size}.")
    return height // patch_size, width // patch_size


def resize_position_embedding(embedding: jax.Array, source: tuple[int, int], target: tuple[int, int]) -> jax.Array:
    """(1 + h w, D) position embedding of a source grid -> that of a target grid, bicubic; the first row is kept."""
    if source == target:
        return embedding
    first, rest = embedding[:1], embedding[1:].reshape(*source, -1)
    resized = jax.image.resize(rest, (*target, rest.shape[-1]), "bicubic")
    return jnp.concatenate([first, resized.reshape(target[0] * target[1], -1)])
