"""Pose blendshapes that keep the volume which linear blend skinning loses at a bent joint.

When one joint alone turns by R about its centre c, linear blending moves a vertex that follows it with weight w by
M (v - c), M = (1 - w) I + w R: a chord. Dual-quaternion skinning moves it along the arc: a rotation T about the same
axis by a part of the angle. The blendshape is the gap pulled back to the rest pose, M^-1 (T - M) (v - c), fitted as a
linear function of the nine entries of R - I (SMPL's pose feature).

Shapes: V vertices, J joints, K sampled rotations.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body.joints import SMPL_24, SMPL_24_FLIP, SMPL_PARENTS
from tools.body_builder.makehuman import MIRROR_X

NUM_ROTATIONS = 48
RIDGE = 0.05
# Largest axis-angle entries that a joint is fitted for; others take the last.
LIMITS = {
    "left_hip": (1.6, 0.5, 0.7), "left_knee": (1.8, 0.2, 0.1), "left_shoulder": (0.8, 0.9, 1.3),
    "left_elbow": (0.9, 1.8, 0.3), "neck": (0.5, 0.6, 0.4), "head": (0.4, 0.5, 0.3), "": (0.5, 0.4, 0.4),
}  # fmt: skip


def fit_posedirs(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(V, 3, 9 (J - 1)) pose blendshapes of a symmetric body: vertices (V, 3), joints (J, 3), weights (V, J)."""
    rng = np.random.default_rng(0)
    follow = weights.copy()  # a vertex follows a joint with the weights of all that hangs on it
    for j in reversed(range(1, len(SMPL_24))):
        follow[:, SMPL_PARENTS[j]] += follow[:, j]
    flip = np.multiply.outer(MIRROR_X, np.multiply.outer(MIRROR_X, MIRROR_X).ravel())  # (3, 9)
    blocks = np.zeros((len(vertices), 3, len(SMPL_24) - 1, 9))
    for j, name in enumerate(SMPL_24[1:], start=1):
        if name.startswith("right_"):
            continue
        support = np.flatnonzero((follow[:, j] > 0.005) & (follow[:, j] < 0.995))
        turns = Rotation.from_rotvec(rng.uniform(-1, 1, (NUM_ROTATIONS, 3)) * LIMITS.get(name, LIMITS[""]))
        block = np.zeros((len(vertices), 3, 9))
        block[support] = _fit_joint(vertices[support] - joints[j], follow[support, j], turns)
        mirrored = block[mirror] * flip
        if SMPL_24_FLIP[j] == j:
            blocks[:, :, j - 1] = (block + mirrored) / 2
        else:
            blocks[:, :, j - 1], blocks[:, :, SMPL_24_FLIP[j] - 1] = block, mirrored
    return blocks.reshape(len(vertices), 3, -1)


def _fit_joint(offsets: np.ndarray, weight: np.ndarray, turns: Rotation) -> np.ndarray:
    """(n, 3, 9) coefficients for n vertices at `offsets` (n, 3) from the joint, from K sampled rotations."""
    matrices = turns.as_matrix()
    rotvecs = turns.as_rotvec()
    angles = np.linalg.norm(rotvecs, axis=1)
    w = weight[:, None]
    part = 2 * np.arctan2(w * np.sin(angles / 2), 1 - w + w * np.cos(angles / 2))  # (n, K)
    arcs = Rotation.from_rotvec(((part / angles)[..., None] * rotvecs).reshape(-1, 3)).as_matrix()
    arcs = arcs.reshape(*part.shape, 3, 3)
    chords = (1 - w)[..., None, None] * np.eye(3) + w[..., None, None] * matrices
    gap = np.linalg.solve(chords, (arcs - chords) @ offsets[:, None, :, None])[..., 0]  # (n, K, 3)
    feature = (matrices - np.eye(3)).reshape(len(turns), 9)
    fit = np.linalg.solve(feature.T @ feature + RIDGE * np.eye(9), feature.T)  # (9, K)
    return np.einsum("fk,nkc->ncf", fit, gap)
