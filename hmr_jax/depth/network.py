"""Depth maps of whole images by Depth Anything in JAX: without PyTorch, in batches, on the accelerator.

    network = DepthNetwork.from_checkpoint("weights/depth_anything_v2_small")
    depth = network(image)          # (H, W) float32, larger is nearer
    maps = network.batch(images)    # images of any sizes

`python -m hmr_jax.weights.convert` makes the checkpoint.

Shapes: H, W an image.
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
        """Prepares the network; on accelerators its encoder computes in bfloat16.

        Args:
            config: of a checkpoint.
            params: of the same checkpoint.
            batch_size: images per call of the network. Batches are padded to it, so there is one compilation per size
                of images. None: 1 on a CPU and 8 elsewhere.
        """
        cpu = jax.default_backend() == "cpu"
        self.config = config
        self.batch_size = batch_size or (1 if cpu else 8)
        self.kind = "metric" if config.max_depth else "inverse"
        """Of the maps: "inverse" depth without a unit, or "metric" depth in metres."""
        self._params = jax.device_put(params)
        model = DepthAnything(config, jnp.float32 if cpu else jnp.bfloat16)
        self._step = jax.jit(lambda params, images: model.apply({"params": params}, images))

    @classmethod
    def from_checkpoint(cls, directory: str | Path, batch_size: int | None = None) -> "DepthNetwork":
        """Loads a folder that `hmr_jax.weights.convert` wrote.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            ValueError: if it holds another network, or cannot be read.
        """
        return cls(*load_depth_anything(directory), batch_size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (H, W) float32; see `kind`."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Maps of images of any sizes, in their order; images that the network takes in one size share batches.

        Raises:
            ValueError: for an image that is not uint8 (H, W, 3); the message says which.
        """
        buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(f"Image {index} is {image.dtype}{image.shape}; expected uint8 (H, W, 3), RGB.")
            buckets[network_size(image.shape[:2], self.config.size, self.config.patch_size)].append(index)
        maps: list = [None] * len(images)
        previous: tuple = ()
        for size, members in buckets.items():
            for start in range(0, len(members), self.batch_size):
                chunk = members[start : start + self.batch_size]
                inputs = np.stack([prepare(images[index], size) for index in chunk])
                inputs = np.concatenate([inputs, np.repeat(inputs[-1:], self.batch_size - len(chunk), 0)])
                result = self._step(self._params, inputs)
                self._collect(maps, images, *previous)  # while the network computes this chunk
                previous = chunk, result
        self._collect(maps, images, *previous)
        return maps

    @staticmethod
    def _collect(maps: list, images: Sequence[np.ndarray], chunk: Sequence[int] = (), result: object = ()) -> None:
        """Resizes the maps of a chunk to their images and enters them into `maps`."""
        for index, depth in zip(chunk, np.asarray(result), strict=False):
            maps[index] = resize_linear(depth, images[index].shape[:2])
