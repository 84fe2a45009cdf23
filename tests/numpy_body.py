"""Skinning and the scores of bodies written out in NumPy, in double precision and one person at a time: a reference.

Shapes: V vertices, J joints, P points.
"""

from typing import Any

import numpy as np


def posed_body(body: Any, betas: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (J, 3) of a `BodyModel`, or of anything with its fields.

    Args:
        body: the arrays.
        betas: (S,).
        rotations: (J, 3, 3) relative to the parent.
    """
    arrays = {
        name: np.asarray(getattr(body, name), np.float64)
        for name in ("v_template", "shapedirs", "posedirs", "joint_regressor", "skinning_weights")
    }
    shaped = arrays["v_template"] + arrays["shapedirs"][..., : len(betas)] @ betas
    rest = arrays["joint_regressor"] @ shaped
    shaped = shaped + arrays["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    transforms = np.zeros((len(rest), 4, 4))
    for joint, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = rest[joint] - (rest[parent] if parent >= 0 else 0)
        transforms[joint] = local if parent < 0 else transforms[parent] @ local
    joints = transforms[:, :3, 3].copy()
    transforms[:, :3, 3] -= (transforms[:, :3, :3] @ rest[..., None])[..., 0]
    blended = np.tensordot(arrays["skinning_weights"], transforms, 1)  # (V, 4, 4)
    vertices = (blended[:, :3, :3] @ shaped[..., None])[..., 0] + blended[:, :3, 3]
    return vertices, joints


def rotation(vector: np.ndarray) -> np.ndarray:
    """(3,) axis times angle -> (3, 3), by Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def aligned(points: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Points (P, 3) after the similarity that brings them nearest to the target, by Umeyama's method."""
    shares = np.ones(len(points)) if weights is None else weights
    shares = (shares / shares.sum())[:, None]
    mean, wanted = (shares * points).sum(0), (shares * target).sum(0)
    source, goal = points - mean, target - wanted
    u, stretch, vt = np.linalg.svd((shares * goal).T @ source)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    variance = (shares * source**2).sum()
    if variance == 0:
        return np.tile(wanted, (len(points), 1))
    scale = (stretch * signs).sum() / variance
    return scale * source @ (u * signs @ vt).T + wanted
