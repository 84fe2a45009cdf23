"""The batch and the prediction: the only contract between data, models and training.

A batch is a plain dict of NumPy arrays with a leading batch axis B. Geometry is in camera axes (x right, y down,
z forward), metres; 2-D points are in crop coordinates, where the crop spans [-0.5, 0.5] in x and y.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Batch = Mapping[str, Any]  # of arrays: NumPy's on the host, JAX's inside a step

# name: (shape without B, dtype). Sides in px: "S" of the square crop, "D" of dense targets, "P" of stored images;
# of features: "h" and "w" of the map, "C" channels, "M" landmarks.
REQUIRED: dict[str, tuple[tuple[int | str, ...], str]] = {
    "image": (("S", "S", 3), "uint8"),  # RGB
    "keypoints_2d": ((44, 3), "float32"),  # x, y in crop coordinates, confidence (0 = absent)
    "keypoints_3d": ((44, 4), "float32"),  # metres, confidence
    "pose": ((24, 3), "float32"),  # axis-angle; row 0 is global_orient in camera axes
    "betas": ((10,), "float32"),
    "has_pose": ((), "float32"),
    "has_betas": ((), "float32"),
    "valid": ((), "float32"),  # 0 for the padding of a last batch
    "index": ((), "int64"),  # number of the example in its stream, for messages
}
OPTIONAL: dict[str, tuple[tuple[int | str, ...], str]] = {
    "mask": (("D", "D"), "uint8"),  # 1 on the person
    "depth": (("D", "D"), "float32"),  # metres minus the pelvis's depth, 0 off the person
    "parts": (("D", "D"), "uint8"),  # 0 background, 1 + SMPL joint that owns the nearest surface
    "has_mask": ((), "float32"),
    "has_depth": ((), "float32"),
    "has_parts": ((), "float32"),
    "pseudo_depth": (("S", "S"), "uint8"),  # of the crop, inverse: near = 255, 0 = far or missing
    "has_pseudo_depth": ((), "float32"),
    "stored": (("P", "P", 3), "uint8"),  # instead of "image": crops are cut from it on the device, see STORED
    "stored_affine": ((2, 3), "float32"),  # from px of the crop to px of "stored"
    "stored_gain": ((3,), "float32"),  # of each channel
    "crop_size": ((), "int32"),  # S
    "features": (("h", "w", "C"), "float16"),  # instead of "image": of a frozen encoder, see training.feature_cache
    "landmarks": (("M", 8), "float32"),  # with "features": see models.pyramid.Encoded
    "box_center": ((2,), "float32"),  # of the crop, px of the source image
    "box_size": ((), "float32"),  # side of the crop, px of the source image
    "box_extent": ((2,), "float32"),  # width, height of the box before it became the crop's square, px; 0: unknown
    "image_size": ((2,), "float32"),  # width, height of the source image, px
    "intrinsics": ((3, 3), "float32"),  # of the source image, px
    "dataset": ((), "int32"),  # number of the data set in the mixture: losses are also logged one by one
    "gender": ((), "int32"),  # of the labelled body: 0 neutral, 1 male, 2 female
    "natural_pose": ((23, 3), "float32"),  # of another, natural body, for the adversarial prior; axis-angle
    "natural_betas": ((10,), "float32"),
}

MAPS = ("image", "pseudo_depth", "mask", "depth", "parts")
"""Entries with the rows and columns of the crop, or of a coarser grid over it."""
STORED = ("stored", "stored_affine", "stored_gain", "crop_size")
"""What the host sends instead of "image" with data.warp = "device"; `distributed.to_global` cuts the crops from it."""


class BatchSource(Protocol):
    """Batches as a pure function of the step: a call with a step returns the batches from that step on."""

    def __call__(self, step: int) -> Iterator[Batch]: ...


def zeros(
    batch_size: int, crop_size: int, optional: tuple[str, ...] = (), dense_size: int = 0
) -> dict[str, np.ndarray]:
    """An all-zero batch, for initialising a model and for tests."""
    sides = {"S": crop_size, "D": dense_size}
    schema = REQUIRED | {name: OPTIONAL[name] for name in optional}
    return {name: np.zeros((batch_size, *resolve(shape, sides)), dtype) for name, (shape, dtype) in schema.items()}


def resolve(shape: tuple[int | str, ...], sides: Mapping[str, int]) -> tuple[int, ...]:
    """Replaces the letters in a shape of the tables above by lengths; -1 for an unknown letter."""
    return tuple(sides.get(side, -1) if isinstance(side, str) else side for side in shape)


def check(batch: Batch) -> None:
    """Raises ValueError, which names the key, if a batch breaks the contract."""
    schema = REQUIRED | OPTIONAL
    for name in REQUIRED:
        if name not in batch and not (name == "image" and ("stored" in batch or "features" in batch)):
            raise ValueError(f"The batch has no '{name}'; it must hold {', '.join(REQUIRED)}.")
    size = len(batch["index"])
    sides: dict[str, int] = {"S": batch["image"].shape[1]} if "image" in batch else {}
    for name, array in batch.items():
        if name not in schema:
            raise ValueError(f"The batch holds '{name}', which is not part of the contract in hmr_jax/batch.py.")
        shape, dtype = schema[name]
        for axis, side in enumerate(shape, 1):
            if isinstance(side, str) and array.ndim > axis:
                sides.setdefault(side, array.shape[axis])
        expected = (size, *resolve(shape, sides))
        if array.shape != expected or array.dtype != dtype:
            raise ValueError(f"'{name}' of the batch is {array.dtype}{array.shape}; expected {dtype}{expected}.")


@struct.dataclass
class Distribution:
    """Mean and scale of the density of each point's position. Pelvis-relative, camera axes, metres.

    Shapes: B batch, T points.
    """

    mean: jax.Array
    """(B, T, 3)."""
    scale: jax.Array
    """(B, T, 3) along x, y and z, positive."""


@struct.dataclass
class Prediction:
    """A model's output for a batch; fields that a model does not predict are None.

    Camera axes, metres. `geometry.crop_translation(camera)` is the translation of the body in the crop's virtual
    camera; vertices, joints and keypoints_3d are without it.

    Shapes: B batch, J joints, V vertices, C coarse vertices, L layers, G groups of channels, N sampling points, h, w
    a map.
    """

    global_orient: jax.Array | None
    """(B, 1, 3, 3) rotation from the body's axes to the camera's. This field, `body_pose` and `betas` are None while a
    model that predicts vertices is trained; in prediction `body.parameters_from_vertices` computes them."""
    body_pose: jax.Array | None
    """(B, 23, 3, 3) rotations relative to the parent joint."""
    betas: jax.Array | None
    """(B, 10)."""
    camera: jax.Array
    """(B, 3) weak-perspective scale s and shift tx, ty."""
    joints: jax.Array
    """(B, J, 3)."""
    keypoints_3d: jax.Array
    """(B, 44, 3)."""
    keypoints_2d: jax.Array
    """(B, 44, 2) in crop coordinates."""
    vertices: jax.Array | None = None
    """(B, V, 3)."""
    coarse_vertices: jax.Array | None = None
    """(B, C, 3) of `body.CoarseMesh`; a model that predicts vertices computes all others from these."""
    sigma: jax.Array | None = None
    """(B, 44) predicted error of each keypoint, metres: the norm of its scale along x, y and z."""
    silhouette: jax.Array | None = None
    """(B, h, w) probability of the person over what the encoder sees of the crop: its full height, centre columns."""
    silhouette_logits: jax.Array | None = None
    """(B, h, w) before the sigmoid, for the loss."""
    sampling_points: jax.Array | None = None
    """(B, L, G, N, 2) where each layer's channel groups sample, in crop coordinates."""
    dense: dict[str, jax.Array] | None = None
    """Maps of `models.heads.DenseHead`, in training with `ModelConfig.dense_targets`."""
    gates: jax.Array | None = None
    """(B, L, h, w, 3) shares of image, depth-attended image and depth in each block's fusion, per token."""
    distribution: Distribution | None = None
    """Input of the residual log-likelihood loss."""

    @property
    def rotations(self) -> jax.Array:
        """(B, 24, 3, 3) `global_orient` and `body_pose`; raises ValueError if they are None."""
        if self.global_orient is None or self.body_pose is None:
            raise ValueError("This prediction is a mesh without body parameters.")
        return jnp.concatenate([self.global_orient, self.body_pose], 1)
