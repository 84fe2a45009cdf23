"""What every builder of published data shares: blocks of rows, so that processes can share a build and resume it.

A subclass says which blocks its files fall into and turns one block into rows; each block becomes one shard. TFDS can
also run such a builder (`download_and_prepare`), in one process.
"""

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines import records
from data_pipelines.builders.labels.cropping import LIMIT, MARGIN, person_record
from data_pipelines.builders.labels.depth_files import DepthFiles
from data_pipelines.builders.labels.keypoints import SIZES, person_size
from data_pipelines.builders.labels.source_images import (
    ImageFinder,
    Orientation,
    SourceImage,
    check_orientation,
    open_image,
)
from data_pipelines.builders.report import Report
from data_pipelines.records import Record
from data_pipelines.records.storage import absolute
from hmr_jax.body.labelled import HEIGHTS, load_labelled_bodies

Block = tuple[str | int, ...]
"""Names a part of a split, such as a file or a range of rows, by plain values that can go to another process."""

LEAST_POINTS, LEAST_EXTENT = 5, 0.05
"""So many points of a person are not all within so many metres."""


def check_stride(stride: int) -> None:
    """Raises ValueError if a builder cannot take every `stride`-th frame."""
    if stride < 1:
        raise ValueError(f"stride must be at least 1, not {stride}.")


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set of people, built block by block."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: Mapping[str, str] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Get the files from the data set's owners."
    DESCRIPTION = "People in images."
    HOMEPAGE = ""
    EVALUATED: tuple[str, ...] = ("test",)
    """Splits that are scored as a whole: rows whose labels are doubtful are kept in them, and marked."""
    EXIF: Orientation = ""
    """Which pixels the labels mean where EXIF turns an image."""

    def __init__(
        self,
        *,
        margin: float = MARGIN,
        limit: int = LIMIT,
        depth_dir: str = "",
        exif: Orientation = "",
        **kwargs: Any,
    ):
        """Sets how people are cut out.

        Args:
            margin: side of the stored square in units of the person's box.
            limit: largest side of the stored square, px.
            depth_dir: folder of depth maps that mirrors the one of the images, see `depth_files`; "": no depth.
            exif: which pixels labels mean where EXIF turns an image, see `source_images.Orientation`; "": as the data
                set is known to do.
            **kwargs: TFDS's own: data_dir, file_format.

        Raises:
            FileNotFoundError: there is no folder of depth maps.
            ValueError: the margin is smaller than the box, the side is too small to be of use, or `exif` is unknown.
        """
        check_orientation(exif)
        if margin < 1 or limit < 16:
            raise ValueError(f"margin must be at least 1 and limit at least 16 px, not {margin} and {limit}.")
        self.margin, self.limit, self.report = margin, limit, Report()
        self.exif: Orientation = exif or self.EXIF
        self._keeps_doubtful = False
        self._noted = Counter[str]()
        self.manual_dir: epath.Path | None = None
        """Where the user has put the files; the caller sets it."""
        self.depth_files = DepthFiles(depth_dir) if depth_dir else None
        self.body = ""
        """Source of the body models that labels belong to, see `LabelledBodies`; subclasses set it. "": not known."""
        self.images = ""
        """Folder of the images; subclasses set it. "": not known."""
        super().__init__(**kwargs)

    @abstractmethod
    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        """The blocks of each split that is there, always in the same order.

        Args:
            manual_dir: where the user has put the files.

        Raises:
            FileNotFoundError: nothing of the data set is there; the message says what belongs where.
        """

    @abstractmethod
    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        """The records of a block; for a row without a record the reason, in a few words without numbers of the row."""

    def kept(
        self, split: str, blocks: list[Block], report: Report, progress: bool = True
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The good records of blocks in the form that TFDS writes; `report` takes the counts."""
        if self.depth_files is not None:
            self.depth_files.counts = report.depth.setdefault(split, Counter())
        self._keeps_doubtful = split in self.EVALUATED
        self._noted = report.noted.setdefault(split, Counter())
        rows = (row for block in blocks for row in self.rows(split, block))
        yield from report.keep(split, rows, progress=progress, doubtful=self._keeps_doubtful)

    def note(self, what: str) -> None:
        """Counts a row of which something is to be known, for the report."""
        self._noted[what] += 1

    def image_finder(self, *folders: epath.Path) -> ImageFinder:
        """Finds images by name in the folder of the option `images`, or else in these."""
        return ImageFinder(*([epath.Path(self.images).expanduser()] if self.images else folders), exif=self.exif)

    def person(self, image: SourceImage | os.PathLike | bytes | str, *, doubt: str = "", **labels: Any) -> Record | str:
        """The record of a person, cut as this builder's options say, or the reason why there is none.

        Where the body is known, people of heights outside `labelled.HEIGHTS` make no record; nor do people whose 3-D
        keypoints are not of a person's size, as those in a wrong unit.

        Args:
            image: the whole image, its file or the contents of the file; text is the reason why there is no image.
            doubt: why the labels may be wrong; such people make records in `EVALUATED` splits only.
            **labels: see `cropping.person_record`.
        """
        if isinstance(image, str):
            return image
        if doubt and not self._keeps_doubtful:
            return doubt
        betas, gender = labels.get("betas"), labels.get("gender", "n")
        if self.body and betas is not None and np.isfinite(betas).all():
            bodies = load_labelled_bodies(self.body)
            if bodies.has(gender) and not HEIGHTS[0] < bodies.heights(gender, np.asarray(betas)[None])[0] < HEIGHTS[1]:
                return "smpl: height out of range"
        if "keypoints_3d" in labels and not _is_of_a_persons_size(labels["keypoints_3d"]):
            return "keypoints_3d: not of a person's size"
        opened = image if isinstance(image, SourceImage) else open_image(image, exif=self.exif)
        if isinstance(opened, str):
            return opened
        if self.depth_files is not None:
            roots = [absolute(root) for root in (self.manual_dir, self.images) if root]
            labels["estimated_depth"] = partial(self.depth_files, roots=roots)
        return person_record(
            opened, dataset=self.name, margin=self.margin, limit=self.limit, doubt=doubt,
            keep_doubtful=self._keeps_doubtful, **labels,
        )  # fmt: skip

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.DESCRIPTION, homepage=self.HOMEPAGE, features=records.features()
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        self.manual_dir = epath.Path(dl_manager.manual_dir)
        blocks = self.blocks(self.manual_dir)
        return {split: self._generate_examples(split, part) for split, part in blocks.items()}

    def _generate_examples(self, split: str, blocks: list[Block]) -> Iterator[tuple[str, dict[str, Any]]]:
        return self.kept(split, blocks, self.report)


def _is_of_a_persons_size(keypoints_3d: np.ndarray) -> bool:
    """Whether (44, 4) keypoints can be those of a person, by the bones or else by the extent of all points."""
    keypoints = np.asarray(keypoints_3d, np.float64)
    if (size := person_size(keypoints)) is not None:
        return not np.isfinite(size) or SIZES[0] < size < SIZES[1]  # what is not finite has another reason
    points = keypoints[keypoints[:, 3] > 0, :3]
    return len(points) < LEAST_POINTS or not np.ptp(points, axis=0).max() < LEAST_EXTENT
