"""From the world of a capture to the axes of its camera: bodies, their poses and translations.

Shapes: N people, all of one gender.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body.genders import Gender
from hmr_jax.body.labelled import LabelledBodies


def bodies_in_camera(
    bodies: LabelledBodies,
    gender: Gender,
    rotation: np.ndarray,
    shift: np.ndarray,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 72), translations (N, 3) and keypoints (N, 44, 3) in camera axes, metres.

    Args:
        bodies: that the labels belong to.
        gender: of the people.
        rotation: (N, 3, 3) from world to camera.
        shift: (N, 3) from world to camera.
        pose: (N, 72) axis-angle in world axes.
        betas: (N, 10).
        translation: (N, 3) in world axes.
    """
    translation = camera_translation(rotation, shift, translation, bodies.root(gender, betas))
    pose = rotate_root(rotation, pose)
    return pose, translation, bodies.keypoints(gender, pose, betas, translation)


def are_rotations(rotation: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """(N,) bool: whether (N, 3, 3) finite matrices are rotations, neither scaled nor mirrored.

    Args:
        rotation: the matrices.
        tolerance: of the entries of R R^T.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3)).max((1, 2))
    near = error < tolerance
    near[near] = np.linalg.det(rotation[near]) > 0
    return near


def camera_translation(
    rotation: np.ndarray, shift: np.ndarray, translation: np.ndarray, root: np.ndarray
) -> np.ndarray:
    """SMPL's translation in camera axes, (N, 3).

    The global orientation rotates a body about its root joint and not about the origin, so it is
    R (j0 + t) + shift - j0.

    Args:
        rotation: (N, 3, 3) from world to camera.
        shift: (N, 3) from world to camera.
        translation: (N, 3) in world axes.
        root: (N, 3) root joint at rest, `LabelledBodies.root`.
    """
    return np.einsum("nij,nj->ni", rotation, root + translation) + shift - root


def rotate_root(rotation: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N, 72) poses whose global orientation is rotated by (N, 3, 3) or (3, 3)."""
    rotated = np.array(pose, np.float64)
    rotated[:, :3] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(rotated[:, :3])).as_rotvec()
    return rotated
