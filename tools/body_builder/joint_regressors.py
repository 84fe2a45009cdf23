"""Sparse, positive, symmetric regressors from vertices to joints: SMPL's 24, `joints.J19` and `joints.H36M_17`.

Shapes: P sampled people, V vertices, J 24 joints.
"""

import numpy as np
from scipy.optimize import nnls

from hmr_jax.body.joints import H36M_17, J19, SMPL_24

NUM_CANDIDATES = 120
SUM_WEIGHT = 30.0


def fit_regressor(names: tuple[str, ...], points: dict[str, np.ndarray], people: np.ndarray, mirror: np.ndarray):
    """Non-negative least squares over vertices near each point.

    Args:
        names: rows, in order; a "right_" row is the mirrored "left_" row.
        points: name -> (P, 3) true position in each person; left and middle names.
        people: (P, V, 3) vertices of the same people.
        mirror: (V,) mirror image of each vertex.

    Returns:
        (len(names), V) rows that are not negative and sum to 1.
    """
    rows = {}
    for name in names:
        if not name.startswith("right_"):
            rows[name] = _fit_row(points[name], people, mirror, middle=not name.startswith("left_"))
    for name in names:
        if name.startswith("right_"):
            rows[name] = rows[name.replace("right_", "left_")][mirror]
    return np.array([rows[name] for name in names])


def _fit_row(target: np.ndarray, people: np.ndarray, mirror: np.ndarray, middle: bool) -> np.ndarray:
    """(V,) weights of one point; a point of the middle uses mirrored vertices alike."""
    mean = people.mean(0)
    distance = np.linalg.norm(mean - target.mean(0), axis=1)
    if middle:  # one candidate for each pair
        distance[mirror < np.arange(len(mirror))] = np.inf
    reach = 1.3 * max(0.09, np.sort(distance)[60])
    near = np.flatnonzero(distance < reach)
    near = near[np.linspace(0, len(near) - 1, min(len(near), NUM_CANDIDATES)).astype(int)]
    columns = people[:, near]
    if middle:
        columns = (columns + people[:, mirror[near]]) / 2
        columns[..., 0] = 0
        target = target * [0, 1, 1]
    system = columns.transpose(0, 2, 1).reshape(-1, len(near))
    system = np.vstack([system, np.full((1, len(near)), SUM_WEIGHT)])
    weights, _ = nnls(system, np.append(target.ravel(), SUM_WEIGHT))
    weights[weights < 0.005] = 0
    weights /= weights.sum()
    row = np.zeros(len(mirror))
    np.add.at(row, near, weights)
    return (row + row[mirror]) / 2 if middle else row


def extra_points(joints: dict[str, np.ndarray], cubes: dict[str, np.ndarray], crown: np.ndarray):
    """Where the points of `joints.J19` and `joints.H36M_17` lie in each person.

    Limbs are SMPL's joints. Annotators of LSP and MPII and the markers of Human3.6M put hips wider and higher than
    the ball of the joint, and the trunk's points are landmarks of the surface seen from outside.

    Args:
        joints: SMPL name -> (P, 3).
        cubes: "mouth", "head", "l-eye" -> (P, 3) MakeHuman joint cubes in the same frame.
        crown: (P, 3) top of the head.

    Returns:
        Two name -> (P, 3) dictionaries (left and middle names) for J19 and for H36M_17.
    """
    limbs = ("left_knee", "left_ankle", "left_shoulder", "left_elbow", "left_wrist")
    shared = {name: joints[name] for name in limbs}
    shared["left_hip"] = joints["left_hip"] + [0.012, 0.012, 0.0]
    between = lambda left: left * [0, 1, 1]  # the middle of a left point and its mirror image  # noqa: E731
    shoulders = between(joints["left_shoulder"])
    pelvis = 0.6 * between(shared["left_hip"]) + 0.4 * joints["pelvis"]
    thorax = 0.75 * shoulders + 0.25 * joints["neck"]
    neck = 0.35 * shoulders + 0.65 * joints["neck"]
    spine = 0.5 * pelvis + 0.5 * thorax
    jaw = 0.6 * cubes["mouth"] + 0.4 * cubes["head"]
    head = 0.45 * between(cubes["l-eye"]) + 0.55 * crown  # as high as this, but
    head[:, 2] = 0.3 * head[:, 2] + 0.7 * cubes["head"][:, 2]  # in the middle of the skull
    j19 = shared | {
        "neck_lsp": neck, "head_top_lsp": crown, "pelvis_mpii": pelvis, "thorax_mpii": thorax,
        "spine_h36m": spine, "jaw_h36m": jaw, "head_h36m": head,
    }  # fmt: skip
    h36m = shared | {"pelvis": pelvis, "spine": spine, "neck": neck, "jaw": jaw, "head": head}
    return j19, h36m


def fit_all(
    people: np.ndarray, joints: np.ndarray, cubes: dict[str, np.ndarray], crown: np.ndarray, mirror: np.ndarray
) -> dict[str, np.ndarray]:
    """{"joints": (24, V), "j19": (19, V), "h36m": (17, V)} of people (P, V, 3) with joints (P, J, 3)."""
    named = {name: joints[:, j] for j, name in enumerate(SMPL_24)}
    j19, h36m = extra_points(named, cubes, crown)
    return {
        "joints": fit_regressor(SMPL_24, named, people, mirror),
        "j19": fit_regressor(J19, j19, people, mirror),
        "h36m": fit_regressor(H36M_17, h36m, people, mirror),
    }
