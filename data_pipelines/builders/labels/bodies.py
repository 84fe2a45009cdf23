"""The bodies that labels belong to: 44 keypoints, root joint and height from body parameters.

Shapes: N people, n vertices that the keypoints use.
"""

from functools import lru_cache
from typing import Literal

import jax
import numpy as np
from etils import epath
from scipy.spatial.transform import Rotation

from hmr_jax.body import BodyModel, keypoint_matrix, keypoint_vertices, load_body_model, skin

Gender = Literal["n", "m", "f"]
GENDERS: dict[str, Gender] = {
    "n": "n", "neutral": "n", "m": "m", "male": "m", "f": "f", "female": "f",
}  # fmt: skip
FILES: dict[Gender, str] = {"n": "SMPL_NEUTRAL", "m": "SMPL_MALE", "f": "SMPL_FEMALE"}
BLOCK = 64  # people computed together; always this many, so that one program does
HEIGHTS = (1.0, 2.5)  # metres, of people


def gender_of(text: str | bytes) -> Gender | None:
    """n, m or f; None: nobody knows such a gender, and guessing would pick a wrong body."""
    word = text.decode("latin1") if isinstance(text, bytes) else str(text)
    return GENDERS.get(word.strip().lower())


class Bodies:
    """Body models by gender, for making keypoints of labels."""

    def __init__(self, source: str):
        """Loads what is there.

        Args:
            source: A folder with SMPL_NEUTRAL, SMPL_MALE and SMPL_FEMALE as .npz or .pkl, such as
                `python -m hmr_jax.body.prepare` makes; one such file, then of the neutral body; "default": the built-in
                body for every gender.

        Raises:
            FileNotFoundError: There is no body model.
        """
        self._models: dict[Gender, BodyModel] = {}
        path = epath.Path(source).expanduser()
        if source == "default":
            self._models = dict.fromkeys(FILES, load_body_model("default"))
        elif path.is_dir():
            for gender, name in FILES.items():
                for file in (path / f"{name}.npz", path / f"{name}.pkl"):
                    if gender not in self._models and file.exists():
                        self._models[gender] = load_body_model(file)
            if not self._models:
                raise FileNotFoundError(
                    f"{path} holds no body model: it needs {', '.join(FILES.values())} as .npz or .pkl, which "
                    "`python -m hmr_jax.body.prepare FILE... --out DIR` makes."
                )
        else:
            self._models["n"] = load_body_model(source)

    @property
    def topology(self) -> str:
        """Of the vertices."""
        return next(iter(self._models.values())).topology

    def has(self, gender: Gender) -> bool:
        """Whether the body of a gender is there."""
        return gender in self._models

    def model(self, gender: Gender) -> BodyModel:
        """The body of a gender.

        Raises:
            FileNotFoundError: It is not there; another one would give wrong keypoints.
        """
        if gender not in self._models:
            raise FileNotFoundError(
                f"The labels need {FILES[gender]}: give a folder with it as option body (there: "
                f"{', '.join(FILES[g] for g in self._models)})."
            )
        return self._models[gender]

    def keypoints(
        self, gender: Gender, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray | None = None
    ) -> np.ndarray:
        """(N, 44, 3) keypoints in the axes of the pose, metres.

        Args:
            gender: Of the body.
            pose: (N, 72) or (N, 24, 3) axis-angle.
            betas: (N, 10).
            translation: (N, 3), or None.
        """
        model, count = self.model(gender), len(pose)
        vertex_ids, matrix = _keypoints_of(model)
        rotations = Rotation.from_rotvec(np.reshape(pose, (-1, 3))).as_matrix().reshape(-1, 24, 3, 3)
        points = []
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            rows = np.minimum(np.arange(start, start + BLOCK), count - 1)
            out = _skin(model, betas[rows].astype(np.float32), rotations[rows].astype(np.float32), vertex_ids)
            both = np.concatenate([np.asarray(out.joints), np.asarray(out.vertices)], 1)[:size]  # (size, J + n, 3)
            points.append(matrix @ both)
        result = np.concatenate(points) if points else np.zeros((0, 44, 3))
        return result if translation is None else result + np.asarray(translation)[:, None]

    def root(self, gender: Gender, betas: np.ndarray) -> np.ndarray:
        """(N, 3) root joint at rest: the point about which the global orientation turns."""
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


def camera_translation(rotation: np.ndarray, shift: np.ndarray, translation: np.ndarray, root: np.ndarray):
    """SMPL's translation in camera axes, (N, 3).

    The global orientation turns a body about its root joint and not about the origin: R (j0 + t) + shift - j0.

    Args:
        rotation: (N, 3, 3) from world to camera.
        shift: (N, 3) from world to camera.
        translation: (N, 3) in world axes.
        root: (N, 3) root joint at rest, `Bodies.root`.
    """
    return np.einsum("nij,nj->ni", rotation, root + translation) + shift - root


def rotate_root(rotation: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N, 72) poses whose global orientation is turned by (N, 3, 3) or (3, 3)."""
    turned = np.array(pose, np.float64)
    turned[:, :3] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(turned[:, :3])).as_rotvec()
    return turned


@jax.jit
def _skin(model: BodyModel, betas, rotations, vertex_ids):
    return skin(model, betas, rotations, vertex_ids=vertex_ids)


_KEYPOINTS: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _keypoints_of(model: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    if id(model) not in _KEYPOINTS:
        _KEYPOINTS[id(model)] = keypoint_vertices(model), keypoint_matrix(model)
    return _KEYPOINTS[id(model)]


@lru_cache(maxsize=4)
def load_bodies(source: str) -> Bodies:
    """`Bodies`, read once for each process."""
    return Bodies(source)
