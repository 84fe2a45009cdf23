"""HMR2.0's filters of its training people (4D-Humans, configuration "low1"), in their order.

Shapes: N poses.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from etils import epath
from scipy.ndimage import gaussian_filter

# Least density of each of SMPL's body joints 1 to 21 under the prior; poses of less density count as failed fits.
LEAST_DENSITY = (
    5e-5, 5e-5, 2e-3, 5e-6, 5e-6, 1e-2, 5e-6, 5e-6, 2.5e-2, 0, 0, 2e-4, 4.5e-4, 4.5e-4, 5e-4, 2e-4, 2e-4, 4e-5, 4e-5,
    1e-3, 1e-3,
)  # fmt: skip
BINS = 100


@dataclass(frozen=True)
class Filters:
    """Which people and labels are trusted."""

    confidence: float = 0.3
    """Keypoints of less confidence count as absent."""
    max_beta: float = 3.0
    """Shapes with a larger coefficient count as absent; 0: all are kept."""
    pose_prior: str = ""
    """HMR2.0's amass_poses_hist100_SMPL+H_G.npy; poses that are improbable under it count as absent. "": no prior."""
    min_keypoints: int = 5
    """People with fewer keypoints are dropped."""
    max_reprojection_loss: float = 31_000.0
    """People whose fit has a larger loss are dropped; 0: none are."""
    regularize_betas: bool = True
    """An absent shape becomes a label of the average one, as HMR2.0 trains."""

    def __call__(self, person: dict[str, Any]) -> dict[str, Any] | str:
        """The person with its labels filtered, or the reason why it is dropped.

        Args:
            person: keypoints_2d (44, 3), pose (72,), betas (10,), has_pose, has_betas, reprojection_loss (float or
                None).
        """
        points = np.where(person["keypoints_2d"][:, 2:] < self.confidence, 0, person["keypoints_2d"])
        betas, has_betas, has_pose = person["betas"], bool(person["has_betas"]), bool(person["has_pose"])
        if self.max_beta and np.abs(betas).max() > self.max_beta:
            has_betas = False
        if has_pose and self.pose_prior:
            has_pose = load_prior(self.pose_prior).probable(person["pose"][None, 3:])[0]
        has_pose = has_betas = has_pose and has_betas
        if (points[:, 2] > 0).sum() < self.min_keypoints:
            return "keypoints_2d: too few with confidence"
        loss = person["reprojection_loss"]
        if self.max_reprojection_loss and loss is not None and not loss < self.max_reprojection_loss:
            return "fit: large reprojection loss"
        if not has_betas:
            betas, has_betas = np.zeros_like(betas), self.regularize_betas
        return person | {"keypoints_2d": points, "betas": betas, "has_pose": has_pose, "has_betas": has_betas}


class PosePrior:
    """The density of AMASS's poses around a pose, joint by joint."""

    def __init__(self, path: str):
        """Reads the histogram.

        Args:
            path: of an npy file (21, 100, 100, 100): counts of axis-angle vectors in [-pi, pi]^3 for joints 1 to 21.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is something else.
        """
        with epath.Path(path).expanduser().open("rb") as file:
            try:
                counts = np.load(file, allow_pickle=False)
            except ValueError as error:
                raise ValueError(f"{path} is not a pose prior: {error}") from None
        if counts.shape != (21, BINS, BINS, BINS):
            raise ValueError(f"{path} is not a pose prior: its shape is {counts.shape}, not (21, 100, 100, 100).")
        cell = (2 * np.pi / BINS) ** 3
        # Smoothed along the axis of joints too, as in HMR2.0, whose thresholds belong to that density.
        self._density = gaussian_filter((counts / (counts.sum() * cell)).astype(np.float32), 2, mode="constant")

    def probable(self, body_pose: np.ndarray) -> np.ndarray:
        """(N, 69) axis-angle of joints 1 to 23 -> (N,) bool."""
        vectors = _shortest(np.asarray(body_pose, np.float64)[:, :63].reshape(-1, 21, 3))
        cell = np.clip(((vectors / (2 * np.pi) + 0.5) * BINS).astype(int), 0, BINS - 1)
        density = self._density[np.arange(21), cell[..., 0], cell[..., 1], cell[..., 2]]  # (N, 21)
        return (density > np.array(LEAST_DENSITY)).all(1)


def _shortest(vectors: np.ndarray) -> np.ndarray:
    """The same rotations with angles of at most 180 degrees."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * (1 - 2 * np.pi * np.rint(angle / (2 * np.pi)) / np.maximum(angle, 1e-8))


@lru_cache(maxsize=1)
def load_prior(path: str) -> PosePrior:
    """`PosePrior`, read once for each process."""
    return PosePrior(path)
