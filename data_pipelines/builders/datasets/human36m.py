"""Human3.6M (Ionescu et al., TPAMI 2014): the owners' files, or SPIN's npz files.

    raw          <manual>/S*/MyPoseFeatures/D3_Positions_mono/<Action>.<camera>.cdf     (1, F, 96) mm, camera axes
                 <manual>/S*/MyPoseFeatures/D2_Positions/<Action>.<camera>.cdf          (1, F, 64) px; optional
                 <manual>/S*/MySegmentsMat/ground_truth_bb/<Action>.<camera>.mat        masks of boxes; optional
                 <manual>/images/S*_<Action>.<camera>_%06d.jpg                          frame + 1
    protocol1    <manual>/h36m_valid_protocol1.npz, all cameras of S9 and S11
    protocol2    <manual>/h36m_valid_protocol2.npz, the frontal camera
    train        <manual>/h36m_train.npz, with MoSh's SMPL

HMR2.0's file of protocol 2 is `hmr2_eval_npz/h36m_val_p2`. CDF files are read by `builders.cdf`.

The images of SPIN's script are one frame (20 ms) ahead of their labels: it reads a frame before it counts. Published
numbers have that in them, so it is the default; option aligned=true pairs each image with its own label.

Shapes: F frames.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.cdf import read_variable
from data_pipelines.builders.formats.spin_npz import spin_blocks, spin_rows
from data_pipelines.builders.labels.cropping import BadImage, SourceImage
from data_pipelines.builders.labels.keypoints import H36M_17_OF_32, H36M_17_TO_SPIN, box_of_points, from_spin_24
from data_pipelines.records import Record

NPZ = {
    "protocol1": ("h36m_valid_protocol1.npz", "test"),
    "protocol2": ("h36m_valid_protocol2.npz", "test"),
    "train": ("h36m_train.npz", "train"),
}
SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
FRONTAL = "60457274"
BOX_SHRINK = 0.9  # of the owners' boxes, which are wide


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
        """Says what is read.

        Args:
            body: Source of SMPL's bodies, which checks heights; "default" for labels of the built-in body; "": SMPL's,
                unchecked.
            images: Folder of the images; "": <manual>/images, or beside the labels.
            scale_unit: Px in a unit of the column scale, 1 or 200; 0: found out.
            aligned: raw: the image of a frame with its own label rather than with the one 20 ms before.
            frontal: raw: of S9 and S11 the frontal camera only, as in protocol 2.
            step: raw: every so many frames.
            **kwargs: See `RecordBuilder`.
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
            roots = [epath.Path(self.images).expanduser()] if self.images else [folder, folder / "images"]
            yield from spin_rows(self, block, roots, self.body)
            return
        manual, subject, name = epath.Path(block[0]), str(block[1]), str(block[2])
        features = manual / subject / "MyPoseFeatures"
        solid = _poses(features / "D3_Positions_mono" / f"{name}.cdf", 3) / 1000  # (F, 32, 3) metres
        path = features / "D2_Positions" / f"{name}.cdf"
        flat = _poses(path, 2) if path.exists() else None
        if flat is not None and len(flat) != len(solid):
            raise ValueError(f"{path} has {len(flat)} frames, but the 3-D poses {len(solid)}.")
        path = manual / subject / "MySegmentsMat" / "ground_truth_bb" / f"{name}.mat"
        boxes = _Boxes(path) if path.exists() else None
        if flat is None and boxes is None:
            raise FileNotFoundError(
                f"{name} of {subject} needs D2_Positions or ground_truth_bb, to know where people are."
            )
        images = epath.Path(self.images).expanduser() if self.images else manual / "images"
        stem = f"{subject}_{name.replace(' ', '_')}"
        for frame in range(0, len(solid), self.step):
            label = frame + 1 if self.aligned else frame  # image n holds frame n of the video, counted from 0
            if label >= len(solid):
                return
            points = np.zeros((24, 3))
            box = None
            if flat is not None:
                points[list(H36M_17_TO_SPIN)] = np.insert(flat[label, list(H36M_17_OF_32)], 2, 1, 1)
                box = box_of_points(points)
            if boxes is not None:
                box = boxes.box(label)
            if box is None:
                yield "box: none"
                continue
            path = images / f"{stem}_{frame + 1:06d}.jpg"
            if not path.exists():
                yield "image: missing"
                continue
            place = np.zeros((24, 4))
            place[list(H36M_17_TO_SPIN)] = np.insert(solid[label, list(H36M_17_OF_32)], 3, 1, 1)
            try:
                image = SourceImage(path)
            except BadImage as error:
                yield str(error)
                continue
            yield self.person(
                image,
                key=f"{stem}_{frame + 1:06d}",
                box_center=box[0],
                box_size=box[1],
                keypoints_2d=from_spin_24(points),
                keypoints_3d=from_spin_24(place),
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


class _Boxes:
    """The owners' boxes: a mask for each frame, in a MATLAB 7.3 (HDF5) file."""

    def __init__(self, path: epath.Path):
        import h5py

        self._name, self._file = path, h5py.File(path.open("rb"), "r")
        if "Masks" not in self._file:
            raise ValueError(f"{path} holds no Masks.")

    def box(self, frame: int) -> tuple[np.ndarray, float] | None:
        """Centre (2,) and side of the square box; None where the mask is empty."""
        masks = self._file["Masks"]
        if frame >= len(masks):
            return None
        mask = np.asarray(self._file[masks[frame, 0]]).T  # MATLAB's order
        rows, columns = np.nonzero(mask)
        if not len(rows):
            return None
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
        return (low + high) / 2, BOX_SHRINK * float((high - low).max())
