"""Rows of SPIN's npz files and of those that CLIFF made like them: Human3.6M, COCO, MPII, LSP.

Columns: imgname, center (N, 2) px, scale (N,) of 200 px. Optional: part (N, 24, 3) px and confidence, openpose
(N, 25, 3), S (N, 24, 4) metres and confidence, pose (N, 72), shape (N, 10), has_smpl (N,), gender; CLIFF adds global_t
(N, 3) metres and focal_l (N,) px of a camera whose axis goes through the middle of the image. SPIN's static fits are
a file of their own, (N, 82).
"""

from collections.abc import Iterator

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import (
    BLOCK_ROWS,
    ImageFinder,
    check_columns,
    extent_of,
    read_rows,
    row_blocks,
    scale_unit,
    text,
)  # fmt: skip
from data_pipelines.builders.labels.cropping import BadImage
from data_pipelines.builders.labels.keypoints import from_spin_24
from data_pipelines.records import Record
from hmr_jax.body.genders import parse_gender
from hmr_jax.body.labelled import load_labelled_bodies

NEEDED = ("imgname", "center", "scale")
OPTIONAL = ("part", "openpose", "S", "pose", "shape", "has_smpl", "gender", "global_t", "focal_l")


def spin_blocks(path: epath.Path, unit: int, fits: epath.Path | None = None) -> list[Block]:
    """The blocks of a file, (path, start, stop, unit, path of the fits or "").

    Args:
        path: The npz file.
        unit: Px in a unit of the column scale; 0: found out.
        fits: SPIN's static fits, or None.

    Raises:
        ValueError: Columns are missing, or the fits do not belong to the file.
    """
    rows = check_columns(path, NEEDED)["center"][0]
    first = read_rows(path, 0, BLOCK_ROWS, ("scale", "part", "openpose"))
    points = [first[name] for name in ("part", "openpose") if name in first]
    unit = unit or scale_unit(first["scale"], extent_of(np.concatenate(points, 1)) if points else None, path)
    if fits is not None:
        shape = _fits(fits).shape
        if shape != (rows, 82):
            raise ValueError(
                f"{fits} has the shape {shape}, but {path} needs ({rows}, 82): they do not belong together."
            )
    return row_blocks(path, rows, unit, "" if fits is None else str(fits))


def spin_rows(builder: RecordBuilder, block: Block, images: list[epath.Path], body: str) -> Iterator[Record | str]:
    """The records of a block.

    Args:
        builder: Whose options say how people are cut out.
        block: Of `spin_blocks`.
        images: Folders of the images.
        body: "default" or the source of an SMPL body, for 3-D keypoints where the file has a translation; "": none.
    """
    path, start, stop, unit = epath.Path(block[0]), int(block[1]), int(block[2]), int(block[3])
    labels = read_rows(path, start, stop, NEEDED + OPTIONAL)
    count = len(labels["center"])
    if block[4]:
        fits = _fits(epath.Path(block[4]))[start:stop]
        labels |= {"pose": fits[:, :72], "shape": fits[:, 72:]}
    topology = load_labelled_bodies(body).topology if body else "smpl"
    has = np.ones(count) if "has_smpl" not in labels else np.asarray(labels["has_smpl"]).reshape(count)
    known = "pose" in labels and "shape" in labels
    flat = np.zeros((count, 24, 3)) if "part" not in labels else labels["part"]
    find_image = ImageFinder(*images)
    for row, name in enumerate(map(text, labels["imgname"])):
        gender = parse_gender(text(labels["gender"][row])) if "gender" in labels else "n"
        if gender is None:
            yield "gender: not known"
            continue
        try:
            image = find_image(name)
        except BadImage as error:
            yield str(error)
            continue
        more: dict = {}
        posed = known and bool(has[row])
        if posed:
            more |= {"pose": labels["pose"][row], "betas": labels["shape"][row][:10]}
        if "S" in labels:
            more["keypoints_3d"] = _clipped(from_spin_24(labels["S"][row].astype(np.float64)))
        if posed and "global_t" in labels and "focal_l" in labels:
            focal = float(labels["focal_l"][row])
            more["translation"] = labels["global_t"][row]
            more["intrinsics"] = [[focal, 0, image.width / 2], [0, focal, image.height / 2], [0, 0, 1]]
            numbers = [np.ravel(more[key]) for key in ("pose", "betas", "translation")]
            if body and np.isfinite(np.concatenate(numbers)).all():
                inputs = (np.asarray(more[key], np.float64)[None] for key in ("pose", "betas", "translation"))
                solid = load_labelled_bodies(body).keypoints(gender, *inputs)[0]
                more["keypoints_3d"] = np.concatenate([solid, np.ones((44, 1))], 1)
        openpose = labels["openpose"][row].astype(np.float64) if "openpose" in labels else None
        yield builder.person(
            image,
            key=f"{name}-{start + row}",
            box_center=labels["center"][row],
            box_size=unit * float(np.max(labels["scale"][row])),
            keypoints_2d=_clipped(from_spin_24(flat[row].astype(np.float64), openpose)),
            topology=topology if known else "",
            gender=gender,
            **more,
        )


def _fits(path: epath.Path) -> np.ndarray:
    with path.open("rb") as file:
        try:
            return np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not an npy file of fits: {error}") from None


def _clipped(points: np.ndarray) -> np.ndarray:
    points[:, -1] = np.clip(points[:, -1], 0, 1)
    return points
