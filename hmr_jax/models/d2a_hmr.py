"""D2A-HMR (Bright et al., CRV 2024): fuses image and pseudo-depth and predicts a body with a density of its errors.

Shapes: B batch, S crop side, h, w the map of features, N = h w tokens of width D, C coarse and V all vertices.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hmr_jax.batch import Batch, Distribution, Prediction
from hmr_jax.body import BodyModel, CoarseMesh, parameters_from_vertices
from hmr_jax.config import ModelConfig
from hmr_jax.geometry import NOMINAL_CROP, crop_translation, project
from hmr_jax.models.deforhmr import init_flow, pose_body, with_scale
from hmr_jax.models.depth_fusion import DepthFusion, resize_map
from hmr_jax.models.encoders import build_encoder, encode, normalize_crop
from hmr_jax.models.heads import MULTI_TOKENS, KeypointScale, SMPLHead
from hmr_jax.models.regressors import NUM_HEAD_JOINTS, TokenRegressor, VertexHead, template_points
from hmr_jax.models.silhouette import SilhouetteDecoder
from hmr_jax.ops import Dense


class D2AHMR(nn.Module):
    """Predicts bodies from crops and their depth maps."""

    config: ModelConfig
    body: BodyModel
    coarse: CoarseMesh | None = None
    """Needed by the non-parametric head."""
    dtype: Any = jnp.float32
    unroll: bool = False
    """Of both encoders, see `ViT.unroll`."""

    @nn.compact
    def __call__(
        self, batch: Batch, train: bool = False, vertices: bool | None = None, frozen: tuple[str, ...] = ()
    ) -> Prediction:
        """Predicts from images, and from depth where it exists.

        Args:
            batch: "image" (B, S, S, 3) uint8 and optionally "pseudo_depth" (B, S, S) uint8 with "has_pseudo_depth"
                (B,). A map that is 0 everywhere counts as missing.
            train: dropout and masking on.
            vertices: whether to return the whole mesh; by default not in training.
            frozen: groups that are not trained; frozen encoders run as in prediction.
        """
        config, d2a = self.config, self.config.d2a
        with_vertices = not train if vertices is None else vertices
        features, depth, has_depth = self._encode(batch, train, frozen)
        tokens, gates = DepthFusion(d2a, self.dtype, name="fusion")(features, depth, has_depth, train)

        logits = None
        if d2a.silhouette:
            logits = SilhouetteDecoder(d2a.silhouette, self.dtype, name="silhouette")(tokens, features)
        skip = self._depth_skip(depth, has_depth, features.shape[1:3])
        prediction = self._regress(jnp.concatenate([tokens, skip], -1), train, with_vertices)
        if config.uncertainty:
            init_flow(self)
        silhouette = None if logits is None else nn.sigmoid(logits)
        return dataclasses.replace(prediction, silhouette=silhouette, silhouette_logits=logits, gates=gates)

    def _encode(
        self, batch: Batch, train: bool, frozen: tuple[str, ...]
    ) -> tuple[jax.Array, jax.Array | None, jax.Array]:
        """Image features, depth features or None, and (B,) 1 where a sample has depth."""
        config = self.config
        count = batch["features" if "features" in batch else "image"].shape[0]
        maps = batch.get("pseudo_depth")
        if maps is None and self.is_initializing():
            maps = jnp.zeros(batch["image"].shape[:3], jnp.uint8)  # creates the parameters of both streams
        has_depth = jnp.zeros(count)
        if maps is not None:
            given = batch.get("has_pseudo_depth", jnp.ones(count))
            has_depth = given * (jnp.max(maps, (1, 2)) > 0)
            maps = jnp.repeat(maps[..., None], 3, -1)

        training = train and "encoder" not in frozen
        if maps is not None and config.d2a.depth_stream == "shared":
            # One call, so that BatchNorm's statistics are those of images and depth maps together.
            both = {"image": jnp.concatenate([batch["image"], maps])}
            features, _ = encode(both, config, self.dtype, self.unroll, training)
            image, depth = features.reshape(2, count, *features.shape[1:])
            return image, depth, has_depth
        features, _ = encode(batch, config, self.dtype, self.unroll, training)
        if maps is None:
            return features, None, has_depth
        depth_config = config.d2a.depth_encoder
        depth_encoder = build_encoder(depth_config, config.attention, self.dtype, "depth_encoder", self.unroll)
        depth = depth_encoder(normalize_crop(maps, depth_config), train and "depth_encoder" not in frozen)
        return features, depth, has_depth

    def _depth_skip(self, depth: jax.Array | None, has_depth: jax.Array, grid: tuple[int, ...]) -> jax.Array:
        """(B, N, D): the skip from depth features to regressor, dashed in the paper's figure; zeros without depth."""
        batch, dim = has_depth.shape[0], self.config.d2a.dim
        if depth is None:
            return jnp.zeros((batch, grid[0] * grid[1], dim), self.dtype)
        skip = Dense(dim, dtype=self.dtype, name="depth_skip")(resize_map(depth, grid))
        return jnp.where(has_depth[:, None, None] > 0, skip.reshape(batch, -1, dim), 0)

    def _regress(self, tokens: jax.Array, train: bool, vertices: bool) -> Prediction:
        config, d2a = self.config, self.config.d2a
        if d2a.head == "smpl":
            x = TokenRegressor(d2a, MULTI_TOKENS, self.dtype, name="regressor")(tokens, None, train)
            prediction = pose_body(self.body, *SMPLHead(name="head")(x), config.focal_length, vertices)
            return with_scale(prediction, KeypointScale(name="scale")(x)) if config.uncertainty else prediction
        assert self.coarse is not None
        template = template_points(self.body, self.coarse)
        points, scale, camera = VertexHead(d2a, template, self.dtype, name="head")(tokens, train)
        coarse_vertices = points[:, NUM_HEAD_JOINTS:]
        prediction = pose_mesh(self.body, self.coarse, coarse_vertices, camera, config.focal_length, vertices)
        if not train:
            middle = jnp.einsum("mc,bcd->bmd", self.coarse.middle_matrix(), coarse_vertices)
            rotations, betas = parameters_from_vertices(self.body, middle, self.coarse.vertex_ids)
            prediction = dataclasses.replace(
                prediction, global_orient=rotations[:, :1], body_pose=rotations[:, 1:], betas=betas
            )
        if config.uncertainty:
            # A keypoint is a mean of vertices with correlated errors, so its scale is the mean of their scales.
            matrix = abs(self.coarse.joint_set_matrix(self.body, "keypoints_44"))
            matrix = matrix / matrix.sum(1, keepdims=True)
            keypoint_scale = jnp.einsum("kc,bcd->bkd", matrix, scale[:, NUM_HEAD_JOINTS:])
            prediction = dataclasses.replace(
                prediction,
                sigma=jnp.linalg.norm(keypoint_scale, axis=-1),
                distribution=Distribution(mean=points, scale=scale),
            )
        return prediction


def pose_mesh(
    body: BodyModel, coarse: CoarseMesh, vertices: jax.Array, camera: jax.Array, focal_length: float, full: bool
) -> Prediction:
    """A prediction without body parameters; joints and keypoints are linear in the coarse vertices.

    Args:
        body: gives the regressor of keypoints.
        coarse: the coarse mesh of this body.
        vertices: (B, C, 3) coarse vertices, camera axes, metres.
        camera: (B, 3).
        focal_length: px of a crop of `NOMINAL_CROP`.
        full: whether to add the whole mesh (B, V, 3).
    """
    keypoints = jnp.einsum("kc,bcd->bkd", coarse.joint_set_matrix(body, "keypoints_44"), vertices)
    focal = jnp.full((camera.shape[0], 2), focal_length / NOMINAL_CROP)
    return Prediction(
        global_orient=None,
        body_pose=None,
        betas=None,
        camera=camera,
        joints=jnp.einsum("jc,bcd->bjd", coarse.joint_matrix(), vertices),
        keypoints_3d=keypoints,
        keypoints_2d=project(keypoints, crop_translation(camera, focal_length), focal),
        vertices=jnp.einsum("vc,bcd->bvd", coarse.full_matrix(), vertices) if full else None,
        coarse_vertices=vertices,
    )
