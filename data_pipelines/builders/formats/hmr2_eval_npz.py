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
from data_pipelines.builders.formats.npz_rows import box_of_row, read_rows, scaled_blocks, text
from data_pipelines.builders.labels.keypoints import OPENPOSE_BODY, clip_confidence
from data_pipelines.records import Record
from hmr_jax.body.genders import parse_gender
from hmr_jax.body.labelled import load_labelled_bodies

BOX_SHAPE = (192, 256)
"""HMR2.0's BBOX_SHAPE: of the part of the crop that its encoder sees."""
NEEDED = ("imgname", "center", "scale")
OPTIONAL = (
    "body_pose", "has_body_pose", "betas", "has_betas", "body_keypoints_2d", "extra_keypoints_2d",
    "body_keypoints_3d", "extra_keypoints_3d", "gender",
)  # fmt: skip
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
        for row, name in enumerate(map(text, labels["imgname"])):
            gender = parse_gender(text(labels["gender"][row])) if "gender" in labels else "n"
            has_pose, has_betas = (
                column in labels and bool(labels[f"has_{column}"][row] if f"has_{column}" in labels else True)
                for column in ("body_pose", "betas")
            )
            if gender is None:
                yield "gender: not known"
                continue
            yield self.person(
                find_image(name),
                key=f"{name}-{start + row}",
                **box_of_row(labels, row, unit, self.aspect),
                keypoints_2d=keypoints_2d[row],
                keypoints_3d=keypoints_3d[row],
                pose=labels["body_pose"][row] if has_pose else None,
                betas=labels["betas"][row][:10] if has_betas else None,
                topology=self.topology if "body_pose" in labels or "betas" in labels else "",
                gender=gender,
            )


def _keypoints(labels: dict[str, np.ndarray], kind: str, count: int, width: int) -> np.ndarray:
    """(N, 44, width) body and extra keypoints, absent where the file has none."""
    points = np.zeros((count, 44, width))
    for name, rows in ((f"body_keypoints_{kind}", slice(0, 25)), (f"extra_keypoints_{kind}", slice(25, 44))):
        if name in labels:
            points[:, rows] = labels[name]
    return clip_confidence(points)
