"""Rows of SPIN's npz files and of those that CLIFF made like them: Human3.6M, COCO, MPII, LSP.

Columns: imgname, center (N, 2) px, scale (N,) in units of 200 px. Optional: part (N, 24, 3) px and confidence, openpose
(N, 25, 3), S (N, 24, 4) metres and confidence, pose (N, 72), shape (N, 10), has_smpl (N,), gender; CLIFF adds global_t
(N, 3) metres and focal_l (N,) px of a camera whose axis goes through the middle of the image. SPIN's static fits are
in a second file, (N, 82).

Shapes: N people.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import box_of_row, check_columns, read_rows, scaled_blocks, text
from data_pipelines.builders.labels.keypoints import from_spin_24
from data_pipelines.builders.labels.projection import with_confidence
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record
from hmr_jax.body.genders import parse_gender
from hmr_jax.body.labelled import load_labelled_bodies
from hmr_jax.io import npy

NEEDED = ("imgname", "center", "scale")
OPTIONAL = ("part", "openpose", "S", "pose", "shape", "has_smpl", "gender", "global_t", "focal_l")


def spin_blocks(path: epath.Path, unit: int, fits: epath.Path | None = None) -> list[Block]:
    """The blocks of a file, (path, start, stop, unit, path of the fits or "").

    Args:
        path: the npz file.
        unit: px in a unit of the column scale; 0: found out.
        fits: SPIN's static fits, or None.

    Raises:
        ValueError: columns are missing, or the fits do not belong to the file.
    """
    blocks = scaled_blocks(path, NEEDED, ("part", "openpose"), unit, "" if fits is None else str(fits))
    if fits is not None:
        rows, shape = check_columns(path, NEEDED)["center"][0], _read_fits(fits, 0, 0)[0]
        if shape != (rows, 82):
            raise ValueError(
                f"{fits} has the shape {shape}, but {path} needs ({rows}, 82): they do not belong together."
            )
    return blocks


def spin_rows(builder: RecordBuilder, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
    """The records of a block of `spin_blocks`.

    Where the file has a translation and the builder a body, 3-D keypoints are those of the body.
    """
    path, start, stop, unit = epath.Path(block[0]), int(block[1]), int(block[2]), int(block[3])
    labels = read_rows(path, start, stop, NEEDED + OPTIONAL)
    count = len(labels["center"])
    if block[4]:
        fits = _read_fits(epath.Path(block[4]), start, stop)[1]
        labels |= {"pose": fits[:, :72], "shape": fits[:, 72:]}
    bodies = load_labelled_bodies(builder.body) if builder.body else None
    topology = bodies.topology if bodies else "smpl"
    has = np.ones(count) if "has_smpl" not in labels else np.asarray(labels["has_smpl"]).reshape(count)
    known = "pose" in labels and "shape" in labels
    points = np.zeros((count, 24, 3)) if "part" not in labels else labels["part"]
    for row, name in enumerate(map(text, labels["imgname"])):
        gender = parse_gender(text(labels["gender"][row])) if "gender" in labels else "n"
        if gender is None:
            yield "gender: not known"
            continue
        image = find_image(name)
        if isinstance(image, str):
            yield image
            continue
        more: dict[str, Any] = {}
        posed = known and bool(has[row])
        if posed:
            more |= {"pose": labels["pose"][row], "betas": labels["shape"][row][:10]}
        if "S" in labels:
            more["keypoints_3d"] = from_spin_24(labels["S"][row])
        if posed and "global_t" in labels and "focal_l" in labels:
            focal = float(np.squeeze(labels["focal_l"][row]))
            more["translation"] = labels["global_t"][row]
            more["intrinsics"] = [[focal, 0, image.width / 2], [0, focal, image.height / 2], [0, 0, 1]]
            body = [np.asarray(more[key], np.float64)[None] for key in ("pose", "betas", "translation")]
            if bodies and np.isfinite(np.concatenate(body, 1)).all():
                more["keypoints_3d"] = with_confidence(bodies.keypoints(gender, *body)[0])
        openpose = labels["openpose"][row] if "openpose" in labels else None
        yield builder.person(
            image,
            key=f"{name}-{start + row}",
            **box_of_row(labels, row, unit),
            keypoints_2d=from_spin_24(points[row], openpose),
            topology=topology if known else "",
            gender=gender,
            **more,
        )


def _read_fits(path: epath.Path, start: int, stop: int) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of a file of fits, and its rows `start` to `stop` - 1."""
    with path.open("rb") as file:
        try:
            header = npy.read_header(file)
            return header.shape, npy.read_rows(file, header, start, stop)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not an npy file of fits: {error}") from None
