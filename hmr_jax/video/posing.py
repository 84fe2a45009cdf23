"""Bodies of a track posed again: one shape for all frames, smoothed rotations, and where they stand in the camera.

Shapes: F frames, V vertices, K the 44 keypoints.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body import BodyModel, joint_set_matrix, skin
from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.joints import SMPL_24
from hmr_jax.rendering.animation import Rig

_BATCH = 64  # frames per call


class Points(NamedTuple):
    """Points of posed bodies, metres, without translation."""

    joints: np.ndarray
    """(F, 24, 3)."""
    keypoints: np.ndarray
    """(F, 44, 3)."""


class Posing:
    """A body that is posed frame by frame; programs are compiled once."""

    def __init__(self, body: BodyModel):
        """Of a body with the 44 keypoints."""
        self.faces = body.faces
        matrix, ids = joint_set_matrix(body, "keypoints_44")

        def points(betas: jax.Array, rotations: jax.Array) -> tuple[jax.Array, jax.Array]:
            output = skin(body, betas, rotations, vertex_ids=ids)
            both = jnp.concatenate([output.joints, output.vertices], 1)
            return output.joints, jnp.einsum("kn,bnc->bkc", matrix, both)

        self._points = jax.jit(points)
        self._vertices = jax.jit(lambda betas, rotations: skin(body, betas, rotations).vertices)

    def points(self, betas: np.ndarray, rotations: np.ndarray) -> Points:
        """Joints and keypoints of betas (F, 10) and rotations (F, 24, 3), axis times angle."""
        joints, keypoints = [], []
        for rows, count in equal_blocks(len(betas), _BATCH):
            one, other = self._points(np.asarray(betas[rows], np.float32), _matrices(rotations[rows]))
            joints.append(np.asarray(one)[:count])
            keypoints.append(np.asarray(other)[:count])
        return Points(np.concatenate(joints), np.concatenate(keypoints))

    def vertices(self, betas: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """(V, 3) metres, without translation, of one body: betas (10,), rotations (24, 3) axis times angle."""
        return np.asarray(self._vertices(np.asarray(betas[None], np.float32), _matrices(rotations[None])))[0]


def _matrices(rotations: np.ndarray) -> np.ndarray:
    """(F, 24, 3) axis times angle -> (F, 24, 3, 3) float32."""
    matrices = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix()
    return matrices.reshape(*rotations.shape, 3).astype(np.float32)


def mean_shape(betas: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean (10,) of betas (F, 10), weights (F,)."""
    return np.average(betas, axis=0, weights=weights)


def rig_of(body: BodyModel, betas: np.ndarray) -> Rig:
    """The body of a shape, betas (10,), in its rest pose, for animation tools."""
    betas = np.pad(betas, (0, body.num_betas - len(betas)))
    vertices = np.asarray(body.v_template) + np.asarray(body.shapedirs) @ betas
    joints = np.asarray(body.joint_regressor) @ vertices
    return Rig(vertices, body.faces, joints, body.parents, np.asarray(body.skinning_weights), SMPL_24)
