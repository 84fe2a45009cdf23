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
from data_pipelines.builders.formats.npz_rows import box_of_row, row_blocks
from data_pipelines.builders.formats.pseudo_labels import PSEUDO_LABELS, PseudoLabelled
from data_pipelines.builders.labels.keypoints import MPII_16_TO_SPIN, from_spin_24
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record


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
            if (points > 0).sum() < points.size:  # SPIN's rule: all 16
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
        ValueError: it is not an HDF5 file, or lacks an array.
    """
    import h5py

    try:
        with path.open("rb") as raw, h5py.File(raw, "r") as file:
            rows: dict[str, Any] = {
                name: np.asarray(file[name][start:stop]) for name in ("center", "scale", "part", "imgname")
            }
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the hourglass's train.h5 with center, scale, part and imgname: {error}"
        ) from None
    names = rows["imgname"]
    if names.dtype.kind in "iuf":  # codes of characters, padded with 0
        rows["imgname"] = ["".join(chr(int(code)) for code in row if code) for row in names.reshape(len(names), -1)]
    else:
        rows["imgname"] = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return rows
