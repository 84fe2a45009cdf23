"""The evaluation step on the devices: predict, score, and describe each sample.

Shapes: B batch, P evaluated points, V vertices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hmr_jax import metrics
from hmr_jax.batch import Batch, Prediction
from hmr_jax.body import Bodies, BodyModel, true_body
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.evaluation.flip import average_mirrored, mirror_batch
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models.parameters import Params, to_variables
from hmr_jax.protocols import CONFIDENT, Protocol, Subject, body_subject, keypoint_subject, score

Rows = dict[str, jax.Array]
LABELS = ("pose", "betas", "keypoints_3d", "has_pose", "has_betas")


class Truth(NamedTuple):
    """The truth that a protocol compares with."""

    subject: Subject
    weights: jax.Array | None
    """(B, P) confidence of the points; None: all count."""
    exists: jax.Array
    """(B,) whether the sample has a label."""
    rooted: jax.Array | None = None
    """(B,) whether its root has one; None: the root is not labelled by itself."""
    scale: jax.Array | None = None
    """(B,) from units of the crop's side to those of 2-D errors; None in 3-D."""


@struct.dataclass
class Predicted:
    """The parts of any system's prediction that a protocol can score; None: not given. Camera axes, metres."""

    rotations: jax.Array | None = None
    """(B, 24, 3, 3); the first in camera axes, the others relative to the parent joint."""
    joints: jax.Array | None = None
    """(B, 24, 3)."""
    vertices: jax.Array | None = None
    """(B, V, 3)."""
    keypoints_3d: jax.Array | None = None
    """(B, 44, 3)."""
    keypoints_2d: jax.Array | None = None
    """(B, 44, 2) in crop coordinates."""
    sigma: jax.Array | None = None
    """(B, 44) predicted error of each keypoint, metres."""

    @classmethod
    def of(cls, prediction: Prediction) -> "Predicted":
        """From the prediction of one of our networks; to be jitted."""
        rotations = None if prediction.global_orient is None else prediction.rotations
        others = {name: getattr(prediction, name) for name in ("joints", "vertices", "keypoints_3d", "keypoints_2d")}
        return cls(rotations=rotations, sigma=prediction.sigma, **others)


def predict_with(model: Any, flip_test: bool = False) -> Callable[[Params, Batch], Prediction]:
    """(params, batch) -> prediction, jitted; with a flip test, the mean for the crop and its mirror image."""

    @jax.jit
    def predict(params: Params, batch: Batch) -> Prediction:
        prediction = model.apply(to_variables(params), batch, train=False)
        if not flip_test:
            return prediction
        mirrored = model.apply(to_variables(params), mirror_batch(batch), train=False)
        return average_mirrored(model.body, prediction, mirrored, model.config.focal_length)

    return predict


def make_score_step(
    protocol: Protocol, bodies: Bodies, predict: Callable[[Params, Batch], Predicted | Prediction], labels: bool = False
) -> Callable[[Params, Batch], Rows]:
    """(params, batch) -> rows of the samples, (B, ...) each.

    Prediction, truth and scores are three programs: in one, XLA would pose a mesh again for each sum over its vertices.

    Args:
        protocol: what is scored.
        bodies: see `load_bodies`; on the mesh (`Bodies.on`) where there are several devices.
        predict: see `predict_with`; not jitted here.
        labels: whether to return also `LABELS`, for the mean body.
    """
    bodies = jax.tree.map(jnp.asarray, bodies)
    neutral = bodies.neutral

    @jax.jit
    def read_labels(bodies: Bodies, batch: Batch) -> tuple[Truth, Rows]:
        truth = true_subject(protocol, neutral, bodies, batch)
        rows = {"has_truth": truth.exists.astype(jnp.float32), "has_body": has_body(batch)} | conditions(batch)
        if truth.rooted is not None:
            rows["has_root"] = truth.rooted
        if protocol.truth == "body" and protocol.gender == "gendered" and "vertices" not in batch:
            rows["neutral"] = batch["gender"] == 0 if "gender" in batch else jnp.ones(len(batch["index"]), bool)
        if labels:
            rows |= {f"label/{name}": batch[name] for name in LABELS}
        return truth, rows | {"index": batch["index"], "valid": batch["valid"]}

    @jax.jit
    def compare(prediction: Predicted | Prediction, truth: Truth, batch: Batch) -> Rows:
        predicted = Predicted.of(prediction) if isinstance(prediction, Prediction) else prediction
        subject = predicted_subject(protocol, neutral, predicted)
        if truth.scale is not None:
            subject = subject._replace(points=subject.points * truth.scale[:, None, None])
        rows = score(protocol, subject, truth.subject, truth.weights)
        if predicted.sigma is not None and predicted.keypoints_3d is not None and protocol.space == "3d":
            rows |= sigma_rows(predicted.keypoints_3d, predicted.sigma, batch)
        return rows

    def step(params: Params, batch: Batch) -> Rows:
        truth, rows = read_labels(bodies, batch)
        return rows | compare(predict(params, batch), truth, batch)

    return step


def predicted_subject(protocol: Protocol, body: BodyModel, predicted: Predicted) -> Subject:
    """What the protocol scores of a prediction; `body` as in `true_subject`.

    Raises:
        ValueError: if the prediction lacks it.
    """
    if protocol.space == "2d":
        if predicted.keypoints_2d is None:
            raise ValueError(f"Protocol {protocol.name} needs keypoints_2d of a prediction.")
        return keypoint_subject(protocol, predicted.keypoints_2d)
    rotations = predicted.rotations if protocol.angle_parts else None
    return body_subject(protocol, body, predicted.vertices, predicted.joints, rotations)


def true_subject(protocol: Protocol, body: BodyModel, bodies: Bodies, batch: Batch) -> Truth:
    """The labels that the protocol compares a prediction with.

    Args:
        protocol: selects the labels.
        body: the neutral body; not traced, so that its regressors become small constants.
        bodies: bodies of all genders, to be posed.
        batch: the labels.
    """
    if protocol.space == "2d":
        points, scale = batch["keypoints_2d"], box_scale(batch)
        weights = points[:, np.array(protocol.keypoints), 2]
        subject = keypoint_subject(protocol, points[..., :2] * scale[:, None, None])
        return Truth(subject, weights, (weights > CONFIDENT).any(1), scale=scale)
    label = None
    if protocol.truth == "body" or "pve" in protocol.metrics:
        if "vertices" in batch:  # of a truth file: a mesh that our body models cannot pose, such as SMPL-X's
            label = body_subject(protocol, body, batch["vertices"], None)
        else:
            posed = true_body(bodies, batch["pose"], batch["betas"], batch.get("gender"))
            rotations = axis_angle_to_matrix(batch["pose"]) if protocol.angle_parts else None
            label = body_subject(protocol, body, posed.vertices, posed.joints, rotations)
        if protocol.truth == "body":
            return Truth(label, None, has_body(batch))
    points = keypoint_subject(protocol, batch["keypoints_3d"][..., :3], label)
    confidence = (batch["keypoints_3d"][..., 3] > 0).astype(jnp.float32)
    weights = confidence[:, np.array(protocol.keypoints)]
    rooted = confidence[:, np.array(protocol.keypoint_root)].min(1)
    return Truth(points, weights, rooted * (weights.max(1) > 0), rooted)


def box_scale(batch: Batch) -> jax.Array:
    """(B,) the crop's side in units of the longer side of the box that it was made of; 1 where that is not known.

    HMR2.0 measures 2-D errors in units of boxes as they were before they grew to its encoder's shape.
    """
    one = jnp.ones(len(batch["keypoints_2d"]))
    if "box_extent" not in batch or "box_size" not in batch:
        return one
    longer = batch["box_extent"].max(1)
    return jnp.where(longer > 0, batch["box_size"] / jnp.where(longer > 0, longer, 1), one)


def has_body(batch: Batch) -> jax.Array:
    """(B,) 1 where pose and betas are labelled."""
    return batch["has_pose"] * batch["has_betas"]


def sigma_rows(keypoints: jax.Array, sigma: jax.Array, batch: Batch) -> Rows:
    """The predicted and the true error of each keypoint, pelvis-aligned, mm; NaN without a label.

    Args:
        keypoints: (B, 44, 3) predicted, metres.
        sigma: (B, 44) predicted errors, metres.
        batch: the labels.
    """
    truth = batch["keypoints_3d"]
    pred = metrics.root_align(keypoints, keypoints[:, PELVIS_44])
    true = metrics.root_align(truth[..., :3], truth[:, PELVIS_44, :3])
    labelled = (truth[..., 3] > 0) & (truth[:, PELVIS_44, 3] > 0)[:, None]
    error = jnp.where(labelled, metrics.per_joint_error(pred, true), jnp.nan)
    return {"sigma": 1000 * sigma, "sigma_error": 1000 * error}


def conditions(batch: Batch) -> Rows:
    """Conditions that make a sample hard, computed from its labels.

    Returns:
        "occlusion" (B,): share of the keypoints without 2-D label (confidence 0); "truncation" (B,): share of the crop
        beyond the image's edge, or of the labelled keypoints beyond the crop's where the image's size is not known;
        "viewpoint" (B,): direction from which the body is seen, degrees, 0 front, 90 its right, NaN without a pose.
    """
    keypoints = batch["keypoints_2d"]
    labelled = keypoints[..., 2] > 0
    rows = {"occlusion": 1 - labelled.mean(1)}
    if "image_size" in batch and "box_center" in batch:
        half = batch["box_size"][:, None] / 2
        low = jnp.maximum(batch["box_center"] - half, 0)
        high = jnp.minimum(batch["box_center"] + half, batch["image_size"])
        inside = jnp.prod(jnp.maximum(high - low, 0), -1) / jnp.maximum(batch["box_size"] ** 2, 1e-9)
        rows["truncation"] = 1 - inside
    else:
        outside = (jnp.abs(keypoints[..., :2]) > 0.5).any(-1) & labelled
        rows["truncation"] = outside.sum(1) / jnp.maximum(labelled.sum(1), 1)
    front = axis_angle_to_matrix(batch["pose"])[:, 0, :, 2]  # (B, 3) direction of the chest, camera axes
    angle = jnp.rad2deg(jnp.arctan2(front[:, 0], -front[:, 2]))
    rows["viewpoint"] = jnp.where(batch["has_pose"] > 0, angle, jnp.nan)
    return rows
