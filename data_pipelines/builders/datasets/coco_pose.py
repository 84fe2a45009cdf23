"""COCO's keypoints (Lin et al., ECCV 2014), and pseudo labels of SMPL on its images.

    annotations  <manual>/annotations/person_keypoints_{train,val}<year>.json     17 keypoints, no body
    eft          <manual>/COCO2014-Part-ver01.json, or option labels               EFT's fits
    cliff        <manual>/coco2014part_cliffGT.npz                                 CLIFF's fits with cameras
    spin         <manual>/coco_2014_train.npz, and coco_2014_train_fits.npy        SPIN's keypoints and static fits

Images: <manual>/train2014 and so on, as COCO unpacks, or the folder of the option `images`.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.formats.npz_rows import row_blocks
from data_pipelines.builders.formats.pseudo_labels import PSEUDO_LABELS, PseudoLabelled
from data_pipelines.builders.labels.keypoints import COCO_17_TO_SPIN, ENLARGE, from_spin_24
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record


class CocoPose(PseudoLabelled):
    """People of COCO with keypoints, and with SMPL where somebody fitted it."""

    LABELS: ClassVar = {
        "eft": "COCO2014-Part-ver01.json",
        "cliff": "coco2014part_cliffGT.npz",
        "spin": "coco_2014_train.npz",
    }
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="annotations", description="COCO's own keypoints, train and validation."),
        *PSEUDO_LABELS,
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get the images train2014.zip, val2014.zip and annotations_trainval2014.zip from cocodataset.org and unpack "
        f"them into one folder; for pseudo labels put {', '.join(LABELS.values())} beside them."
    )
    DESCRIPTION = "People of COCO with keypoints and pseudo labels."
    HOMEPAGE = "https://cocodataset.org"

    def __init__(self, *, year: int = 2014, **kwargs: Any):
        """Sets the release that is read.

        Args:
            year: 2014 or 2017; of the configuration "annotations".
            **kwargs: see `PseudoLabelled`.
        """
        super().__init__(**kwargs)
        self.year = year

    def annotation_blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        found = {}
        for split, name in (("train", "train"), ("validation", "val")):
            path = manual_dir / "annotations" / f"person_keypoints_{name}{self.year}.json"
            if path.exists():
                found[split] = row_blocks(path, len(_people(str(path))))
        return found

    def image_folders(self, labels: epath.Path) -> list[epath.Path]:
        home = labels.parent.parent if self.builder_config.name == "annotations" else labels.parent
        return [home / part for part in ("", "images", f"train{self.year}", f"val{self.year}")]

    def annotation_rows(self, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
        for number, name, size, box, keypoints in _people(str(block[0]))[int(block[1]) : int(block[2])]:
            if (keypoints[5:, 2] == 0).any():  # SPIN's rule: all of shoulders, elbows, wrists, hips, knees and ankles
                yield "keypoints_2d: not all of the body"
                continue
            spin = np.zeros((24, 3))
            spin[list(COCO_17_TO_SPIN)] = keypoints
            spin[:, 2] = spin[:, 2] > 0
            yield self.person(
                find_image(name, size),
                key=f"{name}-{number}",
                box_center=box[:2] + box[2:] / 2,
                box_size=ENLARGE * float(box[2:].max()),
                box_extent=ENLARGE * box[2:],
                keypoints_2d=from_spin_24(spin),
            )


@lru_cache(maxsize=1)
def _people(path: str) -> list[tuple[int, str, tuple[int, int] | None, np.ndarray, np.ndarray]]:
    """Number, image, its width and height, box (4,) left, top, width, height, and keypoints (17, 3) of each person.

    Outlines of people, most of such a file, are dropped as they are read.
    """

    def slim(item: dict[str, Any]) -> dict[str, Any]:
        item.pop("segmentation", None)
        if "keypoints" in item and isinstance(item["keypoints"], list) and "bbox" in item:
            item["keypoints"] = np.asarray(item["keypoints"], np.float32)
        return item

    try:
        with epath.Path(path).open("r") as file:
            contents = json.load(file, object_hook=slim)
        images = {image["id"]: (image["file_name"], _size(image)) for image in contents["images"]}
        return [
            (int(row["id"]), *images[row["image_id"]], np.asarray(row["bbox"], float), row["keypoints"].reshape(17, 3))
            for row in contents["annotations"]
            if not row.get("iscrowd") and row["num_keypoints"] > 0
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file of COCO keypoints: {type(error).__name__} {error}") from None


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height that an entry of "images" states."""
    return (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
