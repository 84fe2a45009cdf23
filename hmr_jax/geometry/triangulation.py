"""Points in space from what several calibrated cameras see, robustly: views that contradict the others are left out.

Every pair of views gives a point by the direct linear transform (Hartley and Zisserman 2004, 12.2). Of these, the point
that most views agree with is moved by Gauss-Newton steps to the least robust sum (Geman-McClure) of squared distances
from where the views see it, in pixels of their distorted images. Views that are then far off are left out, and the
others decide by least squares.

Shapes: V views, N points, `...` any axes of points, such as frames and joints.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hmr_jax.geometry.calibrated import Camera

SOFT = 0.02
"""Scale of the robust sum, in focal lengths: 1.1 degrees. Landmarks of networks err by a third of it in each view, so
a smaller one would follow some views and not others."""
FAR_OFF = 5.0
"""Views are left out that are farther off than so many times the usual error, and than `LEAST`."""
LEAST = 2.0
"""px."""
NARROWEST = 1.0
"""Degrees between two rays: points seen under less have no distance."""
_USUAL = 1 / 1.1774  # from the median distance in the plane to the standard deviation of a coordinate
_STEPS = 10
_CHUNK = 20_000  # points at a time


class Points(NamedTuple):
    """Triangulated points."""

    world: np.ndarray
    """(..., 3) metres; 0 where there is none."""
    found: np.ndarray
    """(...) whether two views or more agree on the point, before both cameras."""
    error: np.ndarray
    """(V, ...) distance from where the view sees the point, px; of views that are left out, too. Infinite where the
    view has no point, or cannot see it."""
    used: np.ndarray
    """(V, ...) whether the point is from this view."""

    @property
    def mean_error(self) -> np.ndarray:
        """(...) reprojection error over the views that are used, px; infinite where there is no point."""
        error = np.where(self.used, self.error, 0).sum(0) / np.maximum(self.used.sum(0), 1)
        return np.where(self.found, error, np.inf)


def triangulate(cameras: Sequence[Camera], pixels: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """The points that the cameras see.

    Args:
        cameras: V of them, at least two.
        pixels: (V, ..., 2) px.
        weights: (V, ...) of the squared distances, such as confidences or inverse variances, not negative; 0 where the
            view has no point, and pixels may be NaN. None: all are 1.

    Raises:
        ValueError: fewer than two cameras, arrays of other shapes, or negative weights.
    """
    count = len(cameras)
    if count < 2:
        raise ValueError(f"Triangulation needs two cameras or more, not {count}.")
    weights = np.ones(pixels.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    if pixels.shape[0] != count or pixels.shape[-1] != 2 or weights.shape != pixels.shape[:-1]:
        raise ValueError(f"{count} cameras with pixels {pixels.shape} and weights {weights.shape} do not fit together.")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("Weights of views must be finite and not negative.")
    shape = pixels.shape[1:-1]
    seen, flat = pixels.reshape(count, -1, 2).astype(np.float64), weights.reshape(count, -1)
    starts = range(0, max(flat.shape[1], 1), _CHUNK)
    rough = [_robust(cameras, seen[:, i : i + _CHUNK], flat[:, i : i + _CHUNK]) for i in starts]
    found, has = (np.concatenate(parts, axis) for parts, axis in zip(zip(*rough, strict=True), (0, 1), strict=True))
    error = distances(cameras, found, seen)
    error = np.where(has, error, np.inf)
    limit = max(LEAST, FAR_OFF * _usual(error))
    used = has & (error <= limit)
    found = _least_squares(cameras, found, seen, flat * used, _STEPS // 2, None)
    error = np.where(has, distances(cameras, found, seen), np.inf)
    used &= np.isfinite(error)
    good = (used.sum(0) >= 2) & np.isfinite(found).all(-1) & _is_wide(cameras, found, used)
    found, used = np.where(good[:, None], found, 0.0), used & good
    error = np.where(good, error, np.inf)
    return Points(
        found.reshape(*shape, 3), good.reshape(shape), error.reshape(count, *shape), used.reshape(count, *shape)
    )


def distances(cameras: Sequence[Camera], points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(V, N) distances of points (N, 3) from where they are seen, pixels (V, N, 2), px; infinite behind a camera."""
    rows = []
    for camera, own in zip(cameras, pixels, strict=True):
        in_camera = camera.to_camera(points)
        with np.errstate(all="ignore"):
            away = np.linalg.norm(camera.to_pixels(in_camera[:, :2] / in_camera[:, 2:]) - own, axis=-1)
        rows.append(np.where((in_camera[:, 2] > 0) & np.isfinite(away), away, np.inf))
    return np.stack(rows)


def linear(poses: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points (N, 3) by singular value decomposition.

    Args:
        poses: (V, 3, 4) from world to camera.
        rays: (V, N, 2) x / z and y / z in camera axes.
        weights: (V, N) of squared distances; of less than two views the result means nothing.
    """
    rows = rays[..., None] * poses[:, None, 2:] - poses[:, None, :2]  # (V, N, 2, 4)
    rows = np.moveaxis(rows * np.sqrt(weights)[..., None, None], 1, 0).reshape(rays.shape[1], -1, 4)
    last = np.linalg.svd(rows, full_matrices=False)[2][:, -1]
    return last[:, :3] / np.where(np.abs(last[:, 3:]) < 1e-9, 1e-9, last[:, 3:])


def _robust(cameras: Sequence[Camera], pixels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) with which most views agree, and (V, N) which views have a point at all."""
    looked = [camera.rays(own) for camera, own in zip(cameras, pixels, strict=True)]
    rays, inside = (np.stack(parts) for parts in zip(*looked, strict=True))
    has = inside & (weights > 0)
    weights = np.where(has, weights, 0.0)
    poses = np.stack([camera.pose for camera in cameras])
    soft = SOFT * np.array([camera.focal_length for camera in cameras])[:, None]
    best, least = np.zeros((pixels.shape[1], 3)), np.full(pixels.shape[1], np.inf)
    for pair in itertools.combinations(range(len(cameras)), 2):
        rows = np.flatnonzero(has[list(pair)].all(0))
        if not len(rows):
            continue
        points = linear(poses[list(pair)], rays[list(pair)][:, rows], weights[list(pair)][:, rows])
        away = distances(cameras, points, pixels[:, rows]) / soft
        cost = (weights[:, rows] * np.minimum(away, 1e6) ** 2 / (1 + np.minimum(away, 1e6) ** 2)).sum(0)
        better = cost < least[rows]
        least[rows[better]], best[rows[better]] = cost[better], points[better]
    return _least_squares(cameras, best, pixels, weights, _STEPS, soft), has


def _least_squares(
    cameras: Sequence[Camera],
    points: np.ndarray,
    pixels: np.ndarray,
    weights: np.ndarray,
    steps: int,
    soft: np.ndarray | None,
) -> np.ndarray:
    """Points (N, 3) moved by Gauss-Newton steps; with a scale `soft` (V, 1), px, to the least robust sum."""
    for _ in range(steps):
        normal, slope = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
        for number, camera in enumerate(cameras):
            in_camera = camera.to_camera(points)
            with np.errstate(all="ignore"):
                ideal = in_camera[:, :2] / in_camera[:, 2:]
                residual = pixels[number] - camera.to_pixels(ideal)
                turned = camera.rotation[None, :2] - ideal[..., None] * camera.rotation[None, 2:]
                jacobian = camera.pixels_jacobian(ideal) @ (turned / in_camera[:, 2:, None])
                weight = weights[number] * (in_camera[:, 2] > 0)
                if soft is not None:
                    weight = weight / (1 + (residual**2).sum(-1) / soft[number] ** 2) ** 2
            usable = (weight > 0) & np.isfinite(residual).all(-1) & np.isfinite(jacobian).all((1, 2))
            weight = np.where(usable, weight, 0.0)
            jacobian, residual = (
                np.where(usable.reshape(-1, *[1] * (part.ndim - 1)), part, 0.0) for part in (jacobian, residual)
            )
            weighted = jacobian * weight[:, None, None]
            normal += np.swapaxes(weighted, 1, 2) @ jacobian
            slope += (weighted * residual[..., None]).sum(1)
        damping = (1e-9 * np.trace(normal, axis1=1, axis2=2) + 1e-12)[:, None, None] * np.eye(3)
        points = points + np.linalg.solve(normal + damping, slope[..., None])[..., 0]
    return points


def _usual(error: np.ndarray) -> float:
    """Standard deviation of a coordinate, px, by the median of distances, of which some are far off."""
    finite = error[np.isfinite(error)]
    return _USUAL * float(np.median(finite)) if len(finite) else 0.0


def _is_wide(cameras: Sequence[Camera], points: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(N,) whether two of the used views see a point under an angle of `NARROWEST` or more."""
    away = points - np.stack([camera.position for camera in cameras])[:, None]
    with np.errstate(all="ignore"):
        away = away / np.linalg.norm(away, axis=-1, keepdims=True)
    wide = np.zeros(len(points), bool)
    for one, other in itertools.combinations(range(len(cameras)), 2):
        cosine = (away[one] * away[other]).sum(-1)
        wide |= used[one] & used[other] & (np.abs(cosine) < np.cos(np.radians(NARROWEST)))
    return wide
