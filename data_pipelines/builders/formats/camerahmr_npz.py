"""CameraHMR's releases (Patel and Black, 3DV 2025): flat npz files of SMPL fits with true perspective cameras.

    <manual>/{insta1,insta2,aic,mpii,coco}-release.npz
    <manual>/images/...                                     or the folder of the option `images`

Columns: imgname, center (N, 2) px, scale (N,) of 200 px, pose (N, 72), shape (N, 10), cam_int (N, 3, 3) px, cam_t
(N, 3) metres, gtkps (N, 44, 3) px and confidence in the order of our keypoints.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
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
from data_pipelines.records import Record
from hmr_jax.body.labelled import load_labelled_bodies

COLUMNS = ("imgname", "center", "scale", "pose", "shape", "cam_int", "cam_t", "gtkps")
RELEASES = {
    "insta1": "InstaVariety, first part",
    "insta2": "InstaVariety, second part",
    "aic": "AI Challenger",
    "mpii": "MPII",
    "coco": "COCO",
}


class CamerahmrNpz(RecordBuilder):
    """CameraHMR's training labels."""

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, description=f"{title}: {name}-release.npz.")
        for name, title in RELEASES.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the training labels of CameraHMR (camerahmr.is.tue.mpg.de), NAME-release.npz, and put the images that "
        "they name into the folder images beside them, or say where they are with --option images=DIR. Those of "
        "insta and aic come out of 4D-Humans' tars with core/utils/extract_images_from4dhumans.py of CameraHMR."
    )
    DESCRIPTION = "CameraHMR's pseudo ground truth: SMPL with perspective cameras, 44 keypoints."
    HOMEPAGE = "https://camerahmr.is.tue.mpg.de"

    def __init__(self, *, body: str = "", images: str = "", scale_unit: int = 0, **kwargs: Any):
        """Says where things are.

        Args:
            body: Folder with SMPL_NEUTRAL or its file, "default" for labels of the built-in body, or "": then records
                have no 3-D keypoints.
            images: Folder of the images; "": images, or beside the labels.
            scale_unit: Px in a unit of the column scale, 1 or 200; 0: found out.
            **kwargs: See `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.images, self.scale_unit = body, images, scale_unit

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        path = manual_dir / f"{self.builder_config.name}-release.npz"
        if not path.exists():
            return {}
        rows = check_columns(path, COLUMNS)["center"][0]
        first = read_rows(path, 0, BLOCK_ROWS, ("scale", "gtkps"))
        unit = self.scale_unit or scale_unit(first["scale"], extent_of(first["gtkps"]), path)
        return {"train": row_blocks(path, rows, unit)}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop, unit = epath.Path(block[0]), int(block[1]), int(block[2]), int(block[3])
        labels = read_rows(path, start, stop, COLUMNS)
        labels["pose"] = labels["pose"].reshape(-1, 72)
        solid = np.zeros((len(labels["pose"]), 44, 4))
        topology = "smpl"
        if self.body:
            bodies = load_labelled_bodies(self.body)
            topology = bodies.topology
            pose, shape = np.nan_to_num(labels["pose"]), np.nan_to_num(labels["shape"])
            solid[..., :3] = bodies.keypoints("n", pose, shape[:, :10], labels["cam_t"])
            solid[..., 3] = 1
        roots = [epath.Path(self.images).expanduser()] if self.images else [path.parent / "images", path.parent]
        find_image = ImageFinder(*roots)
        for row, name in enumerate(map(text, labels["imgname"])):
            numbers = (labels[column][row] for column in COLUMNS[1:])
            if not all(np.isfinite(values).all() for values in numbers):
                yield "labels: not finite"
                continue
            try:
                image = find_image(name)
            except BadImage as error:
                yield str(error)
                continue
            points = labels["gtkps"][row].astype(np.float64)
            points[:, 2] = np.clip(points[:, 2], 0, 1)
            yield self.person(
                image,
                key=f"{name}-{start + row}",
                box_center=labels["center"][row],
                box_size=unit * float(np.max(labels["scale"][row])),
                keypoints_2d=points,
                keypoints_3d=solid[row],
                pose=labels["pose"][row],
                betas=labels["shape"][row, :10],
                translation=labels["cam_t"][row],
                intrinsics=labels["cam_int"][row],
                topology=topology,
            )
