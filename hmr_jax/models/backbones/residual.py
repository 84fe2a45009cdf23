"""Layers of ResNet and HRNet: convolution with batch normalisation, and the two residual blocks (He et al. 2016).

Shapes: B batch, H, W the map, C channels.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

EXPANSION = 4  # a bottleneck's output is this many times its width
MOMENTUM = 0.9  # of the running statistics; 1 - 0.1, where 0.1 is what PyTorch calls the momentum
EPSILON = 1e-5


def he_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """He's initialisation by the fan out, as in torchvision, drawn as one vector.

    The numbers equal those of a draw of this shape, but the program compiles four times faster on CPUs, where the
    hundreds of kernels of an HRNet would otherwise take minutes.
    """
    scale = np.sqrt(2 / (np.prod(shape[:-2]) * shape[-1]))
    return scale * jax.random.normal(key, (int(np.prod(shape)),), dtype).reshape(shape)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, with `relu`, ReLU.

    Padding is half the kernel on every side for all strides, as in the PyTorch models. In training the statistics are
    those of the batch, over all devices if it is sharded, and the running ones ("batch_stats") are updated.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    relu: bool = True
    bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, features), sides rounded up."""
        x = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            self.stride,
            self.kernel // 2,
            use_bias=self.bias,
            dtype=self.dtype,
            kernel_init=he_normal,
            name="conv",
        )(x)
        norm = nn.BatchNorm(not train, momentum=MOMENTUM, epsilon=EPSILON, dtype=self.dtype, name="norm")
        x = norm(x)
        return nn.relu(x) if self.relu else x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an identity shortcut."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, features) -> (B, H, W, features)."""
        y = ConvNorm(self.features, dtype=self.dtype, name="conv1")(x, train)
        y = ConvNorm(self.features, relu=False, dtype=self.dtype, name="conv2")(y, train)
        return nn.relu(y + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with an identity shortcut, or a 1x1 convolution where the shape changes.

    The stride is on the 3x3 convolution, as in torchvision ("ResNet v1.5").
    """

    width: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, C) -> (B, H / stride, W / stride, EXPANSION width)."""
        features = EXPANSION * self.width
        y = ConvNorm(self.width, 1, dtype=self.dtype, name="conv1")(x, train)
        y = ConvNorm(self.width, 3, self.stride, dtype=self.dtype, name="conv2")(y, train)
        y = ConvNorm(features, 1, relu=False, dtype=self.dtype, name="conv3")(y, train)
        if self.stride != 1 or x.shape[-1] != features:
            x = ConvNorm(features, 1, self.stride, relu=False, dtype=self.dtype, name="downsample")(x, train)
        return nn.relu(y + x)
