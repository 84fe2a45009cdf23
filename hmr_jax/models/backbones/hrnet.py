"""HRNet for classification (Wang et al. 2020), W40 and W64, as in timm, without pooling and classifier.

Branches at strides 4, 8, 16 and 32 run side by side, each twice as wide as the one before, and exchange their features
after every module; the neck joins them at stride 32.

Shapes: B batch, H, W the image, h = H / 32, w = W / 32, C channels.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.models.backbones.residual import BasicBlock, Bottleneck, ConvNorm

MODULES = {2: 1, 3: 4, 4: 3}
"""Exchanges in each stage; stage s has s branches."""
BLOCKS = 4
"""Residual blocks of a branch between two exchanges."""
NECK_WIDTHS = (32, 64, 128, 256)
FEATURES = 2048


class HRNet(nn.Module):
    """Images to a map of 2048 features; running statistics are in the collection "batch_stats".

    Repeated parts are scanned, so that they are compiled once: parameters of stages have an axis of exchanges, those
    of their residual blocks a second one.
    """

    width: int = 64
    """Channels of the finest branch: 40 or 64 for the published weights."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, 3) images, normalised by ImageNet's statistics -> (B, h, w, 2048).

        Raises:
            ValueError: if H or W is not a multiple of 32.
        """
        if images.shape[1] % 32 or images.shape[2] % 32:
            raise ValueError(f"HRNet takes images of multiples of 32 pixels, not {images.shape[1]}x{images.shape[2]}.")
        dtype = self.dtype
        x = ConvNorm(64, 3, 2, dtype=dtype, name="conv1")(images, train)
        x = ConvNorm(64, 3, 2, dtype=dtype, name="conv2")(x, train)
        for i in range(4):
            x = Bottleneck(64, dtype=dtype, name=f"layer1_{i}")(x, train)

        branches = [ConvNorm(self.width, dtype=dtype, name="transition1_0")(x, train)]
        for stage, modules in MODULES.items():
            # A new branch starts from the coarsest one so far, that of stage 2 from the stem.
            source = x if stage == 2 else branches[-1]
            width, name = self.width * 2 ** (stage - 1), f"transition{stage - 1}_{stage - 1}"
            branches.append(ConvNorm(width, 3, 2, dtype=dtype, name=name)(source, train))
            exchanges = _repeat(Exchange, modules)(dtype, name=f"stage{stage}")
            branches, _ = exchanges(branches, train)

        wide = [
            Bottleneck(width, dtype=dtype, name=f"incre_{i}")(branch, train)
            for i, (width, branch) in enumerate(zip(NECK_WIDTHS, branches, strict=True))
        ]
        x = wide[0]
        for i, coarser in enumerate(wide[1:]):
            x = coarser + ConvNorm(coarser.shape[-1], 3, 2, bias=True, dtype=dtype, name=f"downsample_{i}")(x, train)
        return ConvNorm(FEATURES, 1, bias=True, dtype=dtype, name="final")(x, train)


class Exchange(nn.Module):
    """Residual blocks in every branch; then every branch receives the sum of all, resized to its size and width."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, branches: list[jax.Array], train: bool) -> tuple[list[jax.Array], None]:
        """Maps (B, H / 4 / 2^i, W / 4 / 2^i, width 2^i) of branches i -> maps of the same shapes, and None."""
        outputs = []
        for i, x in enumerate(branches):
            blocks = _repeat(_ScannedBlock, BLOCKS)(x.shape[-1], self.dtype, name=f"branch{i}")
            outputs.append(blocks(x, train)[0])
        return [self._receive(i, outputs, train) for i in range(len(outputs))], None

    def _receive(self, i: int, branches: list[jax.Array], train: bool) -> jax.Array:
        """The sum of all branches for branch i."""
        total = branches[i]
        for j, x in enumerate(branches):
            if j > i:
                x = ConvNorm(total.shape[-1], 1, relu=False, dtype=self.dtype, name=f"fuse{i}_{j}")(x, train)
                total = total + _enlarge(x, 2 ** (j - i))
            elif j < i:
                for step in range(i - j):
                    last = step == i - j - 1
                    width = total.shape[-1] if last else x.shape[-1]
                    name = f"fuse{i}_{j}_{step}"
                    x = ConvNorm(width, 3, 2, relu=not last, dtype=self.dtype, name=name)(x, train)
                total = total + x
        return nn.relu(total)


class _ScannedBlock(nn.Module):
    """Gives a residual block the (carry, output) signature of a scan."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        return BasicBlock(self.features, self.dtype, name="block")(x, train), None


def _repeat(module: Any, length: int) -> Any:
    """A module applied `length` times in sequence, each time with its own parameters."""
    axes: Any = {"params": 0, "batch_stats": 0}
    return nn.scan(module, variable_axes=axes, split_rngs={"params": True}, in_axes=nn.broadcast, length=length)


def _enlarge(x: jax.Array, factor: int) -> jax.Array:
    """(B, H, W, C) -> (B, factor H, factor W, C), nearest neighbour."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return x.reshape(batch, height * factor, width * factor, channels)
