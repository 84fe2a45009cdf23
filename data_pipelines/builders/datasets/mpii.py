"""MPII Human Pose (Andriluka et al., CVPR 2014), and pseudo labels of SMPL on its images.

    annotations  <manual>/train.h5 of the stacked hourglass: center, scale, part, imgname      16 keypoints, no body
    eft          <manual>/MPII_ver01.json, or option labels                                    EFT's fits
    cliff        <manual>/mpii_cliffGT.npz                                                     CLIFF's, with cameras
    spin         <manual>/mpii_train.npz, and mpii_train_fits.npy                              SPIN's static fits

Images: <manual>/images, or the folder of the option `images`.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.formats.npz_rows import box_of_row, row_blocks, text
from data_pipelines.builders.formats.pseudo_labels import PSEUDO_LABELS, PseudoLabelled
from data_pipelines.builders.labels.keypoints import MPII_16_TO_SPIN, from_spin_24
from data_pipelines.builders.labels.label_arrays import Shape, numbers
from data_pipelines.builders.labels.label_files import open_hdf5
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record

HOURGLASS: dict[str, tuple[Shape, ...]] = {
    "center": ((None, 2),), "scale": ((None,), (None, 1)), "part": ((None, 16, 2),),
}  # fmt: skip
"""Array of the hourglass's file: its shapes."""


class Mpii(PseudoLabelled):
    """People of MPII with keypoints, and with SMPL where somebody fitted it."""

    LABELS: ClassVar = {
        "annotations": "train.h5", "eft": "MPII_ver01.json", "cliff": "mpii_cliffGT.npz", "spin": "mpii_train.npz",
    }  # fmt: skip
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="annotations", description="MPII's keypoints, as the stacked hourglass has them."),
        *PSEUDO_LABELS,
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get mpii_human_pose_v1.tar.gz from human-pose.mpi-inf.mpg.de and unpack it (folder images); put the labels "
        f"beside it: {', '.join(LABELS.values())}."
    )
    DESCRIPTION = "People of MPII Human Pose with keypoints and pseudo labels."
    HOMEPAGE = "http://human-pose.mpi-inf.mpg.de"

    def annotation_blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        path = manual_dir / (self.labels or self.LABELS["annotations"])
        return {"train": row_blocks(path, len(_hourglass(path, 0, None)["center"]))} if path.exists() else {}

    def image_folders(self, labels: epath.Path) -> list[epath.Path]:
        return [labels.parent, labels.parent / "images"]

    def annotation_rows(self, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
        start, stop = int(block[1]), int(block[2])
        labels = _hourglass(epath.Path(block[0]), start, stop)
        for row, name in enumerate(labels["imgname"]):
            points = labels["part"][row]
            if not (points > 0).all():  # SPIN's rule: all 16
                yield "keypoints_2d: not all of the body"
                continue
            spin = np.zeros((24, 3))
            spin[list(MPII_16_TO_SPIN)] = np.insert(points, 2, 1, 1)
            yield self.person(
                find_image(name),
                key=f"{name}-{start + row}",
                **box_of_row(labels, row, 200),  # MPII's scale is a person's height in units of 200 px
                keypoints_2d=from_spin_24(spin),
            )


def _hourglass(path: epath.Path, start: int, stop: int | None) -> dict[str, Any]:
    """Rows `start` to `stop` - 1 of center, scale, part and imgname.

    Raises:
        ValueError: it is not an HDF5 file, or an array is missing or of another shape.
    """
    with open_hdf5(path, "the hourglass's train.h5 with center, scale, part and imgname") as read:
        rows: dict[str, Any] = {
            name: numbers(path, name, read(name, start, stop), *shapes) for name, shapes in HOURGLASS.items()
        }
        names = read("imgname", start, stop)
    if names.dtype.kind in "iuf":  # codes of characters, padded with 0
        if names.ndim != 2 or not ((names >= 0) & (names < 0xD800)).all():
            raise ValueError(f"'imgname' of {path} is neither names nor the codes of their characters.")
        rows["imgname"] = ["".join(chr(int(code)) for code in row if code) for row in names]
    elif names.ndim != 1:
        raise ValueError(f"'imgname' of {path} has the shape {names.shape}, not one name a row.")
    else:
        rows["imgname"] = [text(name) for name in names]
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path} has arrays of different lengths: {lengths}.")
    return rows
