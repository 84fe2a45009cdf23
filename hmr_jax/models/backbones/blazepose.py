"""BlazePose GHUM's network of body landmarks (Bazarevsky et al. 2020, Grishchenko et al. 2022): lite, full and heavy.

An encoder of inverted residuals (Sandler et al. 2018) with a path back to stride 4, from which heat maps and a mask are
read, and a second encoder, from which the landmarks are read. The published networks are by MediaPipe, Apache-2.0.

Shapes: B batch, H and W a map, C channels. All maps have the last axis for channels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.ops.depthwise import depthwise_convolution
from hmr_jax.ops.stem import stem_convolution

IMAGE_SIZE = 256
"""Side of the input, px."""
NUM_LANDMARKS = 39
"""33 landmarks of the body and 6 that only place the next crop."""
SHOULDERS, HIPS = (11, 12), (23, 24)
"""Numbers of landmarks, left and right."""
_RELU6 = nn.relu6


class Inverted(NamedTuple):
    """An inverted residual: to `hidden` channels, a depth-wise convolution, to `features` channels."""

    kernel: int
    hidden: int
    features: int


@dataclass(frozen=True)
class BlazePoseSizes:
    """What distinguishes the variants."""

    stem: int
    """Channels at stride 2."""
    stages: tuple[tuple[Inverted, ...], ...]
    """Blocks at strides 4, 8, 16 and 32; the first of each halves the map."""
    pyramid: int
    """Channels of the way back to stride 4."""
    residual_skip: bool
    """Whether a residual block leads from stride 2 to the mask, in place of a separable convolution."""
    second: tuple[tuple[int, int], ...]
    """The second encoder, at strides 8, 16 and 32: channels and residual blocks. Without it: the first one's end."""
    landmarks: tuple[int, int]
    """Residual blocks at strides 64 and 128."""
    width: int
    """Channels of the landmarks' blocks, from stride 32 on."""


SIZES = {
    "lite": BlazePoseSizes(
        8,
        (
            (Inverted(3, 32, 16), Inverted(3, 96, 16)),
            (Inverted(5, 96, 24), Inverted(5, 144, 24)),
            (
                Inverted(3, 144, 40), *[Inverted(3, 240, 40)] * 2, Inverted(5, 240, 56), *[Inverted(5, 336, 56)] * 2,
            ),
            (Inverted(5, 336, 96), *[Inverted(5, 576, 96)] * 3),
        ),
        32, True, (), (2, 3), 192,
    ),
    "full": BlazePoseSizes(
        16,
        (
            (Inverted(3, 64, 24), Inverted(3, 144, 24)),
            (Inverted(5, 144, 32), Inverted(5, 192, 32)),
            (
                Inverted(3, 192, 64), *[Inverted(3, 384, 64)] * 2, Inverted(5, 384, 88), *[Inverted(5, 528, 88)] * 2,
            ),
            (Inverted(5, 528, 144), *[Inverted(5, 864, 144)] * 3),
        ),
        48, False, (), (4, 5), 288,
    ),
    "heavy": BlazePoseSizes(
        24,
        (
            (Inverted(3, 96, 32), Inverted(3, 128, 32), *[Inverted(3, 192, 32)] * 2),
            (Inverted(5, 192, 56), *[Inverted(5, 336, 56)] * 3),
            (
                Inverted(3, 336, 112), *[Inverted(3, 672, 112)] * 5, Inverted(5, 672, 160),
                *[Inverted(5, 960, 160)] * 5,
            ),
            (Inverted(5, 960, 272), *[Inverted(5, 1632, 272)] * 7),
        ),
        48, False, ((96, 6), (192, 7), (288, 7)), (7, 7), 288,
    ),
}  # fmt: skip


class BlazePoseOutput(NamedTuple):
    """What the network finds. N is 39: `NUM_LANDMARKS`."""

    landmarks: jax.Array
    """(B, N, 5) x and y, px of the input; depth z in the same unit; logits of visibility and of presence."""
    world: jax.Array
    """(B, N, 3) metres, origin between the hips, axes as the image's."""
    presence: jax.Array
    """(B,) probability that the image shows a person."""
    heat_maps: jax.Array
    """(B, 64, 64, N) logits."""
    mask: jax.Array
    """(B, 256, 256) logits of the person's pixels."""
    features: dict[int, jax.Array]
    """Maps of the first encoder and its way back, by stride: 4, 8, 16 (joined) and 32."""
    second: dict[int, jax.Array]
    """Maps of the second encoder, by stride: 8, 16 and 32, or 32 alone where the variant has none."""


class Convolution(nn.Module):
    """A convolution with bias; zeros around the map as given, and ReLU6 where `relu6`."""

    features: int
    kernel: int = 1
    stride: int = 1
    relu6: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, features)."""
        halves = self.kernel == 3 and self.stride == 2
        x = nn.Conv(
            self.features, (self.kernel,) * 2, self.stride, self.kernel // 2, dtype=self.dtype, name="conv",
            conv_general_dilated=stem_convolution if halves else None,
        )(x)  # fmt: skip
        return _RELU6(x) if self.relu6 else x


class DepthwiseConvolution(nn.Module):
    """A convolution of each channel with bias, then ReLU6. `late` moves a stride's grid by one cell, as "SAME" does."""

    kernel: int = 3
    stride: int = 1
    late: bool = False
    relu6: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, C)."""
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        x, pad = x.astype(self.dtype), self.kernel // 2
        if self.late:
            x, pad = jnp.pad(x, ((0, 0), (pad - 1, pad), (pad - 1, pad), (0, 0))), 0
        y = depthwise_convolution(x[..., None, :], kernel.astype(self.dtype), self.stride, pad)
        y = y[..., 0, :] + bias.astype(self.dtype)
        return _RELU6(y) if self.relu6 else y


class Separable(nn.Module):
    """A depth-wise convolution and one of 1x1."""

    features: int
    relu6: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, features)."""
        y = DepthwiseConvolution(dtype=self.dtype, name="depthwise")(x)
        return Convolution(self.features, relu6=self.relu6, dtype=self.dtype, name="pointwise")(y)


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and projection, with a shortcut where the shape stays."""

    sizes: Inverted
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, features)."""
        kernel, hidden, features = self.sizes
        y = Convolution(hidden, relu6=True, dtype=self.dtype, name="expand")(x)
        y = DepthwiseConvolution(kernel, self.stride, dtype=self.dtype, name="depthwise")(y)
        y = Convolution(features, dtype=self.dtype, name="project")(y)
        return y + x if self.stride == 1 and x.shape == y.shape else y


class Residual(nn.Module):
    """A separable convolution with a shortcut; with stride 2 the shortcut is the maximum, filled up with zeros."""

    features: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, features), not less than 0 and at most 6."""
        halved = self.stride == 2
        y = DepthwiseConvolution(stride=self.stride, late=halved, dtype=self.dtype, name="depthwise")(x)
        y = Convolution(self.features, dtype=self.dtype, name="pointwise")(y)
        if halved:
            x = nn.max_pool(x, (2, 2), (2, 2))
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
        return _RELU6(x + y)


class BlazePose(nn.Module):
    """The network of one variant of `SIZES`."""

    variant: str = "full"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> BlazePoseOutput:
        """(B, 256, 256, 3) RGB in [0, 1] -> what the network finds.

        Raises:
            ValueError: the images have another shape or are integers, or the variant is not known.
        """
        if self.variant not in SIZES:
            raise ValueError(f"BlazePose has no variant '{self.variant}': choose {', '.join(SIZES)}.")
        if image.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(
                f"BlazePose takes images (B, {IMAGE_SIZE}, {IMAGE_SIZE}, 3) of floats in [0, 1], not {image.shape} of "
                f"{image.dtype}: resize them, and divide bytes by 255."
            )
        sizes, dtype = SIZES[self.variant], self.dtype
        x = Convolution(24, 3, 2, relu6=True, dtype=dtype, name="stem")(image)
        x = DepthwiseConvolution(dtype=dtype, name="stem_depthwise")(x)
        maps = {2: Convolution(sizes.stem, dtype=dtype, name="stem_project")(x)}
        for stage, blocks in enumerate(sizes.stages):
            x = maps[2 << stage]
            for i, block in enumerate(blocks):
                x = InvertedResidual(block, 1 if i else 2, dtype, name=f"stage{stage}_{i}")(x)
            maps[4 << stage] = x
        end = Convolution(sizes.stages[-1][-1].hidden, relu6=True, dtype=dtype, name="end_expand")(maps[32])
        end = DepthwiseConvolution(dtype=dtype, name="end_depthwise")(end)

        back = {32: Separable(sizes.pyramid, dtype=dtype, name="lateral_32")(end)}
        for stride in (16, 8, 4):
            side = Separable(sizes.pyramid, dtype=dtype, name=f"lateral_{stride}")(maps[stride])
            back[stride] = doubled(back[2 * stride]) + side
        heat_maps = Convolution(NUM_LANDMARKS, dtype=dtype, name="heat_maps")(back[4])
        mask = self._mask(back[4], maps[2])

        seconds = self._second(back[4], maps, end)
        second = seconds[32]
        for stage, count in enumerate(sizes.landmarks):
            second = Residual(sizes.width, 2, dtype, name=f"landmarks{stage}_down")(second)
            for i in range(count):
                second = Residual(sizes.width, dtype=dtype, name=f"landmarks{stage}_{i}")(second)
        flat = second.reshape(second.shape[0], -1)  # (B, 2 * 2 * width)
        landmarks = nn.Dense(5 * NUM_LANDMARKS, dtype=dtype, name="landmarks")(flat)
        world = nn.Dense(3 * NUM_LANDMARKS, dtype=dtype, name="world")(flat)
        presence = nn.sigmoid(nn.Dense(1, dtype=dtype, name="presence")(flat))
        return BlazePoseOutput(
            landmarks.reshape(-1, NUM_LANDMARKS, 5),
            world.reshape(-1, NUM_LANDMARKS, 3),
            presence[:, 0],
            heat_maps,
            mask,
            {4: back[4], 8: back[8], 16: jnp.concatenate([maps[16], back[16]], -1), 32: maps[32]},
            seconds,
        )

    def _mask(self, x: jax.Array, fine: jax.Array) -> jax.Array:
        """(B, 64, 64, C) and the map at stride 2 -> (B, 256, 256) logits."""
        sizes, dtype = SIZES[self.variant], self.dtype
        x = doubled(Separable(8, dtype=dtype, name="mask")(x))
        side = Residual if sizes.residual_skip else Separable
        x = x + side(8, dtype=dtype, name="lateral_2")(fine)
        for level in range(2):
            for i in range(2):
                x = Residual(8, dtype=dtype, name=f"mask{level}_{i}")(x)
            x = doubled(x) if level == 0 else x
        return Convolution(1, 3, dtype=dtype, name="mask_end")(x)[..., 0]

    def _second(self, x: jax.Array, maps: dict[int, jax.Array], end: jax.Array) -> dict[int, jax.Array]:
        """The second encoder: (B, 64, 64, C) and the first one's maps -> maps by stride; at 32 (B, 8, 8, width)."""
        sizes, dtype = SIZES[self.variant], self.dtype
        if not sizes.second:
            return {32: Separable(sizes.width, dtype=dtype, name="side_32")(end)}
        seconds = {}
        for stage, (features, blocks) in enumerate(sizes.second):
            stride = 8 << stage
            x = Residual(features, 2, dtype, name=f"second{stage}_down")(x)
            for i in range(blocks):
                x = Residual(features, dtype=dtype, name=f"second{stage}_{i}")(x)
            side = end if stride == 32 else maps[stride]
            x = seconds[stride] = x + Separable(features, dtype=dtype, name=f"side_{stride}")(side)
        return seconds


def doubled(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, 2 H, 2 W, C), bilinear between the centres of cells."""
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), "linear")
