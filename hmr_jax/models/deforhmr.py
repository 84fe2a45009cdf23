"""DeforHMR (Heo et al. 2025) and, by configuration, HMR2.0 (Goel et al. 2023): encoder, decoder, heads and body.

Shapes: B batch, S crop side, V vertices.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.batch import Batch, Distribution, Prediction
from hmr_jax.body import BodyModel, joint_set_matrix, skin
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import EncoderConfig, ModelConfig
from hmr_jax.geometry import NOMINAL_CROP, crop_translation, project
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.encoders import encode
from hmr_jax.models.flow import RealNVP
from hmr_jax.models.heads import MULTI_TOKENS, DenseHead, KeypointScale, SMPLHead


def dense_size(config: EncoderConfig) -> int:
    """Side of the dense maps: four cells for each patch of 16 pixels."""
    return config.image_size[0] // 4


class DeforHMR(nn.Module):
    """Predicts posed bodies from crops."""

    config: ModelConfig
    body: BodyModel
    dtype: Any = jnp.float32
    unroll: bool = False
    """See `ViT.unroll`."""

    @nn.compact
    def __call__(
        self, batch: Batch, train: bool = False, vertices: bool | None = None, frozen: tuple[str, ...] = ()
    ) -> Prediction:
        """Predicts from images alone.

        Args:
            batch: "image" (B, S, S, 3) uint8, or what `encode` takes in its place; the rest is not read.
            train: dropout and stochastic depth on.
            vertices: whether to skin the whole mesh; by default not in training, where only keypoints have losses.
            frozen: groups that are not trained; a frozen encoder is run as in prediction.
        """
        config = self.config
        features, landmarks = encode(batch, config, self.dtype, self.unroll, train and "encoder" not in frozen)
        num_tokens = MULTI_TOKENS if config.decoder.queries == "multi" else 1
        tokens, points = Decoder(config.decoder, num_tokens, self.dtype, name="decoder")(
            features, landmarks if config.decoder.landmarks else None, train
        )
        rotations, betas, camera = SMPLHead(name="head")(tokens)
        if points is not None:
            points = _map_to_crop(points, features.shape[1:3], config.encoder)
        dense = None
        if config.dense_targets and (train or self.is_initializing()):
            dense = DenseHead(dense_size(config.encoder), self.dtype, name="dense")(features)
        with_vertices = not train if vertices is None else vertices
        prediction = pose_body(self.body, rotations, betas, camera, config.focal_length, with_vertices)
        if config.uncertainty:
            prediction = with_scale(prediction, KeypointScale(name="scale")(tokens))
            init_flow(self)
        return dataclasses.replace(prediction, sampling_points=points, dense=dense)


class DensePretraining(nn.Module):
    """The encoder with dense heads, which `configs/pretrain_encoder.py` trains."""

    config: ModelConfig
    dtype: Any = jnp.float32
    unroll: bool = False
    """See `ViT.unroll`."""

    @nn.compact
    def __call__(
        self, batch: Batch, train: bool = False, vertices: bool | None = None, frozen: tuple[str, ...] = ()
    ) -> dict[str, jax.Array]:
        """Batch with "image" -> the maps of `heads.DenseHead`; `vertices` is ignored."""
        features, _ = encode(batch, self.config, self.dtype, self.unroll, train and "encoder" not in frozen)
        return DenseHead(dense_size(self.config.encoder), self.dtype, name="dense")(features)


def pose_body(
    body: BodyModel, rotations: jax.Array, betas: jax.Array, camera: jax.Array, focal_length: float, vertices: bool
) -> Prediction:
    """Poses a body; computes its keypoints and their projection into the crop.

    Args:
        body: the body model, of 24 joints.
        rotations: (B, 24, 3, 3).
        betas: (B, 10).
        camera: (B, 3).
        focal_length: px of a crop of `NOMINAL_CROP`.
        vertices: whether to skin the whole mesh, or only the vertices that keypoints need.
    """
    matrix, ids = joint_set_matrix(body, "keypoints_44")
    output = skin(body, betas, rotations, vertex_ids=None if vertices else ids)
    needed = output.vertices[:, ids] if vertices else output.vertices
    keypoints = jnp.einsum("kn,bnc->bkc", matrix, jnp.concatenate([output.joints, needed], 1))
    focal = jnp.full((betas.shape[0], 2), focal_length / NOMINAL_CROP)
    return Prediction(
        global_orient=rotations[:, :1],
        body_pose=rotations[:, 1:],
        betas=betas,
        camera=camera,
        joints=output.joints,
        keypoints_3d=keypoints,
        keypoints_2d=project(keypoints, crop_translation(camera, focal_length), focal),
        vertices=output.vertices if vertices else None,
    )


def with_scale(prediction: Prediction, scale: jax.Array) -> Prediction:
    """Adds the scale of each keypoint's error, (B, 44, 3) metres, to a prediction."""
    keypoints = prediction.keypoints_3d
    mean = keypoints - keypoints[:, PELVIS_44, None]
    return dataclasses.replace(
        prediction, sigma=jnp.linalg.norm(scale, axis=-1), distribution=Distribution(mean=mean, scale=scale)
    )


def init_flow(module: nn.Module) -> None:
    """Creates the parameters of the errors' density, the group "flow", which only the loss uses."""
    if module.is_initializing():
        RealNVP(dim=3, name="flow")(jnp.zeros((1, 3)))


def _map_to_crop(points: jax.Array, grid: tuple[int, ...], config: EncoderConfig) -> jax.Array:
    """(..., 2) pixels of the feature map -> crop coordinates."""
    height, width = config.image_size
    size = jnp.array([grid[1], grid[0]])
    return ((points + 0.5) / size - 0.5) * jnp.array([width / height, 1.0])
