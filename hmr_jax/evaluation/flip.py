"""The flip test: the prediction for the mirrored crop, mirrored back, is averaged with that for the crop (as in ReFit).

Shapes: V vertices.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.batch import MAPS, Batch, Prediction
from hmr_jax.body import BodyModel, mirror_vertices
from hmr_jax.body.default_body import TOPOLOGY
from hmr_jax.body.joints import KEYPOINTS_44_FLIP, SMPL_24_FLIP
from hmr_jax.geometry import nearest_rotation
from hmr_jax.models.deforhmr import pose_body

_MIRROR = np.array([-1.0, 1, 1], np.float32)
_TOLERANCE = 0.005  # metres between a vertex and the mirror image of its partner, on the template


def mirror_batch(batch: Batch) -> dict[str, jax.Array]:
    """The batch with its images mirrored left to right; labels are unchanged."""
    return {name: array[:, :, ::-1] if name in MAPS else array for name, array in batch.items()}


def average_mirrored(body: BodyModel, prediction: Prediction, mirrored: Prediction, focal_length: float) -> Prediction:
    """The mean of the predictions for a crop and for the mirrored crop.

    With body parameters, rotations (as matrices, then made orthogonal), betas and camera are averaged and the body is
    posed again. A mesh that was predicted without parameters is averaged vertex by vertex. The centre of the mirrored
    image lies one pixel further; this is ignored, as it moves 2-D points by half a pixel of the crop and no 3-D point.
    """
    shift = jnp.array([1, -1, 1], jnp.float32)
    camera = (prediction.camera + mirrored.camera * shift) / 2
    # If a model predicts vertices, its parameters are only fitted to them.
    if prediction.body_pose is not None and prediction.coarse_vertices is None:
        one, two = prediction.rotations, mirrored.rotations
        two = two[:, SMPL_24_FLIP] * _MIRROR[:, None] * _MIRROR
        rotations = nearest_rotation((one + two) / 2)
        betas: Any = prediction.betas
        betas = (betas + mirrored.betas) / 2
        posed = pose_body(body, rotations, betas, camera, focal_length, vertices=prediction.vertices is not None)
        return dataclasses.replace(posed, sigma=_mean_sigma(prediction, mirrored))
    partner = mirror_partners(body)
    keypoints_2d = mirrored.keypoints_2d[:, KEYPOINTS_44_FLIP] * np.array([-1, 1], np.float32)

    def mean(first, second, order):
        return (first + second[:, order] * _MIRROR) / 2

    return dataclasses.replace(
        prediction,
        global_orient=None,
        body_pose=None,
        betas=None,
        camera=camera,
        vertices=mean(prediction.vertices, mirrored.vertices, partner),
        joints=mean(prediction.joints, mirrored.joints, SMPL_24_FLIP),
        keypoints_3d=mean(prediction.keypoints_3d, mirrored.keypoints_3d, KEYPOINTS_44_FLIP),
        keypoints_2d=(prediction.keypoints_2d + keypoints_2d) / 2,
        sigma=_mean_sigma(prediction, mirrored),
    )


def mirror_partners(body: BodyModel) -> np.ndarray:
    """(V,) index of each vertex's mirror image.

    Raises:
        ValueError: if the mesh is not symmetric.
    """
    if body.topology == TOPOLOGY:
        return mirror_vertices()
    from scipy.spatial import cKDTree

    vertices = np.asarray(body.v_template, np.float64)
    vertices = vertices - np.array([np.median(vertices[:, 0]), 0, 0])
    distance, partner = cKDTree(vertices).query(vertices * _MIRROR)
    if distance.max() > _TOLERANCE or not np.array_equal(partner[partner], np.arange(len(vertices))):
        raise ValueError(f"The mesh '{body.topology}' is not symmetric enough for a flip test of bare vertices.")
    return partner


def _mean_sigma(prediction: Prediction, mirrored: Prediction) -> jax.Array | None:
    if prediction.sigma is None or mirrored.sigma is None:
        return None
    return (prediction.sigma + mirrored.sigma[:, KEYPOINTS_44_FLIP]) / 2
