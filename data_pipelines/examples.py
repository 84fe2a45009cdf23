"""Examples from records: numbers of examples in, arrays of a batch out; no TensorFlow here.

Which record an example is, and how it is augmented, follows from its number alone. A record that cannot be used is
replaced by the next one and reported: one bad file must not end a run of days.

B examples, S side of the crop, D side of the dense maps.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines import augment, crop
from data_pipelines.decode import BadRecord, Person, RecordReader, decode_person
from data_pipelines.pseudo_depth import pseudo_depth
from hmr_jax.batch import OPTIONAL, REQUIRED
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
    ):
        """Wires the parts together.

        Args:
            readers: The data sets.
            locate: From numbers of examples to data sets and records in them, such as an `IndexStream`.
            crop_size: S.
            dense: Of "mask" and "depth".
            dense_size: D.
            augmentation: Its settings; None: no augmentation.
            seed: Of the augmentation.
            examples: How many there are; later numbers are padding with valid = 0. None: endless.
            depth_corruption: Makes pseudo-depth of exact depth; None: batches hold no pseudo-depth.
        """
        self.readers, self.locate, self.crop_size = readers, locate, crop_size
        self.dense, self.dense_size = dense, dense_size
        self.augmentation, self.seed, self.examples = augmentation, seed, examples
        self.depth_corruption = depth_corruption
        self.skipped = 0
        """Records met so far that could not be used."""

    def __call__(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Makes the examples with these numbers, (B,)."""
        valid = np.ones(len(numbers), bool) if self.examples is None else numbers < self.examples
        places = zip(*self.locate(np.where(valid, numbers, 0)), strict=True)
        people, replaced = zip(*(self._usable(*place) for place in places), strict=True)
        if self.examples is not None:  # a stand-in must not count twice in an evaluation
            valid &= ~np.array(replaced)
        return {
            **self._arrays(people, numbers),
            "valid": valid.astype(np.float32),
            "index": numbers.astype(np.int64),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Keys of the arrays."""
        dense = tuple(prefix + name for name in self.dense for prefix in ("", "has_"))
        pseudo = ("pseudo_depth", "has_pseudo_depth") if self.depth_corruption else ()
        return (*REQUIRED, "box_center", "box_size", "image_size", "intrinsics", *dense, *pseudo)

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

        change = (
            augment.draw(self.augmentation, self.seed, numbers) if self.augmentation else augment.identity(len(numbers))
        )
        pose = np.concatenate([stack("smpl/global_orient"), stack("smpl/body_pose")], 1).reshape(-1, 24, 3)
        stored = crop.Labels(
            stack("box/center"), stack("box/size"), stack("keypoints_2d"), stack("keypoints_3d"), pose,
            stack("camera/intrinsics"),
        )  # fmt: skip
        image_size = np.array([person.image.shape[1::-1] for person in people])
        width = image_size[:, 0]
        labels = crop.augment_labels(stored, image_size, change)
        affine = crop.crop_affine(labels.center, labels.size, change.rotation, self.crop_size)

        pixels = np.empty((len(people), self.crop_size, self.crop_size, 3), np.uint8)
        inverse, table = crop.sampling_affine(affine, width, change.flip), crop.gain_table(change.gain)
        for i, person in enumerate(people):
            crop.warp(person.image, inverse[i], table[i], pixels[i])
        points = labels.keypoints_2d.copy()
        points[:, :, :2] = crop.to_crop(points[:, :, :2], labels.center, labels.size)
        arrays = {
            "image": pixels,
            "keypoints_2d": points,
            "keypoints_3d": labels.keypoints_3d,
            "pose": labels.pose,
            "betas": stack("smpl/betas"),
            "has_pose": stack("smpl/has_pose"),
            "has_betas": stack("smpl/has_betas"),
            "box_center": labels.center,
            "box_size": labels.size,
            "image_size": image_size,
            "intrinsics": labels.intrinsics,
        }
        if self.dense:
            stride = self.crop_size / self.dense_size
            arrays |= self._dense(people, crop.sampling_affine(affine, width, change.flip, stride))
        if self.depth_corruption:
            arrays |= self._pseudo_depth(people, crop.sampling_affine(affine, width, change.flip), numbers)
        schema = REQUIRED | OPTIONAL
        return {name: array.astype(schema[name][1], copy=False) for name, array in arrays.items()}

    def _pseudo_depth(
        self, people: Sequence[Person], inverse: np.ndarray, numbers: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Warped as the pictures are; colours do not touch it."""
        assert self.depth_corruption is not None
        maps = [person.pseudo_depth for person in people]
        crops = [
            None if depth is None else crop.sample_nearest(depth.values, affine, self.crop_size)
            for depth, affine in zip(maps, inverse, strict=True)
        ]
        kinds = ["" if depth is None else depth.kind for depth in maps]
        training = self.augmentation is not None
        return pseudo_depth(crops, kinds, self.crop_size, self.depth_corruption, self.seed, numbers, training)

    def _dense(self, people: Sequence[Person], inverse: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(people), self.dense_size, self.dense_size)
        arrays: dict[str, np.ndarray] = {name: np.zeros(shape) for name in self.dense}
        arrays |= {f"has_{name}": np.zeros(len(people)) for name in self.dense}
        for i, person in enumerate(people):
            if person.mask is not None:
                arrays["mask"][i] = crop.sample_nearest(person.mask, inverse[i], self.dense_size)
                arrays["has_mask"][i] = 1
            if person.depth is not None:
                depth = crop.sample_nearest(person.depth, inverse[i], self.dense_size)
                pelvis = person.record["keypoints_3d"][PELVIS_44, 2]  # neither mirroring nor turning moves it in z
                arrays["depth"][i] = np.where(depth > 0, depth - pelvis, 0)
                arrays["has_depth"][i] = 1
        return arrays
