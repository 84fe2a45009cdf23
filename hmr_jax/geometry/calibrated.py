"""Calibrated cameras: where they stand, where they look, and what their lenses do.

World axes are those of the calibration, in metres. Camera axes: x right, y down, z forward. Pixels: an integer
coordinate is a pixel's centre.

Shapes: N points, V views, `...` any leading axes.
"""

from dataclasses import dataclass, replace

import numpy as np

from hmr_jax.geometry.distortion import Lens, distort, distortion_jacobian, invert


@dataclass(frozen=True)
class Camera:
    """One camera."""

    name: str
    intrinsics: np.ndarray
    """(3, 3) px: fx, 0, cx; 0, fy, cy; 0, 0, 1."""
    lens: Lens | None
    """How it distorts; None: not at all."""
    rotation: np.ndarray
    """(3, 3) from world to camera axes."""
    translation: np.ndarray
    """(3,) metres; x_camera = rotation x_world + translation."""
    image_size: tuple[int, int] | None
    """Width and height of the images that the calibration is of, px; None: not stated."""
    placed: bool = True
    """Whether rotation and translation were calibrated; if not, the world's axes are the camera's."""

    @property
    def focal_length(self) -> float:
        """Mean of both axes, px."""
        return float(self.intrinsics[[0, 1], [0, 1]].mean())

    @property
    def pose(self) -> np.ndarray:
        """(3, 4) rotation and translation."""
        return np.column_stack([self.rotation, self.translation])

    @property
    def position(self) -> np.ndarray:
        """(3,) metres, world axes."""
        return -self.rotation.T @ self.translation

    def shown_at(self, width: int, height: int) -> "Camera":
        """The camera of a video of another size, into which the images were fitted: one scale for both axes, centred.

        Raises:
            ValueError: the calibration does not state its images' size.
        """
        if self.image_size is None:
            raise ValueError(f"The calibration of camera '{self.name}' states no image size: add it.")
        if self.image_size == (width, height):
            return self
        old = np.array(self.image_size)
        scale = min(width / old[0], height / old[1])
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, :2] *= scale
        intrinsics[:2, 2] = scale * (self.intrinsics[:2, 2] + 0.5 - old / 2) + np.array([width, height]) / 2 - 0.5
        return replace(self, intrinsics=intrinsics, image_size=(width, height))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) in world axes -> (..., 3) in camera axes, metres."""
        return points @ self.rotation.T + self.translation

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) in world axes -> (..., 2) px, distorted as the lens does."""
        in_camera = self.to_camera(points)
        return self.to_pixels(in_camera[..., :2] / in_camera[..., 2:])

    def to_pixels(self, ideal: np.ndarray) -> np.ndarray:
        """(..., 2) x / z and y / z in camera axes -> (..., 2) px, distorted as the lens does."""
        shown = ideal if self.lens is None else distort(ideal, *self.lens)
        return shown @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def pixels_jacobian(self, ideal: np.ndarray) -> np.ndarray:
        """(..., 2, 2) derivatives of `to_pixels`."""
        if self.lens is None:
            return np.broadcast_to(self.intrinsics[:2, :2], (*ideal.shape, 2))
        return self.intrinsics[:2, :2] @ distortion_jacobian(ideal, *self.lens)

    def rays(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a pinhole would have what the lens shows.

        Args:
            pixels: (..., 2) px.

        Returns:
            (..., 2) x / z and y / z in camera axes, and (...) whether there are such; where not, they are 0.
        """
        shown = (pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T
        if self.lens is None:
            inside = np.isfinite(shown).all(-1)
            return np.where(inside[..., None], shown, 0.0), inside
        return invert(shown, *self.lens)
