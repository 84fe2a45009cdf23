"""The first convolution of small networks: from the three channels of an image to a map of half its size.

Shapes: B batch, H and W the image, C its channels, F features.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hmr_jax.ops.cpu import is_plain, is_portable


def stem_convolution(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated`, for `flax.linen.Conv`, of 3x3 cells with stride 2 and a border of 1.

    Args:
        x: (B, H, W, C), H and W even.
        kernel: (3, 3, C, F).
        strides: see above.
        padding: see above.
        options: of `conv_general_dilated`.

    Returns:
        (B, H / 2, W / 2, F).
    """

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    if is_plain() or is_portable():
        return convolve(x, kernel)
    # On CPUs XLA's convolution takes four to seven times as long for so few channels.
    return jax.lax.platform_dependent(x, kernel, cpu=_by_cells, default=convolve)


def _by_cells(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """One product of matrices: each result sees 2x2 cells of 2x2 px, of which the kernel leaves out the last px."""
    batch, height, width, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cells = padded.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    cells = cells.reshape(batch, height // 2 + 1, width // 2 + 1, 4 * channels)
    seen = [cells[:, i : i + height // 2, j : j + width // 2] for i in range(2) for j in range(2)]
    weights = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))).reshape(2, 2, 2, 2, channels, -1)
    return jnp.concatenate(seen, -1) @ weights.transpose(0, 2, 1, 3, 4, 5).reshape(16 * channels, -1)
