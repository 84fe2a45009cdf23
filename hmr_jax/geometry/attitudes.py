"""Turns calibrated cameras about their positions until they agree on what they see.

A calibration can be off by half a degree, which shifts a camera's image by 15 px and more. A person's joints in many
frames show it: the shift is the same for all joints and frames, while errors of the landmarks are not. The cameras'
positions stay, so the world's scale and axes stay too.

Shapes: V views, N points.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.triangulation import linear

SOFT = 8.0
"""Reprojection errors beyond this, px, count linearly."""
STIFF = 10.0
"""Residuals, px, that a turn by one degree costs beside those of the points."""

FEWEST = 20
"""Points, in space or time."""


def turned(camera: Camera, turn: np.ndarray) -> Camera:
    """The camera turned about its position by a rotation vector (3,) in its own axes, radians."""
    rotation = Rotation.from_rotvec(turn).as_matrix()
    return replace(camera, rotation=rotation @ camera.rotation, translation=rotation @ camera.translation)


def refine_attitudes(
    cameras: Sequence[Camera], pixels: np.ndarray, weights: np.ndarray
) -> tuple[list[Camera], np.ndarray]:
    """The cameras with the attitudes in which their views of some points agree best.

    Args:
        cameras: V of them, at least three: two always agree on a turn about the line between them.
        pixels: (V, N, 2) px, of the same points.
        weights: (V, N) of the distances, not negative; 0 where the view has no point.

    Returns:
        The cameras, and (V,) degrees by which they were turned.

    Raises:
        ValueError: fewer than three cameras, or than `FEWEST` points that two of them see.
    """
    if len(cameras) < 3:
        raise ValueError(f"Attitudes can be refined with three cameras or more, not {len(cameras)}.")
    looked = [camera.rays(view) for camera, view in zip(cameras, pixels, strict=True)]
    rays, inside = (np.stack(parts) for parts in zip(*looked, strict=True))
    weights = weights * inside
    chosen = (weights > 0).sum(0) >= 2
    if chosen.sum() < FEWEST:
        raise ValueError(f"Attitudes need {FEWEST} points that two cameras see, not {int(chosen.sum())}.")
    rays, weights = rays[:, chosen], weights[:, chosen]
    focal = np.array([camera.focal_length for camera in cameras])[:, None, None]

    def residuals(turns: np.ndarray) -> np.ndarray:
        poses = np.stack(
            [turned(camera, turn).pose for camera, turn in zip(cameras, turns.reshape(-1, 3), strict=True)]
        )
        points = linear(poses, rays, weights**2)
        in_camera = np.einsum("vij,nj->vni", poses[..., :3], points) + poses[:, None, :, 3]
        away = (in_camera[..., :2] / in_camera[..., 2:] - rays) * focal * weights[..., None]
        return np.concatenate([away.ravel(), STIFF * np.degrees(turns)])

    found = least_squares(residuals, np.zeros(3 * len(cameras)), loss="soft_l1", f_scale=SOFT)
    turns = found.x.reshape(-1, 3)
    better = [turned(camera, turn) for camera, turn in zip(cameras, turns, strict=True)]
    return better, np.degrees(np.linalg.norm(turns, axis=1))
