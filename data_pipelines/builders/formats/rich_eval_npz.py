"""RICH as published evaluations use it: BEDLAM's label file, one row for each person and view.

    <manual>/rich_test.npz
    <manual>/images/...                                   or the folder of the option `images`

Columns: imgname, center (N, 2) px, scale (N,) in units of 200 px, pose_cam (N, 66 or more) SMPL-X axis-angle with the
root in camera axes, shape (N, 10), gender. The truth is the gendered SMPL-X body with flat hands, mapped to SMPL's
vertices.
The file has neither cameras nor translations, so records have none, and 3-D keypoints are relative to the pelvis.

Shapes: N people.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.formats.npz_rows import check_columns, finite_rows, read_rows, row_blocks, text
from data_pipelines.builders.labels.projection import with_confidence
from data_pipelines.builders.smplx_base import SmplxBuilder
from data_pipelines.records import Record
from hmr_jax.body.genders import GENDERS, parse_gender
from hmr_jax.body.joints import PELVIS_44

FILE = "rich_test.npz"
COLUMNS = ("imgname", "center", "scale", "pose_cam", "shape", "gender")
NUMBERS = ("center", "scale", "pose_cam", "shape")


class RichEvalNpz(SmplxBuilder):
    """RICH's test set with the labels of BEDLAM's authors."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get {FILE} of BEDLAM's evaluation labels (bedlam.is.tue.mpg.de) and RICH's test images "
        "(rich.is.tue.mpg.de): the file in the folder, the images in images or where --option images=DIR says."
    )
    DESCRIPTION = "RICH's test set as HMR papers evaluate on it: SMPL fitted to gendered SMPL-X."
    HOMEPAGE = "https://rich.is.tue.mpg.de"

    def __init__(self, *, images: str = "", image_scale: float = 1.0, **kwargs: Any):
        """Sets where the files are.

        Args:
            images: folder of the images; "": <manual>/images.
            image_scale: side of the images on disk in units of that of the images that the boxes refer to.
            **kwargs: see `SmplxBuilder`.
        """
        super().__init__(**kwargs)
        self.images, self.image_scale = images, image_scale

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        path = manual_dir / FILE
        return {"test": row_blocks(path, check_columns(path, COLUMNS)["center"][0])} if path.exists() else {}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop = epath.Path(block[0]), int(block[1]), int(block[2])
        labels = read_rows(path, start, stop, COLUMNS)
        fitter, count = self.fitter, len(labels["center"])
        genders = [parse_gender(text(gender)) for gender in labels["gender"]]
        finite = finite_rows(labels, NUMBERS)
        pose, betas, error = np.zeros((count, 72)), np.zeros((count, 10)), np.zeros(count)
        for gender in GENDERS:
            of = np.flatnonzero(finite & np.array([found == gender for found in genders]))
            if len(of):
                full = fitter.model(gender).full_pose(labels["pose_cam"][of, :66].astype(np.float64))
                shape = labels["shape"][of].astype(np.float64)
                fitted = fitter(gender, shape, full, np.zeros((len(of), 3)), where=path)
                pose[of], betas[of], error[of] = fitted.pose, fitted.betas, fitted.error
        keypoints = fitter.bodies.keypoints("n", pose, betas)
        keypoints = with_confidence(keypoints - keypoints[:, PELVIS_44 : PELVIS_44 + 1])

        find_image = self.image_finder(path.parent / "images")
        for row, name in enumerate(map(text, labels["imgname"])):
            if not finite[row]:
                yield "labels: not finite"
            elif genders[row] is None:
                yield "gender: not known"
            else:
                yield self.person(
                    find_image(name),
                    doubt="smplx: SMPL does not fit" if error[row] > self.max_error else "",
                    key=f"{name}-{start + row}",
                    box_center=(labels["center"][row] + 0.5) * self.image_scale - 0.5,
                    box_size=200 * float(np.max(labels["scale"][row])) * self.image_scale,
                    keypoints_2d=np.zeros((44, 3)),
                    keypoints_3d=keypoints[row],
                    pose=pose[row],
                    betas=betas[row],
                    topology=fitter.bodies.topology,
                )
