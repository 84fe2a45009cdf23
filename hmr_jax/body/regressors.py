"""Joint sets as linear maps of joints and a few vertices, so that a prediction needs only these vertices.

Every set of `joints` is matrix @ concatenate([joints, vertices[vertex_ids]]). Pure NumPy.

Shapes: V vertices, J joints, K points of a set, n vertices that the set uses.
"""

from typing import NamedTuple

import numpy as np

from hmr_jax.body.joints import H36M_17, J14_FROM_H36M, J19, OPENPOSE_25_FROM_45, SMPL_24
from hmr_jax.body.model import BodyModel

JOINT_SETS = ("keypoints_44", "h36m_17", "j14", "j19", "smpl_24", "smpl_45")
# Rows of J_regressor_extra.npy; SPIN takes the other points of `J19` from SMPL's joints.
EXTRA_9 = J19[2:4] + J19[12:]

POINTS = {"j19": J19, "extra": EXTRA_9, "h36m": H36M_17}
"""Names of the points of each of `BodyModel.regressors`."""
# SMPL's joints that a regressed point may be next to, in the rest pose and without their sides.
_NEXT_TO = {
    "ankle": ("ankle", "foot"), "knee": ("knee",), "hip": ("hip", "pelvis"), "pelvis": ("pelvis", "hip", "spine1"),
    "spine": ("spine1", "spine2", "spine3"), "thorax": ("spine3", "neck", "collar"),
    "neck": ("spine3", "neck", "collar", "head"), "head": ("neck", "head"), "jaw": ("neck", "head"),
    "shoulder": ("shoulder", "collar"), "elbow": ("elbow",), "wrist": ("wrist", "hand"),
}  # fmt: skip


class JointSet(NamedTuple):
    """points = matrix @ concatenate([joints, vertices[vertex_ids]]), for posed joints and vertices."""

    matrix: np.ndarray
    """(K, J + n) float32."""
    vertex_ids: np.ndarray
    """(n,) int32, ascending."""


def joint_set_matrix(model: BodyModel, name: str) -> JointSet:
    """The linear map from a posed body to one of `JOINT_SETS`.

    Args:
        model: the body.
        name: "keypoints_44" (`joints.KEYPOINTS_44`), "j19" (its last 19), "h36m_17" (`joints.H36M_17`), "j14" (14 of
            these, as Human3.6M and 3DPW are evaluated since HMR), "smpl_24" (the model's own joints), "smpl_45" (these
            and `joints.LANDMARKS_21`).

    Raises:
        ValueError: unknown name, or the body lacks the regressor or landmarks that the set needs.
    """
    makers = {
        "keypoints_44": lambda: np.concatenate([_openpose_25(model), _j19(model)]),
        "j19": lambda: _j19(model),
        "h36m_17": lambda: _h36m(model),
        "j14": lambda: _h36m(model)[list(J14_FROM_H36M)],
        "smpl_24": lambda: _pick(model, np.arange(model.num_joints)),
        "smpl_45": lambda: _pick(model, _joints_and_landmarks(model)),
    }
    if name not in makers:
        raise ValueError(f"There is no joint set {name!r}; choose one of {', '.join(JOINT_SETS)}.")
    dense = makers[name]()  # (K, J + V)
    vertex_ids = np.flatnonzero(dense[:, model.num_joints :].any(0))
    columns = np.concatenate([np.arange(model.num_joints), model.num_joints + vertex_ids])
    return JointSet(dense[:, columns], vertex_ids.astype(np.int32))


def keypoint_vertices(model: BodyModel) -> np.ndarray:
    """(n,) int32 vertices that the 44 keypoints depend on: landmarks and those of the j19 regressor, ascending."""
    return joint_set_matrix(model, "keypoints_44").vertex_ids


def keypoint_matrix(model: BodyModel) -> np.ndarray:
    """(44, J + n) map from joints and `keypoint_vertices` to the 44 keypoints."""
    return joint_set_matrix(model, "keypoints_44").matrix


def is_person(model: BodyModel) -> bool:
    """Whether the body's joints at rest stand to each other as SMPL's do: from ankles to head, left at +x."""
    if model.num_joints != len(SMPL_24):
        return False
    joints = dict(zip(SMPL_24, np.asarray(model.joint_regressor) @ np.asarray(model.v_template), strict=True))
    sides = all(
        joints[f"left_{part}"][0] > 0 > joints[f"right_{part}"][0]
        for part in ("ankle", "knee", "hip", "shoulder", "elbow", "wrist")
    )
    rising = [joints[name][1] for name in ("left_ankle", "left_knee", "left_hip", "spine2", "left_shoulder", "head")]
    return sides and rising == sorted(rising)


def misplaced_point(matrix: np.ndarray, name: str, model: BodyModel) -> str | None:
    """The first point of a regressor that is not where its name says on the body at rest, as text for a message.

    Args:
        matrix: (K, V).
        name: of `POINTS`.
        model: the body; nothing is said on one that is no person, see `is_person`.
    """
    if not is_person(model):
        return None
    rest = np.asarray(model.v_template)
    joints, points = np.asarray(model.joint_regressor) @ rest, np.asarray(matrix, np.float32) @ rest
    for row, (label, point) in enumerate(zip(POINTS[name], points, strict=True)):
        side, _, part = label.rpartition("_") if label.startswith(("left", "right")) else ("", "", label.split("_")[0])
        nearest = SMPL_24[int(np.linalg.norm(joints - point, axis=1).argmin())]
        wrong_side = (side == "left" and point[0] <= 0) or (side == "right" and point[0] >= 0)
        if wrong_side or nearest.split("_")[-1] not in _NEXT_TO[part]:
            return f"its row {row} should be '{label}', but lies next to the body's {nearest.replace('_', ' ')}"
    return None


def _openpose_25(model: BodyModel) -> np.ndarray:
    """(25, J + V): SMPL's joints and landmark vertices in OpenPose's order."""
    return _pick(model, _joints_and_landmarks(model)[list(OPENPOSE_25_FROM_45)])


def _joints_and_landmarks(model: BodyModel) -> np.ndarray:
    """(45,) columns of SMPL's joints and landmark vertices."""
    if model.landmarks is None or model.num_joints != len(SMPL_24):
        raise ValueError(
            f"The 44 keypoints are not defined for this body (topology {model.topology!r}): they need SMPL's 24 joints "
            "and the landmark vertices of a full mesh."
        )
    return np.concatenate([np.arange(model.num_joints), model.num_joints + np.asarray(model.landmarks)])


def _j19(model: BodyModel) -> np.ndarray:
    """(19, J + V) from SMPL_to_J19, or as SPIN composes it: nine regressed points, limbs from SMPL's joints."""
    if "j19" in model.regressors:
        return _from_vertices(model, "j19")
    if "extra" in model.regressors:
        extra = _from_vertices(model, "extra")
        joints = _pick(model, np.arange(len(SMPL_24)))
        return np.array([extra[EXTRA_9.index(n)] if n in EXTRA_9 else joints[SMPL_24.index(n)] for n in J19])
    raise ValueError(
        "This body has no 'j19' regressor: put SMPL_to_J19.pkl (HMR2.0's data) or J_regressor_extra.npy (SPIN's data) "
        "beside the SMPL file, or use the built-in body."
    )


def _h36m(model: BodyModel) -> np.ndarray:
    if "h36m" not in model.regressors:
        raise ValueError(
            "This body has no 'h36m' regressor: put J_regressor_h36m.npy (SPIN's data) beside the SMPL file, or use "
            "the built-in body."
        )
    return _from_vertices(model, "h36m")


def _pick(model: BodyModel, ids: np.ndarray) -> np.ndarray:
    """(len(ids), J + V) rows that take one joint or vertex each."""
    rows = np.zeros((len(ids), model.num_joints + model.num_vertices), np.float32)
    rows[np.arange(len(ids)), ids] = 1
    return rows


def _from_vertices(model: BodyModel, regressor: str) -> np.ndarray:
    """(K, J + V) rows of a vertex regressor."""
    matrix = np.asarray(model.regressors[regressor], np.float32)
    return np.concatenate([np.zeros((len(matrix), model.num_joints), np.float32), matrix], axis=1)
