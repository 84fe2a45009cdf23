"""Errors of dense heads, for networks without a body.

Shapes: B batch.
"""

import jax
import jax.numpy as jnp

from hmr_jax import losses
from hmr_jax.batch import Batch
from hmr_jax.metrics.pose import per_joint_error, weighted_mean

DENSE_METRICS = ("keypoint_error", "part_error", "depth_error")
"""Names of `dense_errors`."""


def dense_errors(output: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """Errors of each sample, and whether it has the label.

    Returns:
        (B,) "keypoint_error" in px of a 256 px crop, "part_error", the share of wrong parts, and "depth_error" in
        millimetres; and of each "labelled/NAME" (B,), 0 for samples that lack the label, whose error means nothing.
    """
    target = losses.dense_targets(output, batch)
    points = losses.heatmap_points(output["heatmaps"])
    distance = per_joint_error(points, batch["keypoints_2d"][..., :2]) * 256
    limit = jnp.array([output["depth"].shape[2], output["depth"].shape[1]]) / (2 * output["depth"].shape[1])
    inside = (jnp.abs(batch["keypoints_2d"][..., :2]) <= limit).all(-1) & (batch["keypoints_2d"][..., 2] > 0)
    wrong = (jnp.argmax(output["parts"], -1) != target["parts"]).mean((1, 2))
    return {
        "keypoint_error": weighted_mean(distance, inside),
        "part_error": wrong,
        "depth_error": 1000 * losses.depth_loss(output["depth"], target["depth"], target["parts"], batch["has_depth"]),
        "labelled/keypoint_error": inside.any(1),
        "labelled/part_error": batch["has_parts"] > 0,
        "labelled/depth_error": (batch["has_depth"] > 0) & (target["parts"] > 0).any((1, 2)),
    }
