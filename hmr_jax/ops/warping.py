"""Cut crops out of stored images on the device, to relieve the host.

Shapes: B batch, P side of the padded images, S side of the crops.
"""

import jax
import jax.numpy as jnp

from hmr_jax.ops.sampling import sample_points


def warp_images(stored: jax.Array, affine: jax.Array, gain: jax.Array, size: int) -> jax.Array:
    """Samples images bilinearly under affine maps and changes the gain of their channels.

    The host's kernel (`data_pipelines.loading.crops.warp`) rounds positions and weights more coarsely; the results of
    both agree within two grey levels.

    Args:
        stored: (B, P, P, 3) uint8, black beyond the image.
        affine: (B, 2, 3) from px of the crop to px of the image; integers are pixel centres.
        gain: (B, 3) factor of each channel.
        size: S.

    Returns:
        (B, S, S, 3) uint8, black outside.
    """
    columns, rows = jnp.meshgrid(jnp.arange(size, dtype=jnp.float32), jnp.arange(size, dtype=jnp.float32))
    grid = jnp.stack([columns.ravel(), rows.ravel(), jnp.ones(size * size)])  # (3, S * S)
    points = jnp.einsum("bij,jn->bni", affine, grid, precision="highest")  # (B, S * S, 2)
    # A crop has as many points as pixels, so weights for all of them would not fit: gather.
    sampled = jnp.rint(sample_points(stored.astype(jnp.float32), points, method="gather"))
    pixels = jnp.clip(jnp.rint(sampled * gain[:, None]), 0, 255).astype(jnp.uint8)
    return pixels.reshape(len(stored), size, size, 3)
