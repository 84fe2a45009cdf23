"""From the world of a capture to the axes of its camera: SMPL's translation and global orientation.

Shapes: N people.
"""

import numpy as np
from scipy.spatial.transform import Rotation


def camera_translation(
    rotation: np.ndarray, shift: np.ndarray, translation: np.ndarray, root: np.ndarray
) -> np.ndarray:
    """SMPL's translation in camera axes, (N, 3).

    The global orientation turns a body about its root joint and not about the origin: R (j0 + t) + shift - j0.

    Args:
        rotation: (N, 3, 3) from world to camera.
        shift: (N, 3) from world to camera.
        translation: (N, 3) in world axes.
        root: (N, 3) root joint at rest, `LabelledBodies.root`.
    """
    return np.einsum("nij,nj->ni", rotation, root + translation) + shift - root


def rotate_root(rotation: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N, 72) poses whose global orientation is turned by (N, 3, 3) or (3, 3)."""
    turned = np.array(pose, np.float64)
    turned[:, :3] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(turned[:, :3])).as_rotvec()
    return turned
