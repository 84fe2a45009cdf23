"""The training objective: the losses of `LossConfig` from a model's output and a batch.

Every loss is one value per sample, and 0 (never NaN) where the sample lacks the label.

Shapes: B batch, T points, C coarse, M middle and V all vertices, D side of the dense maps.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from hmr_jax import losses
from hmr_jax.batch import Batch, Prediction
from hmr_jax.body import joint_set_matrix, skin
from hmr_jax.body.coarse import NUM_COARSE
from hmr_jax.body.joints import EVALUATION_14_OF_44, PELVIS_44
from hmr_jax.config import LossConfig
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.geometry.crops import centre_columns

Scalars = dict[str, jax.Array]


def check_losses(config: LossConfig, model: Any) -> None:
    """Raises ValueError if a loss with a weight needs an output that the model does not predict."""
    settings = model.config
    if config.rle and not settings.uncertainty:
        raise ValueError("loss.rle needs scales to act on: set model.uncertainty, or set loss.rle to 0.")
    without_pose = settings.name == "dense" or (settings.name == "d2a_hmr" and settings.d2a.head == "vertices")
    if config.adversarial and without_pose:
        raise ValueError("loss.adversarial judges pose and shape, which this model does not predict: set it to 0.")
    if config.silhouette and not (settings.name == "d2a_hmr" and settings.d2a.silhouette):
        raise ValueError("loss.silhouette needs a model with a silhouette decoder: d2a_hmr with d2a.silhouette.")


def sample_losses(
    config: LossConfig,
    model: Any,
    output: Any,
    batch: Batch,
    log_density: Callable[[jax.Array], jax.Array],
    discriminate: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> Scalars:
    """Unweighted losses (B,) of a model's output, named as in `LossConfig`.

    Args:
        config: expensive losses are left out if their weight is 0.
        model: has the body model.
        output: of the model.
        batch: the labels.
        log_density: (B, T, 3) normalised errors -> (B, T) logarithm of the learned density; used for `config.rle`.
        discriminate: body_pose (B, 23, 3, 3) and betas (B, 10) -> scores; used for `config.adversarial`.
    """
    if not isinstance(output, Prediction):
        return _dense_losses(output, batch)
    found = {} if output.dense is None else _dense_losses(output.dense, batch)
    found |= {
        "keypoints_2d": losses.keypoint_2d_loss(output.keypoints_2d, batch["keypoints_2d"]),
        "keypoints_3d": losses.keypoint_3d_loss(output.keypoints_3d, batch["keypoints_3d"]),
    }
    rotations = axis_angle_to_matrix(batch["pose"])
    if output.body_pose is not None and output.global_orient is not None and output.betas is not None:
        found |= {
            "global_orient": losses.parameter_loss(output.global_orient, rotations[:, :1], batch["has_pose"]),
            "body_pose": losses.parameter_loss(output.body_pose, rotations[:, 1:], batch["has_pose"]),
            "betas": losses.parameter_loss(output.betas, batch["betas"], batch["has_betas"]),
        }
        if discriminate is not None:
            found["adversarial"] = losses.adversarial_loss(discriminate(output.body_pose, output.betas))
    target, surface = keypoint_target(batch), None
    of_vertices = output.distribution is not None and output.distribution.mean.shape[1] > target.shape[1]
    if config.vertices or (config.rle and of_vertices):
        surface = labelled_vertices(model, rotations, batch)
    if config.vertices and surface is not None:
        found["vertices"] = _vertex_loss(model, output, *surface)
    if config.silhouette and output.silhouette_logits is not None:
        found["silhouette"] = _silhouette_loss(output.silhouette_logits, batch)
    if config.rle and output.distribution is not None:
        if of_vertices and surface is not None:
            target = _token_target(model, target, *surface)
        mean, scale = output.distribution.mean, output.distribution.scale
        log_phi = log_density(losses.normalized_error(mean, scale, target))
        loss = losses.residual_log_likelihood_loss(mean, scale, target, log_phi, config.rle_compat)
        found["rle"] = loss / jnp.maximum(target[..., 3].sum(1), 1)
    return found


def _dense_losses(output: Scalars, batch: Batch) -> Scalars:
    target = losses.dense_targets(output, batch)
    return {
        "heatmaps": losses.heatmap_loss(output["heatmaps"], batch["keypoints_2d"]),
        "parts": losses.part_loss(output["parts"], target["parts"], batch["has_parts"]),
        "depth": losses.depth_loss(output["depth"], target["depth"], target["parts"], batch["has_depth"]),
    }


def loss_weights(config: LossConfig, names: Iterable[str], step: jax.Array) -> Scalars:
    """The weight () of each loss at a step."""
    weights = {name: jnp.asarray(getattr(config, name), jnp.float32) for name in names}
    if "rle" in weights:
        weights["rle"] *= jnp.where(step < config.rle_early_steps, config.rle_early, 1.0)
    return weights


def labelled_vertices(model: Any, rotations: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The labelled mesh (B, V, 3), metres, its pelvis keypoint at the origin; and (B,) 1 where there is one."""
    body = skin(model.body, batch["betas"], rotations)
    matrix, ids = joint_set_matrix(model.body, "keypoints_44")
    pelvis = jnp.einsum("n,bnc->bc", matrix[PELVIS_44], jnp.concatenate([body.joints, body.vertices[:, ids]], 1))
    return body.vertices - pelvis[:, None], batch["has_pose"] * batch["has_betas"]


def keypoint_target(batch: Batch) -> jax.Array:
    """(B, 44, 4) keypoints with the pelvis at the origin, metres, and confidence; 0 without a labelled pelvis."""
    points, confidence = batch["keypoints_3d"][..., :3], batch["keypoints_3d"][..., 3:]
    known = confidence[:, PELVIS_44, None] > 0
    return jnp.concatenate([points - points[:, PELVIS_44, None], confidence * known], -1)


def _token_target(model: Any, keypoints: jax.Array, vertices: jax.Array, has: jax.Array) -> jax.Array:
    """(B, 14 + C, 4) joints and coarse vertices, in the order of the non-parametric head's tokens."""
    coarse = vertices[:, model.coarse.vertex_ids[:NUM_COARSE]]
    confidence = jnp.broadcast_to(has[:, None, None], (*coarse.shape[:2], 1))
    return jnp.concatenate([keypoints[:, jnp.array(EVALUATION_14_OF_44)], jnp.concatenate([coarse, confidence], -1)], 1)


def _vertex_loss(model: Any, output: Any, true: jax.Array, has: jax.Array) -> jax.Array:
    """(B,) the mean over the levels of the mesh that the model predicts."""
    root = output.keypoints_3d[:, PELVIS_44, None]
    levels = [losses.vertex_loss(output.vertices - root, true, has)]
    if output.coarse_vertices is not None:
        ids, coarse = model.coarse.vertex_ids, output.coarse_vertices - root
        middle = jnp.einsum("mc,bcd->bmd", model.coarse.middle_matrix(), coarse)
        levels += [losses.vertex_loss(middle, true[:, ids], has)]
        levels += [losses.vertex_loss(coarse, true[:, ids[:NUM_COARSE]], has)]
    return jnp.mean(jnp.stack(levels), 0)


def _silhouette_loss(logits: jax.Array, batch: Batch) -> jax.Array:
    """(B,) with masks resized to the decoder's side; 0 without masks in the batch."""
    if "mask" not in batch:
        return jnp.zeros(len(logits))
    height, width = logits.shape[1:]
    mask = jax.image.resize(batch["mask"].astype(jnp.float32), (len(logits), height, height), "linear")
    return losses.silhouette_loss(logits, centre_columns(mask, width), batch["has_mask"])
