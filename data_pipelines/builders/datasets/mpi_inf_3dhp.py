"""MPI-INF-3DHP (Mehta et al., 3DV 2017): people in a studio and outdoors, joints from markerless capture.

    <manual>/S1 ... S8/Seq1, Seq2/annot.mat                           MATLAB 5; annot2, annot3 of 14 cameras
    <manual>/S1 ... S8/Seq1, Seq2/camera.calibration
    <manual>/S1 ... S8/Seq1, Seq2/imageFrames/video_<v>/frame_%06d.jpg    from 1; option frames=imageFrames
    <manual>/TS1 ... TS6/annot_data.mat                               HDF5; also under mpi_inf_3dhp_test_set/
    <manual>/TS1 ... TS6/imageSequence/img_%06d.jpg                   from 1

3-D points of the training set are in absolute camera axes, so they project onto the 2-D ones. Those of the test set are
relative to the pelvis and on the "universal" skeleton, as its metrics define.

Shapes: F frames.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder, check_stride
from data_pipelines.builders.labels.keypoints import box_of_points, from_h36m_17
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.label_files import open_hdf5
from data_pipelines.builders.labels.projection import with_confidence
from data_pipelines.builders.labels.source_images import open_image
from data_pipelines.records import Record

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
"""The cameras at chest height that SPIN trains on."""
FROM_28 = (4, 18, 19, 20, 23, 24, 25, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
FROM_TEST_17 = (14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
PELVIS = 0  # of the 17 in either order
STRIDE = 10
LINES = 7  # of camera.calibration for each camera


class MpiInf3dhp(RecordBuilder):
    """MPI-INF-3DHP: 2-D and 3-D joints, no body parameters."""

    name = "mpi_inf_3dhp"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get MPI-INF-3DHP from vcai.mpi-inf.mpg.de/3dhp-dataset with its own scripts: S1 ... S8 and TS1 ... TS6 in one "
        "folder, frames of the videos extracted to imageFrames/video_V/frame_000001.jpg and so on."
    )
    DESCRIPTION = "MPI-INF-3DHP: 2-D and 3-D joints of people from markerless capture."
    HOMEPAGE = "https://vcai.mpi-inf.mpg.de/3dhp-dataset"

    def __init__(
        self, *, stride: int = STRIDE, cameras: Sequence[int] = CAMERAS, frames: str = "imageFrames", **kwargs: Any
    ):
        """Sets what is kept.

        Args:
            stride: every `stride`-th frame of the training set is taken. Of the test set all valid frames are.
            cameras: of the training set.
            frames: name of the folder of the extracted frames in each sequence.
            **kwargs: see `RecordBuilder`.

        Raises:
            ValueError: the stride is not positive.
        """
        super().__init__(**kwargs)
        check_stride(stride)
        self.stride, self.cameras, self.frames = stride, tuple(cameras), frames

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        found: dict[str, list[Block]] = {}
        training = sorted(manual_dir.glob("S[1-8]/Seq[12]/annot.mat"))
        if training:
            found["train"] = [(str(path.parent), camera) for path in training for camera in self.cameras]
        roots = (manual_dir, manual_dir / "mpi_inf_3dhp_test_set")
        tests = [path for root in roots for path in sorted(root.glob("TS[1-6]/annot_data.mat"))]
        if tests:
            found["test"] = [(str(path.parent),) for path in tests]
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        folder = epath.Path(block[0])
        if split == "train":
            yield from self._train(folder, int(block[1]))
        else:
            yield from self._test(folder)

    def _train(self, folder: epath.Path, camera: int) -> Iterator[Record | str]:
        points_2d, points_3d = _read_train(folder / "annot.mat", camera)
        calibration = folder / "camera.calibration"
        cameras = read_calibration(calibration) if calibration.exists() else {}
        if cameras and camera not in cameras:
            raise ValueError(f"{calibration} has no camera {camera}; it has {', '.join(map(str, cameras))}.")
        intrinsics = cameras[camera] if cameras else None
        for frame in range(0, len(points_2d), self.stride):
            path = folder / self.frames / f"video_{camera}" / f"frame_{frame + 1:06d}.jpg"
            key = f"{folder.parent.name}-{folder.name}-{camera}-{frame:06d}"
            yield self._person(path, key, points_2d[frame], points_3d[frame], intrinsics)

    def _test(self, folder: epath.Path) -> Iterator[Record | str]:
        points_2d, points_3d, valid = _read_test(folder / "annot_data.mat")
        points_3d = points_3d - points_3d[:, PELVIS : PELVIS + 1]
        for frame in range(len(points_2d)):
            if not valid[frame]:
                yield "frame: not valid"
                continue
            path = folder / "imageSequence" / f"img_{frame + 1:06d}.jpg"
            yield self._person(path, f"{folder.name}-{frame:06d}", points_2d[frame], points_3d[frame], None)

    def _person(
        self, path: epath.Path, key: str, points_2d: np.ndarray, points_3d: np.ndarray, intrinsics: np.ndarray | None
    ) -> Record | str:
        """A record of (17, 2) px and (17, 3) metres."""
        if not (np.isfinite(points_2d).all() and np.isfinite(points_3d).all()):
            return "labels: not finite"
        image = open_image(path, exif=self.exif)
        if isinstance(image, str):
            return image
        outside = (points_2d < 0).any() or (points_2d >= (image.width, image.height)).any()
        labelled = with_confidence(points_2d)
        box = box_of_points(labelled)
        assert box is not None
        return self.person(
            image,
            doubt="annot2: a joint outside the image" if outside else "",
            key=key,
            box_center=box[0],
            box_size=box[1],
            keypoints_2d=from_h36m_17(labelled),
            keypoints_3d=from_h36m_17(with_confidence(points_3d)),
            intrinsics=intrinsics,
        )


def read_calibration(path: epath.Path) -> dict[int, np.ndarray]:
    """Number of the camera: intrinsics (3, 3) px. A file has a first line and then seven lines for each camera.

    Raises:
        ValueError: it is another file.
    """
    found: dict[int, np.ndarray] = {}
    try:
        lines = path.read_text().splitlines()
        for start in range(1, len(lines) - 1, LINES):
            (name, number), intrinsic = lines[start].split(), lines[start + 4].split()
            if (name, intrinsic[0]) != ("name", "intrinsic"):
                raise ValueError("'name' or 'intrinsic' is not where it should be")
            if int(number) in found:
                raise ValueError(f"camera {int(number)} is there twice")
            found[int(number)] = np.array(intrinsic[1:], np.float64).reshape(4, 4)[:3, :3]
        if not found:
            raise ValueError("it has no camera")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} is not a camera.calibration of MPI-INF-3DHP: {error}.") from None
    return found


def _read_train(path: epath.Path, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """(F, 17, 2) px and (F, 17, 3) metres of a camera."""
    from scipy.io import loadmat

    try:
        with path.open("rb") as file:
            annotation = loadmat(file, variable_names=("annot2", "annot3"))
        cells = {name: annotation[name][camera][0] for name in ("annot2", "annot3")}
    except Exception as error:  # damage shows in SciPy, zlib or NumPy, in several classes
        reason = re.sub(r"\s+", " ", str(error))
        raise ValueError(f"{path} is not an annot.mat of MPI-INF-3DHP with camera {camera}: {reason}.") from None
    pixels = numbers(path, "annot2", cells["annot2"], (None, 56)).astype(np.float64)
    millimetres = numbers(path, "annot3", cells["annot3"], (len(pixels), 84)).astype(np.float64)
    return pixels.reshape(-1, 28, 2)[:, FROM_28], millimetres.reshape(-1, 28, 3)[:, FROM_28] / 1000


def _read_test(path: epath.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(F, 17, 2) px, (F, 17, 3) metres, (F,) valid."""
    with open_hdf5(path, "an annot_data.mat of MPI-INF-3DHP") as read:
        pixels = numbers(path, "annot2", read("annot2"), (None, 1, 17, 2)).astype(np.float64)[:, 0]
        count = len(pixels)
        millimetres = numbers(path, "univ_annot3", read("univ_annot3"), (count, 1, 17, 3)).astype(np.float64)[:, 0]
        valid = numbers(path, "valid_frame", read("valid_frame"), (count,), (count, 1), (1, count)).reshape(-1) == 1
    return pixels[:, FROM_TEST_17], millimetres[:, FROM_TEST_17] / 1000, valid
