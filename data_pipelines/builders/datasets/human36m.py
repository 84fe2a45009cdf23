"""Human3.6M (Ionescu et al., TPAMI 2014): the owners' files, or SPIN's npz files.

    raw          <manual>/S*/MyPoseFeatures/D3_Positions_mono/<Action>.<camera>.cdf     (1, F, 96) mm, camera axes
                 <manual>/S*/MyPoseFeatures/D2_Positions/<Action>.<camera>.cdf          (1, F, 64) px; optional
                 <manual>/S*/MySegmentsMat/ground_truth_bb/<Action>.<camera>.mat        masks of boxes; optional
                 <manual>/images/S*_<Action>.<camera>_%06d.jpg                          frame + 1
    protocol1    <manual>/h36m_valid_protocol1.npz, all cameras of S9 and S11
    protocol2    <manual>/h36m_valid_protocol2.npz, the frontal camera
    train        <manual>/h36m_train.npz, with MoSh's SMPL

HMR2.0's file of protocol 2 is `hmr2_eval_npz/h36m_val_p2`. CDF files are read by `formats.cdf`.

The images of SPIN's script are one frame (20 ms) ahead of their labels, because it reads a frame before it counts.
Published numbers were measured in this way, so it is the default. The option aligned=true pairs each image with its own
label.

Shapes: F frames.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.cdf import read_variable
from data_pipelines.builders.formats.spin_npz import spin_blocks, spin_rows
from data_pipelines.builders.labels.keypoints import H36M_17_OF_32, box_of_points, from_h36m_17
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.label_files import open_hdf5
from data_pipelines.builders.labels.projection import with_confidence
from data_pipelines.records import Record

NPZ = {
    "protocol1": ("h36m_valid_protocol1.npz", "test"),
    "protocol2": ("h36m_valid_protocol2.npz", "test"),
    "train": ("h36m_train.npz", "train"),
}
SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
FRONTAL = "60457274"
BOX_SHRINK = 0.9  # factor on the owners' boxes, which are wide
SLACK = 8  # px by which the sides of a mask and its image may differ


class Human36m(RecordBuilder):
    """Human3.6M."""

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="raw", description="The owners' CDF files and frames."),
        *(tfds.core.BuilderConfig(name=name, description=f"SPIN's {file}.") for name, (file, _) in NPZ.items()),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get Human3.6M from vision.imar.ro/human3.6m, D3_Positions_mono and, for 2-D keypoints and boxes, D2_Positions "
        "and ground_truth_bb, unpacked as S*/MyPoseFeatures and S*/MySegmentsMat, with every fifth frame of the videos "
        "as images/S9_Walking_1.60457274_000001.jpg. Or put SPIN's h36m_valid_protocol1.npz, h36m_valid_protocol2.npz "
        "or h36m_train.npz beside the folder images."
    )
    DESCRIPTION = "Human3.6M: actors in a studio with motion capture."
    HOMEPAGE = "http://vision.imar.ro/human3.6m"

    def __init__(
        self,
        *,
        body: str = "",
        images: str = "",
        scale_unit: int = 0,
        aligned: bool = False,
        frontal: bool = True,
        step: int = 5,
        **kwargs: Any,
    ):
        """Sets what is read.

        Args:
            body: source of SMPL's bodies, which checks heights; "default" for labels of the built-in body; "": SMPL's,
                unchecked.
            images: folder of the images; "": <manual>/images, or beside the labels.
            scale_unit: px in a unit of the column scale, 1 or 200; 0: found out.
            aligned: of "raw": an image gets its own label and not the one of 20 ms before.
            frontal: of "raw": only the frontal camera of S9 and S11, as in protocol 2.
            step: of "raw": every `step`-th frame is taken.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.images, self.scale_unit = body, images, scale_unit
        self.aligned, self.frontal, self.step = aligned, frontal, step

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        config = self.builder_config.name
        if config != "raw":
            file, split = NPZ[config]
            path = manual_dir / file
            return {split: spin_blocks(path, self.scale_unit)} if path.exists() else {}
        found: dict[str, list[Block]] = {}
        for split, subjects in SUBJECTS.items():
            for subject in subjects:
                folder = manual_dir / subject / "MyPoseFeatures" / "D3_Positions_mono"
                for path in sorted(folder.glob("*.cdf")):
                    if split == "train" or not self.frontal or path.stem.endswith(FRONTAL):
                        found.setdefault(split, []).append((str(manual_dir), subject, path.stem))
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        if self.builder_config.name != "raw":
            folder = epath.Path(block[0]).parent
            yield from spin_rows(self, block, self.image_finder(folder, folder / "images"))
            return
        manual, subject, name = epath.Path(block[0]), str(block[1]), str(block[2])
        features = manual / subject / "MyPoseFeatures"
        points_3d = _poses(features / "D3_Positions_mono" / f"{name}.cdf", 3) / 1000  # metres
        path = features / "D2_Positions" / f"{name}.cdf"
        points_2d = _poses(path, 2) if path.exists() else None
        if points_2d is not None and len(points_2d) != len(points_3d):
            raise ValueError(f"{path} has {len(points_2d)} frames, but the 3-D poses have {len(points_3d)}.")
        path = manual / subject / "MySegmentsMat" / "ground_truth_bb" / f"{name}.mat"
        labels = range(int(self.aligned), len(points_3d), self.step)  # image n holds frame n of the video, from 0
        boxes = _boxes(path, labels) if path.exists() else {}
        if points_2d is None and not path.exists():
            raise FileNotFoundError(
                f"{name} of {subject} needs D2_Positions or ground_truth_bb, to know where people are."
            )
        find_image = self.image_finder(manual / "images")
        stem = f"{subject}_{name.replace(' ', '_')}"
        for label in labels:
            points, box = np.zeros((17, 3)), None
            if points_2d is not None:
                points = with_confidence(points_2d[label, list(H36M_17_OF_32)])
                box = box_of_points(points)
            key = f"{stem}_{label + 1 - int(self.aligned):06d}"
            image = find_image(f"{key}.jpg")
            if label in boxes:  # an empty mask leaves the box of the keypoints
                box = boxes[label].center, boxes[label].side
                size = (0, 0) if isinstance(image, str) else (image.width, image.height)
                if size[0] and np.abs(np.subtract(boxes[label].mask_size, size)).max() > SLACK:
                    yield "box: mask not of the image's size"
                    continue
            if box is None:
                yield "box: none"
                continue
            yield self.person(
                image,
                key=key,
                box_center=box[0],
                box_size=box[1],
                keypoints_2d=from_h36m_17(points),
                keypoints_3d=from_h36m_17(with_confidence(points_3d[label, list(H36M_17_OF_32)])),
            )


def _poses(path: epath.Path, axes: int) -> np.ndarray:
    """(F, 32, axes) of the variable "Pose"."""
    try:
        values = read_variable(path.read_bytes(), "Pose")
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
    if values.ndim != 3 or len(values) != 1 or values.shape[2] != 32 * axes:
        raise ValueError(f"{path} holds poses of the shape {values.shape}, not (1, F, {32 * axes}).")
    return values[0].reshape(-1, 32, axes)


class _Box(NamedTuple):
    """The owners' box of a frame."""

    mask_size: tuple[int, int]
    """Width and height, px."""
    center: np.ndarray
    """(2,) px."""
    side: float
    """Of the square box, px."""


def _boxes(path: epath.Path, frames: Iterable[int]) -> dict[int, _Box]:
    """Frame: its box, where its mask is not empty, from a MATLAB 7.3 (HDF5) file with a mask for each frame."""
    found = {}
    with open_hdf5(path, "a file of Human3.6M with Masks") as read:
        masks = read("Masks")
        if masks.ndim != 2 or masks.shape[1] != 1:
            raise ValueError(f"'Masks' of {path} has the shape {masks.shape}, not (F, 1).")
        for frame in frames:
            if frame >= len(masks):
                break
            mask = numbers(path, f"Masks[{frame}]", read(masks[frame, 0]), (None, None)).T  # MATLAB's order
            rows, columns = np.nonzero(mask)
            if len(rows):
                low, high = np.min([columns, rows], 1), np.max([columns, rows], 1) + 1
                side = BOX_SHRINK * float(np.max(high - low))
                found[frame] = _Box(mask.shape[::-1], (low + high) / 2, side)
    return found
