"""Depth maps of whole images by Depth Anything inside JAX: no PyTorch, batched, on the accelerator.

    depth = DepthNetwork.from_checkpoint("weights/depth_anything_v2_small")
    map = depth(image)              # (H, W) float32, larger is nearer
    maps = depth.batch(images)      # images of any sizes, those of one network size together

Make the checkpoint with `python -m hmr_jax.weights.convert`. Shapes: H, W an image, h, w what the network is shown.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.checkpoints.converted import load_depth_anything
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.depth.resizing import network_size, prepare, resize_linear
from hmr_jax.models.depth_anything import DepthAnything
from hmr_jax.models.parameters import Params


class DepthNetwork:
    """Depth Anything and its parameters behind one call."""

    def __init__(self, config: DepthAnythingConfig, params: Params, batch_size: int | None = None):
        """Args: config and params of a checkpoint; `batch_size` images go through the network at a time.

        Every batch is padded to that size, so there is one compilation for each size of images. By default 1 on a CPU
        and 8 elsewhere. On accelerators the encoder computes in bfloat16.
        """
        cpu = jax.default_backend() == "cpu"
        self.config = config
        self.batch_size = batch_size or (1 if cpu else 8)
        self.kind = "metric" if config.max_depth else "inverse"
        """What the maps hold: "inverse" depth without a unit, or "metric" depth in metres."""
        self._params = jax.device_put(params)
        model = DepthAnything(config, jnp.float32 if cpu else jnp.bfloat16)
        self._step = jax.jit(lambda params, images: model.apply({"params": params}, images))

    @classmethod
    def from_checkpoint(cls, directory: str | Path, batch_size: int | None = None) -> "DepthNetwork":
        """Loads a folder that `hmr_jax.weights.convert` wrote.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is of another network, or cannot be read.
        """
        return cls(*load_depth_anything(directory), batch_size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (H, W) float32; see `kind`."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Maps of images of any sizes, in their order.

        Raises:
            ValueError: for an image that is not uint8 (H, W, 3); the message says which.
        """
        buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(f"Image {index} is {image.dtype}{image.shape}; expected uint8 (H, W, 3), RGB.")
            buckets[network_size(image.shape[:2], self.config.size, self.config.patch_size)].append(index)
        maps: list = [None] * len(images)
        running: tuple = ()
        for size, members in buckets.items():
            for at in range(0, len(members), self.batch_size):
                chunk = members[at : at + self.batch_size]
                inputs = np.stack([prepare(images[index], size) for index in chunk])
                inputs = np.concatenate([inputs, np.repeat(inputs[-1:], self.batch_size - len(chunk), 0)])
                result = self._step(self._params, inputs)
                self._collect(maps, images, *running)  # while the network is busy with the next
                running = chunk, result
        self._collect(maps, images, *running)
        return maps

    @staticmethod
    def _collect(maps: list, images: Sequence[np.ndarray], chunk: Sequence[int] = (), result: object = ()) -> None:
        for index, depth in zip(chunk, np.asarray(result), strict=False):
            maps[index] = resize_linear(depth, images[index].shape[:2])
