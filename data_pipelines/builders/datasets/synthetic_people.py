"""Synthetic people as a TFDS data set: drawn once, so that training reads them instead of drawing them."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines import records
from data_pipelines.builders.report import Report
from data_pipelines.random_streams import SPLITS, split_seed
from data_pipelines.records import Record

EXAMPLES = {"train": 12_000, "validation": 500, "test": 1000}
BLOCK = 64  # examples drawn together


class SyntheticPeople(tfds.core.GeneratorBasedBuilder):
    """People with exact labels, drawn by `data_pipelines.synthetic`; no two splits share a random seed."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: Mapping[str, str] = {"1.0.0": "First version."}

    def __init__(
        self,
        *,
        examples: Mapping[str, int] = EXAMPLES,
        size: int = 256,
        margin: float = 1.5,
        depth: bool = True,
        body: str = "default",
        seed: int = 0,
        **kwargs: Any,
    ):
        """Sets what is drawn.

        Args:
            examples: split: number of examples.
            size: side of the images, px.
            margin: side of the images in units of the person's box: room for augmentation.
            depth: store depth maps, which cost as much as the rest of a record.
            body: "default" or the path of a body model.
            seed: of the whole data set.
            **kwargs: TFDS's own: data_dir, file_format.
        """
        if unknown := set(examples) - set(SPLITS):
            raise ValueError(f"There is no split '{min(unknown)}': use {', '.join(SPLITS)}.")
        self.examples, self.size, self.margin, self.depth = dict(examples), size, margin, depth
        self.body, self.seed, self.report = body, seed, Report()
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Synthetic people with exact body parameters, keypoints, masks and depth.",
            features=records.features(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        return {split: self._generate_examples(split, count) for split, count in self.examples.items() if count > 0}

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        return self.report.keep(split, self._records(split, count), total=count)

    def _records(self, split: str, count: int) -> Iterator[Record]:
        from data_pipelines.synthetic.people import SyntheticPeople as People
        from hmr_jax.body import find_body

        body = find_body(self.body)
        people = People(body, size=self.size, seed=split_seed(self.seed, split), margin=self.margin)
        blocks = [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
        with ThreadPoolExecutor(cpu_count()) as encoders, ThreadPoolExecutor(1) as drawer:
            ahead = drawer.submit(people.batch, blocks[0])
            for number, block in enumerate(blocks):
                drawn = ahead.result()
                if number + 1 < len(blocks):  # drawn while this block is encoded and written
                    ahead = drawer.submit(people.batch, blocks[number + 1])
                rows = [
                    (f"{split}-{index:07d}", body.topology, {name: values[row] for name, values in drawn.items()})
                    for row, index in enumerate(block)
                ]
                yield from encoders.map(self._encode, *zip(*rows, strict=True))
        people.close()

    def _encode(self, key: str, topology: str, person: dict[str, np.ndarray]) -> Record:
        # The generator counts px from the corner of the first pixel, records from its centre.
        keypoints = person["keypoints_2d"] - np.array([0.5, 0.5, 0], np.float32)
        intrinsics = person["intrinsics"].copy()
        intrinsics[:2, 2] -= 0.5
        return records.encode(
            person["image"],
            key=key,
            dataset=self.name,
            box_center=person["box_center"] - 0.5,
            box_size=float(person["box_size"]),
            keypoints_2d=keypoints,
            keypoints_3d=person["keypoints_3d"],
            pose=person["pose"],
            betas=person["betas"],
            translation=person["translation"],
            topology=topology,
            intrinsics=intrinsics,
            mask=person["mask"],
            depth=person["depth"] if self.depth else None,
        )
