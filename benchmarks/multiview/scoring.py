"""Scores `Predictor` on views of a capture, as eval.py scores records: rows by camera.

Shapes: N views, J joints.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.multiview.joints import JOINTS
from benchmarks.multiview.records import View
from hmr_jax.body import BodyModel
from hmr_jax.body.joints import J19, KEYPOINTS_44
from hmr_jax.inference import PersonPrediction, Predictor
from hmr_jax.protocols import Protocol, body_subject, keypoint_subject, score

METRICS = ("mpjpe", "pa_mpjpe", "pck")
LIMBS = ("elbow", "wrist", "knee", "ankle")
NEAR = 0.1
"""Of the box's longer side: a joint is found in the image if it is nearer to the truth."""


class Row(NamedTuple):
    """Means over the views of one camera, or of all."""

    camera: str
    count: int
    mpjpe: float
    """mm."""
    pa_mpjpe: float
    """mm."""
    pck: float
    """%."""
    near: float | None = None
    """Share of all joints that are found in the image."""
    near_limbs: float | None = None
    """The same of elbows, wrists, knees and ankles."""


def predict(predictor: Predictor, views: Sequence[View]) -> list[PersonPrediction]:
    """The person of every view, from the whole image and the box."""
    found = []
    for view in views:
        with Image.open(view.image) as image:
            found += predictor([np.asarray(image.convert("RGB"))], [view.box[None]])
    return found


def score_views(
    protocol: Protocol, body: BodyModel, views: Sequence[View], found: Sequence[PersonPrediction]
) -> list[Row]:
    """A row for each camera, and the last for all, under a protocol of kinematic joints."""
    joints = jnp.asarray(np.stack([one.joints for one in found]))
    truth = np.zeros((len(views), len(KEYPOINTS_44), 4), np.float32)
    ids = [len(KEYPOINTS_44) - len(J19) + J19.index(name) for name in JOINTS]
    truth[:, ids, :3] = [view.joints for view in views]
    truth[:, ids, 3] = [view.confidence > 0 for view in views]
    true = keypoint_subject(protocol, jnp.asarray(truth[..., :3]))
    weights = jnp.asarray(truth[:, list(protocol.keypoints), 3])
    errors = jax.device_get(score(protocol, body_subject(protocol, body, None, joints), true, weights))
    labelled = truth[:, list(protocol.keypoint_root), 3].all(1)  # as eval.py: without its root a view does not count
    errors = {name: np.where(labelled, errors[name], np.nan) for name in METRICS}
    away = image_errors(views, np.stack([one.keypoints_image for one in found]))
    return table(views, errors, away)


def image_errors(views: Sequence[View], keypoints: np.ndarray) -> np.ndarray:
    """(N, J) distances of keypoints (N, 44, 2) px from the truth, in box sides; NaN where it is not labelled."""
    ids = [KEYPOINTS_44.index(f"openpose_{name}") for name in JOINTS]
    pixels = np.stack([view.pixels for view in views])
    sides = np.array([(view.box[2:] - view.box[:2]).max() for view in views])
    labelled = np.stack([view.confidence > 0 for view in views])
    return np.where(labelled, np.linalg.norm(keypoints[:, ids] - pixels, axis=-1) / sides[:, None], np.nan)


def distance_ratios(views: Sequence[View], found: Sequence[PersonPrediction]) -> np.ndarray:
    """(N,) distance of the camera from the predicted hips, to that from the true ones."""
    ids = [JOINTS.index(f"{side}_hip") for side in ("left", "right")]
    names = [KEYPOINTS_44.index(f"openpose_{JOINTS[number]}") for number in ids]
    placed = [(one.keypoints_3d + one.translation)[names].mean(0) for one in found]
    true = [view.joints[ids].mean(0) for view in views]
    return np.linalg.norm(placed, axis=1) / np.linalg.norm(true, axis=1)


def table(views: Sequence[View], errors: dict[str, np.ndarray], away: np.ndarray) -> list[Row]:
    """Rows out of errors (N,) by metric and `image_errors`; views whose errors are NaN do not count."""
    cameras = np.array([view.camera for view in views])
    limbs = [number for number, name in enumerate(JOINTS) if name.endswith(LIMBS)]
    rows = []
    for camera in [*dict.fromkeys(cameras.tolist()), "all"]:
        chosen = ((cameras == camera) | (camera == "all")) & np.isfinite(errors["mpjpe"])
        means = (float(errors[name][chosen].mean()) for name in METRICS)
        shares = (float((part[np.isfinite(part)] < NEAR).mean()) for part in (away[chosen], away[chosen][:, limbs]))
        rows.append(Row(camera, int(chosen.sum()), *means, *shares))
    return rows


def rows_of_result(summary: dict, samples: dict[str, np.ndarray]) -> list[Row]:
    """The same rows out of a result of eval.py and its samples."""
    groups = summary["groups"]["sequence"]
    counted = samples["has_truth"] > 0
    rows = [
        Row(camera, int((counted & (samples["sequence"] == camera)).sum()), *(groups[name][camera] for name in METRICS))
        for camera in groups["mpjpe"]
    ]
    return [*rows, Row("all", int(counted.sum()), *(summary["metrics"][name] for name in METRICS))]
