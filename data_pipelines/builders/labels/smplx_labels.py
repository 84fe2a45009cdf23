"""SMPL-X labels become SMPL labels: pose SMPL-X, map its skin to SMPL's vertices, fit SMPL to them.

The two shape spaces differ, so the fit leaves a few millimetres; labels whose fit leaves more than `MAX_ERROR` are
dropped by the builders.

Shapes: N people.
"""

from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

from hmr_jax.body.blocks import equal_blocks
from hmr_jax.body.fitting import fit_body
from hmr_jax.body.genders import Gender, file_stem, find_body_file
from hmr_jax.body.labelled import load_labelled_bodies
from hmr_jax.body.smplx import SmplxModel, read_smplx, read_vertex_map, smplx_surface
from hmr_jax.geometry import matrix_to_axis_angle

MAX_ERROR = 20.0
"""Mean distance of a fitted body from the mapped skin, mm, above which a label is dropped."""
BATCH = 32
LARGEST_ANGLE = 2 * np.pi + 0.01
"""Radians: labels with a larger rotation are damaged, which a fit would hide."""


class SmplLabels(NamedTuple):
    """Labels of the neutral SMPL body."""

    pose: np.ndarray
    """(N, 72) axis-angle in the axes of the SMPL-X labels."""
    betas: np.ndarray
    """(N, 10)."""
    translation: np.ndarray
    """(N, 3) metres."""
    error: np.ndarray
    """(N,) mean distance from the mapped skin, mm; infinite where a joint is rotated by more than a turn."""
    joints: np.ndarray
    """(N, 55, 3) of SMPL-X, for checking the labels against their own 2-D points."""


class SmplxFitter:
    """Makes SMPL labels of SMPL-X labels; reads the files that this needs once."""

    def __init__(self, smplx: str, vertex_map: str, body: str):
        """Reads the vertex map; body models are read when they are needed.

        Args:
            smplx: folder with SMPLX_NEUTRAL, SMPLX_MALE and SMPLX_FEMALE as .npz or .pkl, or the file of the neutral
                body.
            vertex_map: smplx2smpl.pkl, or smplx2smpl.npz of `python -m hmr_jax.body.prepare`.
            body: source of the bodies of the new labels, see `LabelledBodies`.

        Raises:
            ValueError: one of them is not given.
        """
        for name, value, what in (
            ("smplx", smplx, "the folder with SMPLX_NEUTRAL.npz"),
            ("vertex_map", vertex_map, "smplx2smpl.pkl of SMPL-X's model transfer data"),
            ("body", body, "the folder with SMPL_NEUTRAL"),
        ):
            if not value:
                raise ValueError(f"These labels are of SMPL-X, so the builder needs --option {name}=PATH, {what}.")
        self._smplx = epath.Path(smplx).expanduser()
        self._map = read_vertex_map(vertex_map)
        self.bodies = load_labelled_bodies(body)
        self._models: dict[Gender, SmplxModel] = {}

    def model(self, gender: Gender) -> SmplxModel:
        """SMPL-X of a gender.

        Raises:
            FileNotFoundError: it is not there; another one would give another surface.
        """
        if gender not in self._models:
            single = self._smplx if self._smplx.is_file() and gender == "n" else None
            file = single or find_body_file(self._smplx, gender, "SMPLX")
            if file is None:
                raise FileNotFoundError(f"The labels need {file_stem(gender, 'SMPLX')}.npz: {self._smplx} holds none.")
            model = read_smplx(file)
            if model.body.num_vertices != self._map.shape[1]:
                raise ValueError(
                    f"{file} has {model.body.num_vertices} vertices, but the vertex map is of {self._map.shape[1]}."
                )
            self._models[gender] = model
        return self._models[gender]

    def __call__(
        self,
        gender: Gender,
        betas: np.ndarray,
        pose: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray | None = None,
        where: object = "the labels",
    ) -> SmplLabels:
        """SMPL labels of people.

        Args:
            gender: of the SMPL-X body.
            betas: (N, n).
            pose: (N, 55, 3) axis-angle, see `SmplxModel.full_pose`.
            translation: (N, 3) metres.
            expression: (N, up to 10), or None.
            where: the file of the labels, for messages.

        Raises:
            ValueError: there are more betas than the body has.
        """
        model, count, parts = self.model(gender), len(betas), []
        if betas.shape[1] > model.num_betas:
            raise ValueError(f"The shapes of {where} have {betas.shape[1]} betas, but SMPL-X's file {model.num_betas}.")
        damaged = np.linalg.norm(pose[:, :22], axis=2).max(1) > LARGEST_ANGLE
        for rows, new in equal_blocks(count, BATCH):
            face = None if expression is None else expression[rows]
            surface = smplx_surface(model, betas[rows], pose[rows], translation[rows], face)
            skin = np.stack([self._map @ vertices for vertices in np.asarray(surface.vertices)])
            fit = fit_body(self.bodies.model("n"), skin, batch=BATCH)
            axis_angle = np.asarray(matrix_to_axis_angle(jnp.asarray(fit.rotations))).reshape(BATCH, 72)
            error = np.where(damaged[rows], np.inf, fit.mean_error)
            labels = (axis_angle, fit.betas, fit.translation, error, np.asarray(surface.joints))
            parts.append([values[:new] for values in labels])
        if not parts:
            return SmplLabels(*(np.zeros((0, *shape)) for shape in ((72,), (10,), (3,), (), (55, 3))))
        return SmplLabels(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@lru_cache(maxsize=2)
def load_fitter(smplx: str, vertex_map: str, body: str) -> SmplxFitter:
    """`SmplxFitter`, made once for each process."""
    return SmplxFitter(smplx, vertex_map, body)
