"""Losses on dense maps, for pretraining the encoder.

Shapes: B batch, H and W size of the maps, K keypoints, P body parts and the background.
"""

import jax
import jax.numpy as jnp
import optax

from hmr_jax.batch import Batch
from hmr_jax.geometry.crops import centre_columns

HEATMAP_SIGMA = 1.5  # cells


def heatmap_loss(logits: jax.Array, keypoints_2d: jax.Array) -> jax.Array:
    """Cross-entropy between predicted and Gaussian keypoint heatmaps.

    A softmax over the cells makes the map a distribution, so the loss does not vanish as the maps become sparse, as a
    squared error would. Keypoints outside the map are left out.

    Args:
        logits: (B, H, W, K); the map covers the crop's height and its centre columns, cells are square.
        keypoints_2d: (B, K, 3) crop coordinates, confidence.

    Returns:
        (B,) mean over the keypoints of the sample.
    """
    batch, height, width, keypoints = logits.shape
    centre = jnp.array([(width - 1) / 2, (height - 1) / 2])
    known = keypoints_2d[..., 2:] > 0
    points = jnp.where(known, keypoints_2d[..., :2], 0) * height + centre  # (B, K, 2) in cells
    x = jnp.exp(-((jnp.arange(width) - points[..., :1]) ** 2) / (2 * HEATMAP_SIGMA**2))
    y = jnp.exp(-((jnp.arange(height) - points[..., 1:]) ** 2) / (2 * HEATMAP_SIGMA**2))
    target = (y[..., :, None] * x[..., None, :]).reshape(batch, keypoints, -1)
    target = target / jnp.maximum(target.sum(-1, keepdims=True), 1e-6)
    inside = (jnp.abs(points - centre) <= centre + 0.5).all(-1)
    weight = jnp.where(known, keypoints_2d[..., 2:], 0)[..., 0] * inside
    entropy = optax.softmax_cross_entropy(logits.reshape(batch, -1, keypoints).swapaxes(1, 2), target)
    return jnp.sum(weight * entropy, 1) / jnp.maximum(weight.sum(1), 1)


def part_loss(logits: jax.Array, parts: jax.Array, has: jax.Array) -> jax.Array:
    """Cross-entropy of the body part in each cell.

    Args:
        logits: (B, H, W, P).
        parts: (B, H, W) part indices, 0 is the background.
        has: (B,) 1 where the sample is labelled.

    Returns:
        (B,) means over the cells.
    """
    labelled = has[:, None, None] > 0
    parts = jnp.where(labelled, parts.astype(jnp.int32), 0)
    entropy = optax.softmax_cross_entropy_with_integer_labels(jnp.where(labelled[..., None], logits, 0), parts)
    return jnp.where(has > 0, has * entropy.mean((1, 2)), 0)


def depth_loss(pred: jax.Array, target: jax.Array, parts: jax.Array, has: jax.Array) -> jax.Array:
    """L1 error of the pelvis-relative depth on the person.

    Args:
        pred: (B, H, W) metres.
        target: (B, H, W) metres.
        parts: (B, H, W), 0 off the person.
        has: (B,) 1 where the sample is labelled.

    Returns:
        (B,) means over the person's cells, metres.
    """
    person = (parts > 0) & (has[:, None, None] > 0)
    distance = jnp.abs(jnp.where(person, pred, 0) - jnp.where(person, target, 0))
    return jnp.where(has > 0, has, 0) * jnp.sum(distance, (1, 2)) / jnp.maximum(person.sum((1, 2)), 1)


def heatmap_points(logits: jax.Array) -> jax.Array:
    """(B, H, W, K) logits -> (B, K, 2) expected position in crop coordinates, around the strongest cell."""
    batch, height, width, keypoints = logits.shape
    best = jnp.argmax(logits.reshape(batch, -1, keypoints), 1)
    y, x = jnp.arange(height)[:, None], jnp.arange(width)
    near = (jnp.abs(y[..., None] - best[:, None, None] // width) <= 2) & (
        jnp.abs(x[:, None] - best[:, None, None] % width) <= 2
    )
    weights = jax.nn.softmax(jnp.where(near, logits, -1e9).reshape(batch, -1, keypoints), 1)
    weights = weights.reshape(logits.shape)
    points = jnp.stack([(weights * x[:, None]).sum((1, 2)), (weights * y[..., None]).sum((1, 2))], -1)
    return (points - jnp.array([(width - 1) / 2, (height - 1) / 2])) / height


def dense_targets(output: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """Body parts and depth (B, H, W) of the centre columns, which are those that the encoder sees."""
    return {name: centre_columns(batch[name], output["depth"].shape[2]) for name in ("parts", "depth")}
