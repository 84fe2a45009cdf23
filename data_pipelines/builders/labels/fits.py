"""Bodies fitted to the keypoints of records, and which of these fits are good enough to be labels.

The camera is the record's. Where it has none, one is assumed: the default of `geometry.intrinsics` for the original
image, or HMR2.0's in front of the box. Keypoints in space, where a record has them and the pelvis, count as well.

Shapes: N records, K = 44 keypoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.builders.labels.projection import project, with_confidence
from data_pipelines.records import Record
from data_pipelines.records.drawing import FOCAL
from hmr_jax.body.fitting import KeypointFit, KeypointFitter, KeypointsAround, in_image, load_pose_prior
from hmr_jax.body.fitting.pose_prior import PoseFlow
from hmr_jax.body.joints import KEYPOINTS_44_FLIP, PELVIS_44
from hmr_jax.body.labelled import HEIGHTS, LabelledBodies
from hmr_jax.geometry.intrinsics import camera_of

Camera = Literal["default", "hmr2"]
SIGMA_IN_SPACE = 0.02
"""Metres: what marker sets and SMPL's joints differ by."""
OUTLIER = 0.15
"""Units of the box: keypoints further from the body are mistakes, and absent in the new record."""
LEAST_SHARE = 0.75
"""Of the keypoints that are no mistakes."""
FARTHEST_BETA = 4.0
"""Standard deviations of the shape's coefficients."""
BEYOND = np.radians(20)
"""How far a joint may be beyond its limits."""
FARTHEST_POSE = 0.65
"""Root mean square of a pose's numbers in the prior's normal. It is 1 for the poses that it learned, but a fit keeps to
what is seen: that of 98 in 100 sound fits is below 0.64."""


EXCHANGED = "keypoints: left and right seem to be exchanged"
LIKELIER = 10.0
"""By how much less a fit must cost to be preferred, in squared standard deviations: 150 times as likely."""
WELL = 20.0
"""Cost below which exchanged sides could hardly cost that much less."""


@dataclass(frozen=True)
class Rules:
    """How records are fitted, and which fits are accepted."""

    camera: Camera = "default"
    """Where a record has none: "default" or "hmr2"."""
    sigma: float = 0.01
    """One standard deviation of a keypoint of confidence 1, in units of the box; twice that at half the confidence."""
    fewest: int = 8
    """Keypoints of a person, at least."""
    offset: float = 0.03
    """Largest median distance of the keypoints from the body's, in units of the box."""

    def __post_init__(self) -> None:
        """Raises ValueError for values of no use."""
        if self.camera not in get_args(Camera):
            raise ValueError(f"camera must be {' or '.join(get_args(Camera))}, not '{self.camera}'.")
        if not (self.sigma > 0 and self.offset > 0 and self.fewest >= 4):
            raise ValueError("sigma and offset must be positive, and fewest at least 4.")


class Fitted(NamedTuple):
    """What came of one record."""

    record: Record
    """With labels of the body, if one was fitted."""
    reason: str = ""
    """Why it is no good label; "": it is one."""
    mistaken: int = 0
    """Keypoints that are far from the body."""
    assumed: bool = False
    """Whether the record had no camera."""


class RecordFitter:
    """Fits the neutral body of a source to records."""

    def __init__(self, bodies: LabelledBodies, rules: Rules):
        """Prepares the solver.

        Raises:
            FileNotFoundError: the source has no neutral body.
            ValueError: the body lacks what the 44 keypoints need.
        """
        self.topology, self._rules, self._bodies = bodies.topology, rules, bodies
        self._fitter = KeypointFitter(bodies.model("n"))

    def __call__(self, records: Sequence[Record]) -> list[Fitted]:
        """Fits records, 64 at a time, or fewer if there are fewer."""
        found = [Fitted(record, self._refusal(record)) for record in records]
        rows = [row for row, one in enumerate(found) if not one.reason]
        chosen = [records[row] for row in rows]
        if chosen:
            cameras = np.stack([camera_of_record(record, self._rules.camera) for record in chosen])
            fit = self._fitter(_terms(chosen, cameras, self._rules.sigma), with_sigma=False)
            finite = np.all([np.isfinite(part).reshape(len(chosen), -1).all(1) for part in fit if part is not None], 0)
            poses = Rotation.from_matrix(np.where(finite[:, None, None, None], fit.rotations, np.eye(3))).as_rotvec()
            unlikely = unlikeliness(poses[:, 1:])
            for number, row in enumerate(rows):
                found[row] = Fitted(chosen[number], "fit: not finite")
                if finite[number]:
                    found[row] = self._judged(chosen[number], cameras[number], fit, number, poses, unlikely)
            asked = [number for number, row in enumerate(rows) if not found[row].reason and fit.cost[number] > WELL]
            likelier = self._likelier_exchanged([chosen[number] for number in asked], cameras[asked], fit.cost[asked])
            for number in np.array(asked, int)[likelier]:
                found[rows[number]] = found[rows[number]]._replace(reason=EXCHANGED)
        return found

    def _refusal(self, record: Record) -> str:
        """Why a record is not fitted."""
        fewest = self._rules.fewest
        return f"keypoints: fewer than {fewest}" if (record["keypoints_2d"][:, 2] > 0).sum() < fewest else ""

    def _likelier_exchanged(self, records: Sequence[Record], cameras: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """(N,) whether the keypoints of records, whose fits cost so much, are far likelier with the sides exchanged."""
        if not records:
            return np.zeros(0, bool)
        names = ("keypoints_2d", "keypoints_3d")
        mirrored = [record | {name: record[name][KEYPOINTS_44_FLIP] for name in names} for record in records]
        return self._fitter(_terms(mirrored, cameras, self._rules.sigma), with_sigma=False).cost + LIKELIER < cost

    def _judged(
        self, record: Record, camera: np.ndarray, fit: KeypointFit, row: int, poses: np.ndarray, unlikely: np.ndarray
    ) -> Fitted:
        pose, betas, translation = poses[row], fit.betas[row], fit.translation[row]
        labels: dict[str, Any] = {
            "topology": self.topology,
            "gender": "n",
            "smpl/global_orient": pose[0].astype(np.float32),
            "smpl/body_pose": pose[1:].reshape(69).astype(np.float32),
            "smpl/betas": betas.astype(np.float32),
            "smpl/translation": translation.astype(np.float32),
            **dict.fromkeys(("smpl/has_pose", "smpl/has_betas", "smpl/has_translation"), np.float32(1)),
            "camera/intrinsics": camera.astype(np.float32),
            "camera/has_intrinsics": np.float32(1),
        }
        if not record["keypoints_3d"][:, 3].any():
            labels["keypoints_3d"] = with_confidence(fit.keypoints[row]).astype(np.float32)
        distance = offsets(record["keypoints_2d"], fit.keypoints[row], camera) / record["box/size"]
        mistaken = distance > OUTLIER  # NaN is not
        points = record["keypoints_2d"].copy()
        points[mistaken, 2] = 0
        labels["keypoints_2d"] = points
        reason = self._fault(distance, pose[1:], betas, fit.keypoints[row], unlikely[row])
        return Fitted(record | labels, reason, int(mistaken.sum()), not record["camera/has_intrinsics"])

    def _fault(
        self, distance: np.ndarray, pose: np.ndarray, betas: np.ndarray, keypoints: np.ndarray, unlikely: float
    ) -> str:
        """What is wrong with a fit; "": nothing."""
        seen = distance[~np.isnan(distance)]
        if keypoints[:, 2].min() < 0.1:
            return "fit: behind the camera"
        if (seen <= OUTLIER).mean() < LEAST_SHARE:
            return "fit: too many keypoints far from the body"
        if np.median(seen) > self._rules.offset:
            return "fit: not near enough to the keypoints"
        if np.abs(betas).max() > FARTHEST_BETA:
            return "fit: a shape that hardly anybody has"
        if not HEIGHTS[0] < self._bodies.heights("n", betas[None])[0] < HEIGHTS[1]:
            return "fit: height out of range"
        low, high = (np.asarray(limit) for limit in load_pose_prior().limits[:2])
        if max((pose - high).max(), (low - pose).max()) > BEYOND:
            return "fit: a joint beyond its limits"
        if unlikely > FARTHEST_POSE:
            return "fit: a pose that hardly anybody takes"
        return ""


def camera_of_record(record: Record, assumed: Camera) -> np.ndarray:
    """(3, 3) intrinsics of a record's stored image, px: its own, or the assumed ones.

    "default" needs the original image's size; records without it are seen by HMR2.0's camera.
    """
    if record["camera/has_intrinsics"]:
        return record["camera/intrinsics"].astype(np.float64)
    left, top, right, _ = record["image/source_box"].astype(np.float64)
    width, height = record["image/source_size"].astype(np.float64)
    if assumed == "default" and width > 0:
        factor = float(record["image/width"]) / (right - left)
        focal = camera_of((width, height), None)[0] * factor
        center = (np.array([width, height]) / 2 - (left, top)) * factor - 0.5
    else:
        focal, center = np.full(2, FOCAL * record["box/size"]), record["box/center"].astype(np.float64)
    return np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]], np.float64)


def offsets(keypoints_2d: np.ndarray, keypoints_3d: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """(..., K) px from 2-D keypoints to 3-D ones as a camera sees them; NaN where a keypoint is absent.

    Args:
        keypoints_2d: (..., K, 3) px and confidence.
        keypoints_3d: (..., K, 3) metres, camera axes.
        camera: (..., 3, 3) px.
    """
    distance = np.linalg.norm(project(keypoints_3d, camera)[..., :2] - keypoints_2d[..., :2], axis=-1)
    return np.where(keypoints_2d[..., 2] > 0, distance, np.nan)


def unlikeliness(pose: np.ndarray) -> np.ndarray:
    """(N,) root mean square of poses (N, 23, 3), axis-angle, in the normal of the pose prior."""
    numbers = _to_normal(load_pose_prior().flow, jnp.asarray(pose.reshape(len(pose), -1), jnp.float32))
    return np.sqrt((np.asarray(numbers) ** 2).mean(1))


@jax.jit
def _to_normal(flow: PoseFlow, poses: jax.Array) -> jax.Array:
    return flow.to_normal(poses)


def _terms(records: Sequence[Record], cameras: np.ndarray, sigma: float) -> list[Any]:
    points = np.stack([record["keypoints_2d"] for record in records]).astype(np.float64)
    confidence = np.clip(points[..., 2], 0, 1)
    with np.errstate(divide="ignore"):
        px = sigma * np.array([[record["box/size"]] for record in records], np.float64) / confidence
    terms: list[Any] = [in_image(points[..., :2], px, cameras[:, [0, 1], [0, 1]], cameras[:, :2, 2])]
    solid = np.stack([record["keypoints_3d"] for record in records])
    known = np.clip(solid[..., 3], 0, 1) * (solid[:, PELVIS_44, 3:] > 0)
    if known.any():
        root = np.full(len(records), PELVIS_44)
        around = solid[..., :3] - solid[:, PELVIS_44, None, :3]
        terms.append(KeypointsAround(around, (known / SIGMA_IN_SPACE).astype(np.float32), root))
    return terms
