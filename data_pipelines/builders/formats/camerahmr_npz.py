"""CameraHMR's releases (Patel and Black, 3DV 2025): npz files of SMPL fits with true perspective cameras.

    <manual>/{insta1,insta2,aic,mpii,coco}-release.npz
    <manual>/images/...                                     or the folder of the option `images`

Columns: imgname, center (N, 2) px, scale (N,) in units of 200 px, pose (N, 72), shape (N, 10), cam_int (N, 3, 3) px,
cam_t (N, 3) metres, gtkps (N, 44, 3) px and confidence in the order of our keypoints.

Shapes: N people.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import box_of_row, finite_rows, read_rows, scaled_blocks, text
from data_pipelines.builders.labels.keypoints import clip_confidence
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.projection import with_confidence
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
        """Sets where the files are.

        Args:
            body: folder with SMPL_NEUTRAL or its file, "default" for labels of the built-in body, or "": then records
                have no 3-D keypoints.
            images: folder of the images; "": images, or beside the labels.
            scale_unit: px in a unit of the column scale, 1 or 200; 0: found out.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.images, self.scale_unit = body, images, scale_unit

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        path = manual_dir / f"{self.builder_config.name}-release.npz"
        return {"train": scaled_blocks(path, COLUMNS, ("gtkps",), self.scale_unit)} if path.exists() else {}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop, unit = epath.Path(block[0]), int(block[1]), int(block[2]), int(block[3])
        labels = read_rows(path, start, stop, COLUMNS)
        numbers(path, "gtkps", labels["gtkps"], (len(labels["center"]), 44, 3))
        labels["gtkps"] = clip_confidence(labels["gtkps"])
        finite = finite_rows(labels, COLUMNS[1:])
        pose, betas = labels["pose"].reshape(-1, 72), labels["shape"][:, :10]
        keypoints, topology = np.zeros((len(pose), 44, 4)), "smpl"
        if self.body:
            bodies = load_labelled_bodies(self.body)
            keypoints = with_confidence(
                bodies.keypoints("n", np.nan_to_num(pose), np.nan_to_num(betas), labels["cam_t"])
            )
            topology = bodies.topology
        find_image = self.image_finder(path.parent / "images", path.parent)
        for row, name in enumerate(map(text, labels["imgname"])):
            if not finite[row]:
                yield "labels: not finite"
                continue
            yield self.person(
                find_image(name),
                key=f"{name}-{start + row}",
                **box_of_row(labels, row, unit),
                keypoints_2d=labels["gtkps"][row],
                keypoints_3d=keypoints[row],
                pose=pose[row],
                betas=betas[row],
                translation=labels["cam_t"][row],
                intrinsics=labels["cam_int"][row],
                topology=topology,
            )
