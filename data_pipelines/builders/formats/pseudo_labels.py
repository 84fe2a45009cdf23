"""Images with their own keypoints, to which others have fitted SMPL: what COCO and MPII have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.eft import eft_blocks, eft_rows
from data_pipelines.builders.formats.spin_npz import spin_blocks, spin_rows
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import Record

PSEUDO_LABELS = (
    tfds.core.BuilderConfig(name="eft", description="EFT's pseudo labels."),
    tfds.core.BuilderConfig(name="cliff", description="CLIFF's pseudo labels with perspective cameras."),
    tfds.core.BuilderConfig(name="spin", description="SPIN's npz file, with its static fits if they are there."),
)
"""Configurations beside "annotations"."""


class PseudoLabelled(RecordBuilder, skip_registration=True):  # type: ignore[call-arg]
    """People with keypoints (configuration "annotations"), and with SMPL where somebody fitted it."""

    LABELS: ClassVar[Mapping[str, str]]
    """Configuration of pseudo labels: name of its file."""

    def __init__(self, *, body: str = "", images: str = "", labels: str = "", scale_unit: int = 0, **kwargs: Any):
        """Sets where the files are.

        Args:
            body: source of an SMPL body, which checks fits and makes 3-D keypoints of CLIFF's; "default" for labels of
                the built-in body; "": neither.
            images: folder of the images; "": as the data set unpacks.
            labels: name of the file of labels, if it has another one.
            scale_unit: px in a unit of the column scale, 1 or 200; 0: found out.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.images, self.labels, self.scale_unit = body, images, labels, scale_unit

    @abstractmethod
    def annotation_blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        """The blocks of the data set's own keypoints."""

    @abstractmethod
    def annotation_rows(self, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
        """The rows of one of them."""

    @abstractmethod
    def image_folders(self, labels: epath.Path) -> list[epath.Path]:
        """Where images are looked for beside a file of labels, if not in the folder of the option `images`."""

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        config = self.builder_config.name
        if config == "annotations":
            return self.annotation_blocks(manual_dir)
        path = manual_dir / (self.labels or self.LABELS[config])
        if not path.exists():
            return {}
        if config == "eft":
            return {"train": eft_blocks(path)}
        fits = path.with_name(f"{path.stem}_fits.npy")
        return {"train": spin_blocks(path, self.scale_unit, fits if fits.exists() else None)}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        config = self.builder_config.name
        find_image = self.image_finder(*self.image_folders(epath.Path(block[0])))
        if config == "annotations":
            yield from self.annotation_rows(block, find_image)
        elif config == "eft":
            yield from eft_rows(self, block, find_image)
        else:
            yield from spin_rows(self, block, find_image)
