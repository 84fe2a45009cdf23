"""BlazePose's network that finds people (Bazarevsky et al. 2020): a single-shot detector with a point on the hips.

Inverted residuals down to stride 32, a way back to stride 8, and at strides 8, 16 and 32 a score and six points for
every cell and anchor. The published network is MediaPipe's, Apache-2.0, for images of 224x224; every layer is a
convolution, so other multiples of 32 px are taken too.

Shapes: B batch, H and W a map, C channels, N anchors of all cells: 2254 for 224x224. All maps have the last axis for
channels.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.models.backbones.blazepose import Convolution, DepthwiseConvolution, Inverted, InvertedResidual, doubled

IMAGE_SIZE = 224
"""Side of the images that the network was trained on, px."""
ANCHORS = {8: 2, 16: 2, 32: 6}
"""Anchors of a cell, by stride. Those of a cell have the same centre, and no size."""
STAGES = (
    (Inverted(3, 64, 24), Inverted(3, 144, 24)),
    (Inverted(5, 144, 40), Inverted(5, 240, 40)),
    (Inverted(3, 240, 80), *[Inverted(3, 480, 80)] * 2, Inverted(5, 480, 112), *[Inverted(5, 672, 112)] * 2),
    (Inverted(5, 672, 192), *[Inverted(5, 1152, 192)] * 3),
)
"""Blocks at strides 4, 8, 16 and 32; the first of each halves the map."""
END = 1152
"""Channels at stride 32."""
BACK = {16: 192, 8: 96}
"""Channels of the way back, by stride."""
_RELU6 = nn.relu6


class DetectorOutput(NamedTuple):
    """What the network says of every anchor."""

    scores: jax.Array
    """(B, N) logits."""
    points: jax.Array
    """(B, N, 6, 2) px: centre and size of the face's box, and four points: middle of the hips; a point on the circle
    about it that holds the body, on the side of the head; middle of the shoulders; a point on a circle about the upper
    body. All but the size are in the image."""


class Separable(nn.Module):
    """A depth-wise convolution without activation, and one of 1x1."""

    features: int
    stride: int = 1
    relu6: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, features)."""
        y = DepthwiseConvolution(stride=self.stride, relu6=False, dtype=self.dtype, name="depthwise")(x)
        return Convolution(self.features, relu6=self.relu6, dtype=self.dtype, name="pointwise")(y)


class BlazePoseDetector(nn.Module):
    """The detector."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> DetectorOutput:
        """(B, H, W, 3) RGB in [-1, 1] -> scores and points.

        Raises:
            ValueError: the images are integers, or their sides no multiples of 32.
        """
        batch, *size, channels = image.shape
        if channels != 3 or any(side % 32 for side in size) or not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(
                f"The detector takes images (B, H, W, 3) of floats in [-1, 1], H and W multiples of 32, not "
                f"{image.shape} of {image.dtype}."
            )
        dtype = self.dtype
        x = Convolution(24, 3, 2, relu6=True, dtype=dtype, name="stem")(image)
        x = DepthwiseConvolution(dtype=dtype, name="stem_depthwise")(x)
        x = Convolution(16, dtype=dtype, name="stem_project")(x)
        maps = {}
        for stage, blocks in enumerate(STAGES):
            for i, block in enumerate(blocks):
                x = InvertedResidual(block, 1 if i else 2, dtype, name=f"stage{stage}_{i}")(x)
            maps[4 << stage] = x
        x = Convolution(END, relu6=True, dtype=dtype, name="end_expand")(x)
        x = DepthwiseConvolution(dtype=dtype, name="end_depthwise")(x)

        back = {32: x}
        for stride, features in BACK.items():
            # The file doubles before this convolution; the order does not matter, and this is a quarter of the work.
            x = _RELU6(doubled(Convolution(features, dtype=dtype, name=f"up_{stride}")(x)))
            x = x + Separable(features, relu6=True, dtype=dtype, name=f"lateral_{stride}")(maps[stride])
            for i in range(2):
                x = _RELU6(x + Separable(features, dtype=dtype, name=f"back_{stride}_{i}")(x))
            back[stride] = x

        scores, points = [], []
        for stride, count in ANCHORS.items():
            cells = _depth_to_space(back[stride])  # heads have stride 2
            scores.append(Separable(count, 2, dtype=dtype, name=f"scores_{stride}")(cells).reshape(batch, -1))
            numbers = Separable(12 * count, 2, dtype=dtype, name=f"points_{stride}")(cells)
            points.append(numbers.reshape(batch, -1, 6, 2))
        centres = jnp.asarray(anchor_centres(size[0], size[1]))[:, None] * np.array([1, 0, 1, 1, 1, 1])[:, None]
        return DetectorOutput(jnp.concatenate(scores, 1), jnp.concatenate(points, 1) + centres)


def anchor_centres(height: int, width: int) -> np.ndarray:
    """Centres of the anchors of an image, (N, 2), px: by stride, row, column and anchor."""
    centres = []
    for stride, count in ANCHORS.items():
        y, x = np.mgrid[: height // stride, : width // stride].reshape(2, -1)
        centres.append(np.repeat((np.stack([x, y], 1) + 0.5) * stride, count, 0))
    return np.concatenate(centres).astype(np.float32)


def _depth_to_space(x: jax.Array) -> jax.Array:
    """(B, H, W, 4 C) -> (B, 2 H, 2 W, C): the channels of a cell, row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, 2 * height, 2 * width, channels // 4)
