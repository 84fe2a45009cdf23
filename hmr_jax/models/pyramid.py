"""BlazePose as an encoder: the maps of several strides joined into one, and the landmarks beside it.

Shapes: B batch, h, w the joined map of C channels, M landmarks.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.models.backbones.blazepose import IMAGE_SIZE, BlazePose, BlazePoseOutput

_STRIDES = (4, 8, 16, 32)  # of BlazePose's maps


class Encoded(NamedTuple):
    """What an encoder says of crops."""

    features: jax.Array
    """(B, h, w, C)."""
    landmarks: jax.Array | None = None
    """(B, M, 8): x and y in crop coordinates, z in the same unit, visibility and presence minus 0.5, and the position
    relative to the hips' middle: metres, axes as the crop's. None where the encoder finds no landmarks."""


class BlazePoseEncoder(nn.Module):
    """A variant of BlazePose with its maps joined at one stride. Its parameters are those of `BlazePose`."""

    variant: str
    strides: tuple[int, ...] = (4, 16, 32)
    """Maps that are joined."""
    stride: int = 16
    """Of the joined map."""
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.network = BlazePose(self.variant, self.dtype)
        nn.share_scope(self, self.network)

    def __call__(self, images: jax.Array, train: bool = False) -> Encoded:
        """(B, 256, 256, 3) in [0, 1] -> map and landmarks; `train` is ignored, as nothing here is random.

        Raises:
            ValueError: there are no maps of these strides.
        """
        if not self.strides or not {*self.strides, self.stride} <= set(_STRIDES):
            raise ValueError(
                f"BlazePose's maps have strides 4, 8, 16 and 32, not {self.strides} joined at {self.stride}: change "
                "model.encoder.maps or model.encoder.map_stride."
            )
        output = self.network(images)
        maps = [_normalised(_resized(output.features[stride], stride, self.stride)) for stride in self.strides]
        return Encoded(jnp.concatenate(maps, -1), _landmarks(output))


def _resized(x: jax.Array, stride: int, wanted: int) -> jax.Array:
    """A map at another stride: mean and maximum of the cells that become one, or a cell repeated."""
    batch, height, width, channels = x.shape
    if stride < wanted:
        times = wanted // stride
        cells = x.reshape(batch, height // times, times, width // times, times, channels)
        return jnp.concatenate([cells.mean((2, 4)), cells.max((2, 4))], -1)
    times = stride // wanted
    return jnp.repeat(jnp.repeat(x, times, 1), times, 2)


def _normalised(x: jax.Array) -> jax.Array:
    """Mean 0 and variance 1 over the channels of each cell: the maps have different scales."""
    x = x.astype(jnp.float32)
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3)


def _landmarks(output: BlazePoseOutput) -> jax.Array:
    points = output.landmarks.astype(jnp.float32)
    in_crop = points[..., :3] / IMAGE_SIZE - jnp.array([0.5, 0.5, 0.0])
    return jnp.concatenate([in_crop, nn.sigmoid(points[..., 3:]) - 0.5, output.world.astype(jnp.float32)], -1)
