"""Losses as pure functions: arrays in, per-sample values out."""

from hmr_jax.losses.adversarial import adversarial_loss, discriminator_loss
from hmr_jax.losses.dense import dense_targets, depth_loss, heatmap_loss, heatmap_points, part_loss
from hmr_jax.losses.keypoints import keypoint_2d_loss, keypoint_3d_loss, parameter_loss
from hmr_jax.losses.rle import normalized_error, residual_log_likelihood_loss
from hmr_jax.losses.surface import silhouette_loss, vertex_loss

__all__ = [
    "adversarial_loss",
    "dense_targets",
    "depth_loss",
    "discriminator_loss",
    "heatmap_loss",
    "heatmap_points",
    "keypoint_2d_loss",
    "keypoint_3d_loss",
    "normalized_error",
    "parameter_loss",
    "part_loss",
    "residual_log_likelihood_loss",
    "silhouette_loss",
    "vertex_loss",
]
