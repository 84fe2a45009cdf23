"""The bodies of labelled people: 44 keypoints, root joint and height from body parameters.

Shapes: N people, J joints, n vertices that the keypoints use.
"""

from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.genders import Gender, file_stem, load_genders
from hmr_jax.body.model import BodyModel
from hmr_jax.body.regressors import JointSet, joint_set_matrix
from hmr_jax.body.skinning import BodyOutput, skin

BLOCK = 64  # people skinned together; always this many, so that one program is compiled
HEIGHTS = (1.0, 2.5)  # metres, plausible for people


class LabelledBodies:
    """Body models by gender, and what their labelled parameters imply."""

    def __init__(self, source: str):
        """Loads the bodies of a source, see `genders.load_genders`."""
        self._models: dict[Gender, BodyModel] = load_genders(source)
        self._joint_sets: dict[Gender, JointSet] = {}

    @property
    def topology(self) -> str:
        """Topology of the bodies, see `BodyModel`."""
        return next(iter(self._models.values())).topology

    def has(self, gender: Gender) -> bool:
        """Whether there is a body of this gender."""
        return gender in self._models

    def model(self, gender: Gender) -> BodyModel:
        """The body of a gender.

        Raises:
            FileNotFoundError: there is none; another one would give wrong keypoints.
        """
        if gender not in self._models:
            found = ", ".join(map(file_stem, self._models))
            raise FileNotFoundError(
                f"The labels need {file_stem(gender)}: give a folder that holds it as option body (found: {found})."
            )
        return self._models[gender]

    def _keypoints(self, gender: Gender) -> JointSet:
        """The map to the 44 keypoints, made once for each gender."""
        if gender not in self._joint_sets:
            self._joint_sets[gender] = joint_set_matrix(self.model(gender), "keypoints_44")
        return self._joint_sets[gender]

    def keypoints(
        self, gender: Gender, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray | None = None
    ) -> np.ndarray:
        """(N, 44, 3) keypoints in the axes of the pose, metres.

        Args:
            gender: of the body.
            pose: (N, 72) or (N, 24, 3) axis-angle.
            betas: (N, 10).
            translation: (N, 3), or None.
        """
        model, count = self.model(gender), len(pose)
        matrix, vertex_ids = self._keypoints(gender)
        rotations = Rotation.from_rotvec(np.reshape(pose, (-1, 3))).as_matrix().reshape(-1, 24, 3, 3)
        points = []
        for rows, size in equal_blocks(count, BLOCK):
            out = _skin(model, betas[rows].astype(np.float32), rotations[rows].astype(np.float32), vertex_ids)
            both = np.concatenate([np.asarray(out.joints), np.asarray(out.vertices)], 1)[:size]  # (size, J + n, 3)
            points.append(matrix @ both)
        result = np.concatenate(points) if points else np.zeros((0, 44, 3))
        return result if translation is None else result + np.asarray(translation)[:, None]

    def root(self, gender: Gender, betas: np.ndarray) -> np.ndarray:
        """(N, 3) root joint at rest, metres: the point about which the global orientation rotates the body."""
        model = self.model(gender)
        row = np.asarray(model.joint_regressor)[0].astype(np.float64)
        dirs = np.einsum("v,vcs->cs", row, np.asarray(model.shapedirs)[..., : betas.shape[1]])
        return row @ np.asarray(model.v_template) + betas @ dirs.T

    def heights(self, gender: Gender, betas: np.ndarray) -> np.ndarray:
        """(N,) metres from the lowest to the highest vertex of the average body, at rest."""
        model = self.model(gender)
        ends = [np.argmax(model.v_template[:, 1]), np.argmin(model.v_template[:, 1])]
        tall, dirs = np.asarray(model.v_template)[ends, 1], np.asarray(model.shapedirs)[ends, 1, : betas.shape[1]]
        return tall[0] - tall[1] + betas @ (dirs[0] - dirs[1])


@jax.jit
def _skin(model: BodyModel, betas: jax.Array, rotations: jax.Array, vertex_ids: jax.Array) -> BodyOutput:
    return skin(model, betas, rotations, vertex_ids=vertex_ids)


def load_labelled_bodies(source: str) -> LabelledBodies:
    """`LabelledBodies`, read once for each process and again when a file has changed."""
    return _load(source, _state(source))


@lru_cache(maxsize=4)
def _load(source: str, state: tuple) -> LabelledBodies:
    return LabelledBodies(source)


def _state(source: str) -> tuple:
    """Places, sizes and times of a source's files, which change with them."""
    path = Path(source).expanduser().absolute()
    files = [file for file in (path, *path.glob("*.*")) if file.is_file()]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files))
