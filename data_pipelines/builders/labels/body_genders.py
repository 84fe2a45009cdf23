"""Which gender labelled bodies have, by what else is known of them: files of evaluations are reported to err.

Shapes: N people.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from etils import epath

from data_pipelines.builders.labels.label_files import read_pickle
from data_pipelines.records.storage import kept_until_changed
from hmr_jax.body.genders import GENDERS, Gender, parse_gender
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.body.labelled import LabelledBodies

FIT = 0.01
"""Metres: a body's keypoints are those of the labels if they are not further away on average."""
SAME_BETAS = 1e-3


def gender_of_keypoints(
    bodies: LabelledBodies, genders: Sequence[Gender | None], pose: np.ndarray, betas: np.ndarray, points: np.ndarray
) -> list[Gender | None]:
    """The gender whose body has the labelled 3-D keypoints, relative to the pelvis; None where no body has them.

    The stated gender is taken where its body has them.

    Args:
        bodies: body models by gender.
        genders: as stated; None where nothing is.
        pose: (N, 72) axis-angle.
        betas: (N, 10).
        points: (N, 44, 4) metres and confidence; rows without the pelvis, or with no other point, give the stated one.
    """
    known = points[..., 3] > 0
    tested = np.flatnonzero(known[:, PELVIS_44] & (known.sum(1) > 1))
    found = list(genders)
    if not len(tested):
        return found
    true, weights = points[tested, :, :3] - points[tested, PELVIS_44 : PELVIS_44 + 1, :3], known[tested]
    errors = {}
    for gender in GENDERS:
        if bodies.has(gender):
            posed = bodies.keypoints(gender, pose[tested], betas[tested])
            distance = np.linalg.norm(posed - posed[:, PELVIS_44 : PELVIS_44 + 1] - true, axis=2)
            errors[gender] = (distance * weights).sum(1) / weights.sum(1)
    for number, row in enumerate(tested.tolist()):
        stated = genders[row]
        best = min(errors, key=lambda gender: (errors[gender][number], gender != stated))
        if stated not in errors or errors[stated][number] > FIT:
            found[row] = best if errors[best][number] <= FIT else None
    return found


def genders_of_3dpw(roots: Iterable[epath.Path], names: Sequence[str], betas: np.ndarray) -> list[Gender | None]:
    """3DPW's own genders of people in its images; None where its sequence files are not there or do not tell.

    Args:
        roots: folders that may hold sequenceFiles.
        names: of the images, <folders>/<sequence>/<image>.
        betas: (N, 10), by which people of one sequence are told apart.
    """
    folders = [folder for root in roots for folder in (root / "sequenceFiles").glob("*")]
    found: list[Gender | None] = []
    for name, shape in zip(names, betas, strict=True):
        sequence = PurePosixPath(name).parent.name
        paths = (folder / f"{sequence}.pkl" for folder in folders)
        path = next((path for path in paths if sequence and path.exists()), None)
        same = {gender for gender, own in (_people_of(path) if path else ()) if np.abs(own - shape).max() < SAME_BETAS}
        found.append(same.pop() if len(same) == 1 else None)
    return found


@kept_until_changed(64)
def _people_of(path: epath.Path) -> list[tuple[Gender | None, np.ndarray]]:
    sequence = read_pickle(path, ("genders", "betas"), "a sequence of 3DPW")
    pairs = zip(sequence["genders"], sequence["betas"], strict=True)
    return [(parse_gender(gender), np.asarray(betas, np.float64).reshape(-1)[:10]) for gender, betas in pairs]
