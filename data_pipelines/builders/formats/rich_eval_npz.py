"""RICH as published evaluations take it: BEDLAM's label file, one row for each person and view.

    <manual>/rich_test.npz
    <manual>/images/...                                   or the folder of the option `images`; as imgname says

Columns: imgname, center (N, 2) px, scale (N,) of 200 px, pose_cam (N, 66 or more) SMPL-X axis-angle with the root in
camera axes, shape (N, 10), gender. The truth is the gendered SMPL-X body with flat hands, mapped to SMPL's vertices.
The file has neither cameras nor translations, so records have none, and 3-D keypoints are relative to the pelvis.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import ImageFinder, check_columns, read_rows, row_blocks, text
from data_pipelines.builders.labels.cropping import BadImage
from data_pipelines.builders.labels.projection import with_confidence
from data_pipelines.builders.labels.smplx_labels import MAX_ERROR, load_fitter
from data_pipelines.records import Record
from hmr_jax.body.genders import GENDERS, parse_gender
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.body.labelled import HEIGHTS

FILE = "rich_test.npz"
COLUMNS = ("imgname", "center", "scale", "pose_cam", "shape", "gender")
NUMBERS = ("center", "scale", "pose_cam", "shape")


class RichEvalNpz(RecordBuilder):
    """RICH's test set by BEDLAM's label file."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get {FILE} of BEDLAM's evaluation labels (bedlam.is.tue.mpg.de) and RICH's test images "
        "(rich.is.tue.mpg.de): the file in the folder, the images in images or where --option images=DIR says."
    )
    DESCRIPTION = "RICH's test set as HMR papers evaluate on it: SMPL fitted to gendered SMPL-X."
    HOMEPAGE = "https://rich.is.tue.mpg.de"

    def __init__(
        self,
        *,
        body: str = "",
        smplx: str = "",
        vertex_map: str = "",
        images: str = "",
        image_scale: float = 1.0,
        max_error: float = MAX_ERROR,
        **kwargs: Any,
    ):
        """Says where things are.

        Args:
            body: Folder with SMPL_NEUTRAL, its file, or "default".
            smplx: Folder with SMPLX_MALE and SMPLX_FEMALE.
            vertex_map: smplx2smpl.pkl.
            images: Folder of the images.
            image_scale: Side of the images that are there in units of those that the boxes refer to.
            max_error: Of the fit of SMPL to SMPL-X, mm.
            **kwargs: See `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.smplx, self.vertex_map, self.images = body, smplx, vertex_map, images
        self.image_scale, self.max_error = image_scale, max_error

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        path = manual_dir / FILE
        return {"test": row_blocks(path, check_columns(path, COLUMNS)["center"][0])} if path.exists() else {}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop = epath.Path(block[0]), int(block[1]), int(block[2])
        labels = read_rows(path, start, stop, COLUMNS)
        fitter = load_fitter(self.smplx, self.vertex_map, self.body)
        count = len(labels["center"])
        genders = [parse_gender(text(gender)) for gender in labels["gender"]]
        finite = np.ones(count, bool)
        for name in NUMBERS:
            finite &= np.isfinite(labels[name].reshape(count, -1)).all(1)
        pose, betas, error = np.zeros((count, 72)), np.zeros((count, 10)), np.zeros(count)
        for gender in GENDERS:
            of = np.flatnonzero(finite & np.array([found == gender for found in genders]))
            if len(of):
                full = fitter.model(gender).full_pose(labels["pose_cam"][of, :66].astype(np.float64))
                fitted = fitter(gender, labels["shape"][of].astype(np.float64), full, np.zeros((len(of), 3)))
                pose[of], betas[of], error[of] = fitted.pose, fitted.betas, fitted.error
        solid = fitter.bodies.keypoints("n", pose, betas)
        solid = solid - solid[:, PELVIS_44 : PELVIS_44 + 1]
        heights = fitter.bodies.heights("n", betas)

        find_image = ImageFinder(*([epath.Path(self.images).expanduser()] if self.images else [path.parent / "images"]))
        for row, name in enumerate(map(text, labels["imgname"])):
            if not finite[row]:
                yield "labels: not finite"
            elif genders[row] is None:
                yield "gender: not known"
            elif error[row] > self.max_error:
                yield "smplx: SMPL does not fit"
            elif not HEIGHTS[0] < heights[row] < HEIGHTS[1]:
                yield "smpl: height out of range"
            else:
                try:
                    image = find_image(name)
                except BadImage as problem:
                    yield str(problem)
                    continue
                yield self.person(
                    image,
                    key=f"{name}-{start + row}",
                    box_center=(labels["center"][row] + 0.5) * self.image_scale - 0.5,
                    box_size=200 * float(labels["scale"][row]) * self.image_scale,
                    keypoints_2d=np.zeros((44, 3)),
                    keypoints_3d=with_confidence(solid[row]),
                    pose=pose[row],
                    betas=betas[row],
                    topology=fitter.bodies.topology,
                )
