"""Joint sets as linear maps of joints and a few vertices, so that a prediction needs only these vertices.

Every set of `joints` is matrix @ concatenate([joints, vertices[vertex_ids]]). Pure NumPy.

Shapes: V vertices, J joints, K points of a set, n vertices that the set uses.
"""

from typing import NamedTuple

import numpy as np

from hmr_jax.body.joints import J14_FROM_H36M, J19, OPENPOSE_25_FROM_45, SMPL_24
from hmr_jax.body.model import BodyModel

JOINT_SETS = ("keypoints_44", "h36m_17", "j14", "j19", "smpl_24")
# Rows of J_regressor_extra.npy; SPIN takes the other points of `J19` from SMPL's joints.
EXTRA_9 = J19[2:4] + J19[12:]


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
            these, as Human3.6M and 3DPW are evaluated since HMR), "smpl_24" (the model's own joints).

    Raises:
        ValueError: unknown name, or the body lacks the regressor or landmarks that the set needs.
    """
    makers = {
        "keypoints_44": lambda: np.concatenate([_openpose_25(model), _j19(model)]),
        "j19": lambda: _j19(model),
        "h36m_17": lambda: _h36m(model),
        "j14": lambda: _h36m(model)[list(J14_FROM_H36M)],
        "smpl_24": lambda: _pick(model, np.arange(model.num_joints)),
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


def _openpose_25(model: BodyModel) -> np.ndarray:
    """(25, J + V): SMPL's joints and landmark vertices in OpenPose's order."""
    if model.landmarks is None or model.num_joints != len(SMPL_24):
        raise ValueError(
            f"The 44 keypoints are not defined for this body (topology {model.topology!r}): they need SMPL's 24 joints "
            "and the landmark vertices of a full mesh."
        )
    points = np.concatenate([np.arange(model.num_joints), model.num_joints + np.asarray(model.landmarks)])
    return _pick(model, points[list(OPENPOSE_25_FROM_45)])


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
