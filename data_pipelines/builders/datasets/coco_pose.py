"""COCO's keypoints (Lin et al., ECCV 2014), and pseudo labels of SMPL on its images.

    annotations  <manual>/annotations/person_keypoints_{train,val}<year>.json     17 keypoints, no body
    eft          <manual>/COCO2014-Part-ver01.json, or option labels               EFT's fits
    cliff        <manual>/coco2014part_cliffGT.npz                                 CLIFF's fits with cameras
    spin         <manual>/coco_2014_train.npz, and coco_2014_train_fits.npy        SPIN's keypoints and static fits

Images: <manual>/train2014 and so on, as COCO unpacks, or the folder of the option `images`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.formats.npz_rows import row_blocks
from data_pipelines.builders.formats.pseudo_labels import PSEUDO_LABELS, PseudoLabelled
from data_pipelines.builders.labels.keypoints import COCO_17_TO_SPIN, ENLARGE, from_spin_24
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.label_files import part_with, read_json
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record
from data_pipelines.records.storage import kept_until_changed

CONTENTS = "a file of COCO keypoints"


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
                found[split] = row_blocks(path, len(_people(path)))
        return found

    def image_folders(self, labels: epath.Path) -> list[epath.Path]:
        home = labels.parent.parent if self.builder_config.name == "annotations" else labels.parent
        return [home / part for part in ("", "images", f"train{self.year}", f"val{self.year}")]

    def annotation_rows(self, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
        for number, name, size, box, keypoints in _people(epath.Path(block[0]))[int(block[1]) : int(block[2])]:
            if not (keypoints[5:, 2] > 0).all():  # SPIN's rule: all of shoulders, elbows, wrists, hips, knees, ankles
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


class _Person(NamedTuple):
    """A person of a file."""

    number: int
    """Of the annotation."""
    image: str
    size: tuple[int, int] | None
    """Width and height of the image that the file states."""
    box: np.ndarray
    """(4,) left, top, width, height, px."""
    keypoints: np.ndarray
    """(17, 3) px and visibility."""


@kept_until_changed(1)
def _people(path: epath.Path) -> list[_Person]:
    """The people of a file that have keypoints.

    Outlines of people, most of such a file, are dropped as they are read.
    """

    def slim(item: dict[str, Any]) -> dict[str, Any]:
        item.pop("segmentation", None)
        if "keypoints" in item and "bbox" in item:
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                item["keypoints"] = np.asarray(item["keypoints"], np.float32)
        return item

    contents = part_with(read_json(path, CONTENTS, slim), ("images", "annotations"), f"{path} is not {CONTENTS}")
    for name in ("images", "annotations"):
        _expect(isinstance(contents[name], list), name, path)
    images: dict[int | str, tuple[str, tuple[int, int] | None]] = {}
    for number, image in enumerate(contents["images"]):
        where = f"image {number} of {path}"
        part_with(image, ("id", "file_name"), f"{where} is not that of {CONTENTS}")
        _expect(isinstance(image["id"], int | str), "id", where)
        _expect(isinstance(image["file_name"], str), "file_name", where)
        found = image["file_name"], _size(image, where)
        if images.setdefault(image["id"], found) != found:
            raise ValueError(f"{path} has two images {image['id']}.")
    people = []
    for number, row in enumerate(contents["annotations"]):
        where = f"annotation {number} of {path}"
        part_with(row, ("num_keypoints",), f"{where} is not that of {CONTENTS}")
        _expect(isinstance(row["num_keypoints"], int), "num_keypoints", where)
        if row.get("iscrowd") or row["num_keypoints"] <= 0:
            continue
        part_with(row, ("id", "image_id", "bbox", "keypoints"), f"{where} is not that of {CONTENTS}")
        _expect(isinstance(row["id"], int), "id", where)
        _expect(isinstance(row["image_id"], int | str) and row["image_id"] in images, "image_id", where)
        box = numbers(where, "bbox", row["bbox"], (4,)).astype(np.float64)
        keypoints = numbers(where, "keypoints", row["keypoints"], (51,)).astype(np.float32)
        people.append(_Person(row["id"], *images[row["image_id"]], box, keypoints.reshape(17, 3)))
    return people


def _size(image: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height that an entry of "images" states."""
    if "width" not in image or "height" not in image:
        return None
    for name in ("width", "height"):
        _expect(isinstance(image[name], int), name, where)
    return image["width"], image["height"]


def _expect(good: bool, name: str, where: object) -> None:
    if not good:
        raise ValueError(f"'{name}' of {where} is not what it is in {CONTENTS}.")
