"""Errors of dense heads, for networks without a body.

Shapes: B batch.
"""

import jax
import jax.numpy as jnp

from hmr_jax import losses
from hmr_jax.batch import Batch


def dense_errors(output: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """(B,) errors: of keypoints in px of a 256 px crop, the share of wrong parts, of depth in millimetres."""
    target = losses.dense_targets(output, batch)
    points = losses.heatmap_points(output["heatmaps"])
    distance = jnp.linalg.norm(points - batch["keypoints_2d"][..., :2], axis=-1) * 256
    limit = jnp.array([output["depth"].shape[2], output["depth"].shape[1]]) / (2 * output["depth"].shape[1])
    inside = (jnp.abs(batch["keypoints_2d"][..., :2]) <= limit).all(-1)
    wrong = (jnp.argmax(output["parts"], -1) != target["parts"]).mean((1, 2))
    return {
        "keypoint_error": jnp.sum(distance * inside, 1) / jnp.maximum(inside.sum(1), 1),
        "part_error": wrong,
        "depth_error": 1000 * losses.depth_loss(output["depth"], target["depth"], target["parts"], batch["has_depth"]),
    }
