"""Points in space from what several cameras see, robustly: views that contradict the others are left out.

The choice of views is by the linear solution (direct linear transform, Hartley and Zisserman 2004, 12.2) of all views
and of all but one; the points are then moved to where a robust sum of squared reprojection errors is least.

Shapes: V views, N points.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.multiview.cameras import Camera

FEWER = 1.6
"""Errors of a point without one of its views are counted as so many times larger: fewer views always agree better."""
SCALE = 10.0
"""Reprojection error, px, at which a view has a quarter of its weight (Geman-McClure)."""
_STEPS = 10


class Points(NamedTuple):
    """Triangulated points."""

    world: np.ndarray
    """(N, 3) metres."""
    error: np.ndarray
    """(N,) reprojection error, px: mean over the views that are used."""
    used: np.ndarray
    """(V, N) bool: the views that are used."""


def triangulate(cameras: list[Camera], pixels: np.ndarray, weights: np.ndarray) -> Points:
    """The points that the cameras see.

    Args:
        cameras: V of them, at least two.
        pixels: (V, N, 2) px.
        weights: (V, N) not negative; with three views or more of a point, one of them may be left out.

    Raises:
        ValueError: fewer than two cameras.
    """
    if len(cameras) < 2:
        raise ValueError(f"Triangulation needs two cameras or more, not {len(cameras)}.")
    rays = np.stack([camera.rays(view) for camera, view in zip(cameras, pixels, strict=True)])
    poses = np.stack([camera.pose for camera in cameras])
    focal = np.array([camera.focal_length for camera in cameras])
    choices = [np.ones(len(cameras), bool)]
    if len(cameras) > 2:
        choices += [~row for row in np.eye(len(cameras), dtype=bool)]
    found = [linear(poses[chosen], rays[chosen], weights[chosen]) for chosen in choices]
    errors = [reprojection(poses, focal, rays, points) for points in found]
    means = np.stack([error[chosen].mean(0) for error, chosen in zip(errors, choices, strict=True)])
    best = np.argmin(means * np.where([chosen.all() for chosen in choices], 1, FEWER)[:, None], 0)
    used = np.stack(choices)[best].T
    points = refine(poses, focal, rays, weights * used, np.stack(found)[best, np.arange(len(best))])
    error = reprojection(poses, focal, rays, points)
    return Points(points, (error * used).sum(0) / used.sum(0), used)


def linear(poses: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points (N, 3) by singular value decomposition, from poses (V, 3, 4), rays (V, N, 2) and weights (V, N)."""
    rows = rays[..., None] * poses[:, None, 2:] - poses[:, None, :2]  # (V, N, 2, 4)
    rows = np.moveaxis(rows * weights[..., None, None], 1, 0).reshape(rays.shape[1], -1, 4)
    last = np.linalg.svd(rows, full_matrices=False)[2][:, -1]
    return last[:, :3] / last[:, 3:]


def projected(poses: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) as cameras see them: x / z and y / z (V, N, 2), and the depth z (V, N), metres."""
    in_camera = np.einsum("vij,nj->vni", poses[..., :3], points) + poses[:, None, :, 3]
    return in_camera[..., :2] / in_camera[..., 2:], in_camera[..., 2]


def reprojection(poses: np.ndarray, focal: np.ndarray, rays: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(V, N) distances of points (N, 3) from where they are seen, px; infinite behind a camera."""
    seen, depth = projected(poses, points)
    return np.where(depth > 0, np.linalg.norm(seen - rays, axis=-1) * focal[:, None], np.inf)


def refine(
    poses: np.ndarray, focal: np.ndarray, rays: np.ndarray, weights: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Points (N, 3) moved by Gauss-Newton steps, the views reweighted by their error after each."""
    for _ in range(_STEPS):
        seen, depth = projected(poses, points)
        residual = (rays - seen) * focal[:, None, None]  # (V, N, 2) px
        robust = 1 / (1 + (residual**2).sum(-1) / SCALE**2) ** 2
        jacobian = poses[:, None, :2, :3] - seen[..., None] * poses[:, None, 2:, :3]  # (V, N, 2, 3)
        jacobian = jacobian * (focal[:, None] / depth)[..., None, None]
        weighted = jacobian * (weights * robust)[..., None, None]
        normal = np.einsum("vnki,vnkj->nij", weighted, jacobian)
        slope = np.einsum("vnki,vnk->ni", weighted, residual)
        damping = 1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3) + 1e-12 * np.eye(3)
        points = points + np.linalg.solve(normal + damping, slope[..., None])[..., 0]
    return points
