"""The evaluation files of ProHMR and HMR2.0, and others with the same columns.

    <manual>/{h36m_val_p2,3dpw_test,coco_val,posetrack_2018_val,hr-lspet_train}.npz
    <manual>/images/...                                     or the folder of the option `images`

Columns: imgname, center (N, 2) px, scale (N,) or (N, 2) in px, or in units of 200 px as in SPIN's files of similar
names: `scale_unit` finds out which. Optional: body_pose (N, 72), has_body_pose, betas (N, 10), has_betas,
body_keypoints_2d (N, 25, 3), extra_keypoints_2d (N, 19, 3), body_keypoints_3d (N, 25, 4), extra_keypoints_3d
(N, 19, 4), gender. Boxes grow to the aspect of HMR2.0's encoder before they become squares, as in its evaluation.

Shapes: N people.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import box_of_row, finite_rows, read_rows, scaled_blocks, text
from data_pipelines.builders.labels.body_genders import gender_of_keypoints, genders_of_3dpw
from data_pipelines.builders.labels.keypoints import OPENPOSE_BODY, clip_confidence
from data_pipelines.records import Record
from hmr_jax.body.genders import Gender, parse_gender
from hmr_jax.body.labelled import load_labelled_bodies

BOX_SHAPE = (192, 256)
"""HMR2.0's BBOX_SHAPE: of the part of the crop that its encoder sees."""
NEEDED = ("imgname", "center", "scale")
OPTIONAL = (
    "body_pose", "has_body_pose", "betas", "has_betas", "body_keypoints_2d", "extra_keypoints_2d",
    "body_keypoints_3d", "extra_keypoints_3d", "gender",
)  # fmt: skip
BODY = ("body_pose", "betas")
FILES = {
    "h36m_val_p2": ("h36m_val_p2.npz", "test"),
    "3dpw_test": ("3dpw_test.npz", "test"),
    "coco_val": ("coco_val.npz", "validation"),
    "posetrack_2018_val": ("posetrack_2018_val.npz", "validation"),
    "hr-lspet_train": ("hr-lspet_train.npz", "train"),
}
"""Configuration: file and split."""


class Hmr2EvalNpz(RecordBuilder):
    """HMR2.0's evaluation files."""

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, description=f"{file}.") for name, (file, _) in FILES.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get hmr2_evaluation_data.tar.gz of 4D-Humans (github.com/shubham-goel/4D-Humans): it has "
        f"{', '.join(file for file, _ in FILES.values())}. Put the images that they name into the folder images "
        "beside them, or say where they are with --option images=DIR."
    )
    DESCRIPTION = "Evaluation sets as ProHMR and HMR2.0 distribute them: boxes, 44 keypoints, SMPL where known."
    HOMEPAGE = "https://github.com/shubham-goel/4D-Humans"
    EVALUATED = ("train", "validation", "test")

    def __init__(
        self,
        *,
        body: str = "",
        images: str = "",
        scale_unit: int = 0,
        box_shape: tuple[int, int] | None = BOX_SHAPE,
        **kwargs: Any,
    ):
        """Sets where the files are.

        Args:
            body: source of SMPL's bodies, which checks heights; "default" for labels of the built-in body; "": SMPL's,
                unchecked.
            images: folder of the images; "": images, or beside the labels.
            scale_unit: px in a unit of the column scale, 1 or 200; 0: found out.
            box_shape: width and height of a shape to which boxes grow before they become squares, as in HMR2.0's
                evaluation; None: they do not, as in ProHMR's.
            **kwargs: see `RecordBuilder`.

        Raises:
            ValueError: `box_shape` is no shape.
        """
        if box_shape is not None and not (np.shape(box_shape) == (2,) and min(box_shape) > 0):
            raise ValueError(f"box_shape must be a width and a height such as {BOX_SHAPE}, or None, not {box_shape}.")
        super().__init__(**kwargs)
        self.body, self.topology = body, load_labelled_bodies(body).topology if body else "smpl"
        self.images, self.scale_unit = images, scale_unit
        self.aspect = None if box_shape is None else box_shape[0] / box_shape[1]

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        file, split = FILES[self.builder_config.name]
        path, keypoints = manual_dir / file, ("body_keypoints_2d", "extra_keypoints_2d")
        return {split: scaled_blocks(path, NEEDED, keypoints, self.scale_unit)} if path.exists() else {}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop, unit = epath.Path(block[0]), int(block[1]), int(block[2]), int(block[3])
        labels = read_rows(path, start, stop, NEEDED + OPTIONAL)
        count = len(labels["center"])
        keypoints_2d, keypoints_3d = _keypoints(labels, "2d", count, 3), _keypoints(labels, "3d", count, 4)
        keypoints_3d[:, OPENPOSE_BODY, 3] = 0  # as in HMR2.0: the extra ones are the same joints, more exact
        find_image = self.image_finder(path.parent / "images", path.parent)
        names = list(map(text, labels["imgname"]))
        has_pose, has_betas = (_has(labels, column, count) for column in ("body_pose", "betas"))
        genders, doubts = self._genders(path.parent, labels, names, has_pose & has_betas, keypoints_3d)
        for row, name in enumerate(names):
            gender = genders[row]
            if gender is None:
                yield "gender: not known"
                continue
            yield self.person(
                find_image(name),
                doubt=doubts[row],
                key=f"{name}-{start + row}",
                **box_of_row(labels, row, unit, self.aspect),
                keypoints_2d=keypoints_2d[row],
                keypoints_3d=keypoints_3d[row],
                pose=labels["body_pose"][row] if has_pose[row] else None,
                betas=labels["betas"][row][:10] if has_betas[row] else None,
                topology=self.topology if "body_pose" in labels or "betas" in labels else "",
                gender=gender,
            )

    def _genders(
        self,
        folder: epath.Path,
        labels: dict[str, np.ndarray],
        names: list[str],
        posed: np.ndarray,
        keypoints_3d: np.ndarray,
    ) -> tuple[list[Gender | None], list[str]]:
        """The gender of each row, None where the stated one is no word for one; and doubts.

        The column is checked against 3DPW's own files where they are beside the images, and against the 3-D keypoints
        where there are bodies. What contradicts it is taken instead, and noted.
        """
        column, doubts = labels.get("gender", ["n"] * len(names)), [""] * len(names)
        stated = [parse_gender(text(gender)) for gender in column]
        rows = np.flatnonzero(posed & np.array([gender is not None for gender in stated]))
        if len(rows):
            rows = rows[finite_rows({name: labels[name][rows] for name in BODY}, BODY)]
        if not len(rows):
            return stated, doubts
        pose, betas = (
            labels["body_pose"][rows].astype(np.float64).reshape(-1, 72),
            labels["betas"][rows, :10].astype(np.float64),
        )
        found, sources = [stated[row] for row in rows], [""] * len(rows)
        if self.builder_config.name == "3dpw_test":
            roots = (folder, folder / "images", epath.Path(self.images or folder).expanduser())
            for number, own in enumerate(genders_of_3dpw(roots, [names[row] for row in rows], betas)):
                if own is not None:
                    found[number], sources[number] = own, "3DPW's own file"
        if self.body:
            bodies, points = load_labelled_bodies(self.body), keypoints_3d[rows]
            for number, seen in enumerate(gender_of_keypoints(bodies, found, pose, betas, points)):
                if seen is None:
                    doubts[rows[number]] = "keypoints_3d: not those of the labelled body"
                elif seen != found[number]:
                    found[number], sources[number] = seen, "the 3-D keypoints"
        result = list(stated)
        for row, gender, source in zip(rows.tolist(), found, sources, strict=True):
            if gender != stated[row]:
                self.note(f"gender: {gender} by {source}, {stated[row] if 'gender' in labels else 'none'} in the file")
            elif "gender" not in labels:
                self.note("gender: none in the file, so that the body is taken as neutral")
            result[row] = gender
        return result, doubts


def _has(labels: dict[str, np.ndarray], column: str, count: int) -> np.ndarray:
    """(N,) bool: whether the rows have pose or betas."""
    if column not in labels:
        return np.zeros(count, bool)
    flag = f"has_{column}"
    return np.asarray(labels[flag]).reshape(count).astype(bool) if flag in labels else np.ones(count, bool)


def _keypoints(labels: dict[str, np.ndarray], kind: str, count: int, width: int) -> np.ndarray:
    """(N, 44, width) body and extra keypoints, absent where the file has none."""
    points = np.zeros((count, 44, width))
    for name, rows in ((f"body_keypoints_{kind}", slice(0, 25)), (f"extra_keypoints_{kind}", slice(25, 44))):
        if name in labels:
            points[:, rows] = labels[name]
    return clip_confidence(points)
