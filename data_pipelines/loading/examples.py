"""Examples from records: numbers of examples in, arrays of a batch out; no TensorFlow here.

Which record an example is, and how it is augmented, follows from its number alone. A record that cannot be used is
replaced by the next one and reported: one bad file must not end a run of days.

Shapes: B examples, S side of the crop, D side of the dense maps, P side of stored images.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.loading import augmentation, crops
from data_pipelines.loading.pseudo_depth import pseudo_depth
from data_pipelines.records.reader import BadRecord, Person, RecordReader, decode_person
from hmr_jax.batch import OPTIONAL, REQUIRED, STORED
from hmr_jax.body.genders import GENDERS
from hmr_jax.body.joints import PELVIS_44
from hmr_jax.config import AugmentConfig, DepthCorruptionConfig

PATIENCE = 100  # unusable records in a row before giving up
_LOG = logging.getLogger(__name__)


class ExampleMaker:
    """Turns numbers of examples into arrays of a batch."""

    def __init__(
        self,
        readers: Sequence[RecordReader],
        locate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
        crop_size: int,
        dense: tuple[str, ...] = (),
        dense_size: int = 0,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        examples: int | None = None,
        depth_corruption: DepthCorruptionConfig | None = None,
        stored_size: int = 0,
    ):
        """Sets the source of the examples and their arrays.

        Args:
            readers: the data sets.
            locate: from numbers of examples to data sets and records in them, such as an `IndexStream`.
            crop_size: S.
            dense: maps to make, of "mask" and "depth".
            dense_size: D.
            augmentation: strengths and probabilities; None: no augmentation.
            seed: of the run.
            examples: how many there are; later numbers are padding with valid = 0. None: endless.
            depth_corruption: makes pseudo-depth of exact depth; None: batches hold no pseudo-depth.
            stored_size: P, to which images are padded for the device to cut them; 0: they are cut here.
        """
        self.readers, self.locate, self.crop_size = readers, locate, crop_size
        self.dense, self.dense_size = dense, dense_size
        self.augmentation, self.seed, self.examples = augmentation, seed, examples
        self.depth_corruption = depth_corruption
        self.stored_size = stored_size
        self.skipped = 0
        """Records met so far that could not be used."""
        self.keys: dict[int, str] = {}
        """Number of each example made so far -> key of its record; kept where the stream ends, as in an evaluation."""

    def __call__(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Makes the examples with these numbers, (B,)."""
        valid = np.ones(len(numbers), bool) if self.examples is None else numbers < self.examples
        dataset, index = self.locate(np.where(valid, numbers, 0))
        people, replaced = zip(*map(self._usable, dataset, index), strict=True)
        if self.examples is not None:  # a record that stands in for another must not count twice in an evaluation
            valid &= ~np.array(replaced)
            pairs = zip(numbers.tolist(), people, valid, strict=True)
            self.keys.update({number: person.record["key"] for number, person, counts in pairs if counts})
        return {
            **self._arrays(people, numbers),
            "valid": valid.astype(np.float32),
            "index": numbers.astype(np.int64),
            "dataset": dataset.astype(np.int32),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Keys of the arrays."""
        dense = tuple(prefix + name for name in self.dense for prefix in ("", "has_"))
        required = [name for name in REQUIRED if name != "image"] + list(STORED if self.stored_size else ("image",))
        source = ("box_center", "box_size", "box_extent", "image_size", "intrinsics", "dataset", "gender")
        pseudo = ("pseudo_depth", "has_pseudo_depth") if self.depth_corruption else ()
        return (*required, *source, *dense, *pseudo)

    def _usable(self, dataset: int, index: int) -> tuple[Person, bool]:
        """The person of a record, or of the next that can be used; and whether the record had to be replaced."""
        reader = self.readers[dataset]
        for attempt in range(PATIENCE):
            number = (index + attempt) % len(reader)
            try:
                return decode_person(reader[number], self.dense, bool(self.depth_corruption)), attempt > 0
            except BadRecord as error:
                self.skipped += 1
                if self.skipped <= 10 or self.skipped % 1000 == 0:
                    _LOG.warning(
                        "Record %d of %s/%s is replaced by the next: %s. %d replaced so far.",
                        *(number, reader.name, reader.split, error, self.skipped),
                    )
        raise ValueError(
            f"{PATIENCE} records in a row of '{reader.name}' cannot be used, from number {index} on: build it again."
        )

    def _arrays(self, people: Sequence[Person], numbers: np.ndarray) -> dict[str, np.ndarray]:
        def stack(name: str) -> np.ndarray:
            return np.stack([person.record[name] for person in people])

        change = augmentation.identity(len(numbers))
        if self.augmentation:
            change = augmentation.draw(self.augmentation, self.seed, numbers)
        pose = np.concatenate([stack("smpl/global_orient"), stack("smpl/body_pose")], 1).reshape(-1, 24, 3)
        stored = crops.Labels(
            stack("box/center"), stack("box/size"), stack("keypoints_2d"), stack("keypoints_3d"), pose,
            stack("camera/intrinsics"),
        )  # fmt: skip
        image_size = np.array([person.image.shape[1::-1] for person in people])
        width = image_size[:, 0]
        labels, rotation = crops.augment_labels(stored, image_size, change)
        affine = crops.crop_affine(labels.center, labels.size, rotation, self.crop_size)

        inverse = crops.sampling_affine(affine, width, change.flip)
        points = labels.keypoints_2d.copy()
        points[:, :, :2] = crops.to_crop(points[:, :, :2], labels.center, labels.size)
        arrays = {
            **self._images(people, inverse, change.gain),
            "keypoints_2d": points,
            "keypoints_3d": labels.keypoints_3d,
            "pose": labels.pose,
            "betas": stack("smpl/betas"),
            "has_pose": stack("smpl/has_pose"),
            "has_betas": stack("smpl/has_betas"),
            "box_center": labels.center,
            "box_size": labels.size,
            "box_extent": stack("box/extent") * (labels.size / stored.size)[:, None],
            "image_size": image_size,
            "intrinsics": labels.intrinsics,
            "gender": np.array([GENDERS.index(person.record["gender"]) for person in people]),
        }
        if self.dense:
            stride = self.crop_size / self.dense_size
            arrays |= self._dense(people, crops.sampling_affine(affine, width, change.flip, stride))
        if self.depth_corruption:
            arrays |= self._pseudo_depth(people, crops.sampling_affine(affine, width, change.flip), numbers)
        schema = REQUIRED | OPTIONAL
        return {name: array.astype(schema[name][1], copy=False) for name, array in arrays.items()}

    def _pseudo_depth(
        self, people: Sequence[Person], inverse: np.ndarray, numbers: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Arrays of pseudo-depth: warped as the images are, without their changes of colour."""
        assert self.depth_corruption is not None
        maps = [person.pseudo_depth for person in people]
        cut = [
            None if depth is None else crops.sample_nearest(depth.values, affine, self.crop_size)
            for depth, affine in zip(maps, inverse, strict=True)
        ]
        kinds = ["" if depth is None else depth.kind for depth in maps]
        training = self.augmentation is not None
        return pseudo_depth(cut, kinds, self.crop_size, self.depth_corruption, self.seed, numbers, training)

    def _images(self, people: Sequence[Person], inverse: np.ndarray, gain: np.ndarray) -> dict[str, np.ndarray]:
        """The crops, or what the device needs to cut them."""
        side = self.stored_size or self.crop_size
        pixels = np.zeros((len(people), side, side, 3), np.uint8)
        if not self.stored_size:
            for i, table in enumerate(crops.gain_table(gain)):
                crops.warp(people[i].image, inverse[i], table, pixels[i])
            return {"image": pixels}
        for i, person in enumerate(people):
            height, width = person.image.shape[:2]
            if max(height, width) > side:
                raise ValueError(
                    f"A stored image is {width} x {height} px, but data.stored_size is {side}: make it as large as "
                    "the largest image of the data sets, or set data.warp to host."
                )
            pixels[i, :height, :width] = person.image
        sizes = np.full(len(people), self.crop_size)
        return {"stored": pixels, "stored_affine": inverse, "stored_gain": gain, "crop_size": sizes}

    def _dense(self, people: Sequence[Person], inverse: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(people), self.dense_size, self.dense_size)
        arrays: dict[str, np.ndarray] = {name: np.zeros(shape) for name in self.dense}
        arrays |= {f"has_{name}": np.zeros(len(people)) for name in self.dense}
        for i, person in enumerate(people):
            if person.mask is not None:
                arrays["mask"][i] = crops.sample_nearest(person.mask, inverse[i], self.dense_size)
                arrays["has_mask"][i] = 1
            if person.depth is not None:
                depth = crops.sample_nearest(person.depth, inverse[i], self.dense_size)
                pelvis = person.record["keypoints_3d"][PELVIS_44, 2]  # neither mirroring nor rotation changes z
                arrays["depth"][i] = np.where(depth > 0, depth - pelvis, 0)
                arrays["has_depth"][i] = 1
        return arrays
