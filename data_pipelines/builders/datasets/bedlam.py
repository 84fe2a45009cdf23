"""BEDLAM (Black et al., CVPR 2023) and BEDLAM 2: rendered people, labels in "CLIFF format", one npz file a scene.

    <manual>/training_labels/all_npz_12_training/<scene>.npz          option labels=DIR
    <manual>/training_labels/all_npz_12_validation/<scene>.npz        if it is there
    <manual>/training_images/<scene>/png/seq_000000/seq_000000_0000.png   option images=DIR

Columns: imgname; center (N, 2) px, scale (N,) in units of 200 px; pose_cam (N, 165) SMPL-X or (N, 72) SMPL axis-angle,
the root in camera axes; shape (N, 10 to 16); trans_cam (N, 3); cam_ext (N, 4, 4); cam_int (N, 3, 3) px; gtkps
(N, >= 22, 3) px. The translation in camera axes is trans_cam + cam_ext[:3, 3]. `gender` is that of the rendered
character and is not read: labels are of the neutral body. Images of scenes with "closeup" in their names are stored
rotated by 90 degrees.

Shapes: N people.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block
from data_pipelines.builders.formats.npz_rows import (
    box_of_row,
    check_columns,
    finite_rows,
    read_rows,
    row_blocks,
    text,
)  # fmt: skip
from data_pipelines.builders.labels.keypoints import OPENPOSE_BODY, SMPL_OF_OPENPOSE
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.projection import median_distance, project, with_confidence
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.builders.smplx_base import SmplxBuilder
from data_pipelines.records import Record
from hmr_jax.body.labelled import load_labelled_bodies

COLUMNS = ("imgname", "center", "scale", "pose_cam", "shape", "trans_cam", "cam_ext", "cam_int", "gtkps")
FOLDERS = {"train": "all_npz_12_training", "validation": "all_npz_12_validation"}
MAX_BETA = 10.0  # about 880 rows of the files with 16 betas have larger ones, up to 113
MAX_OFFSET = 5.0  # px between the body's joints and those in the file, which are exact
CHECKED = 22  # joints that SMPL and SMPL-X share, without the hands


class Bedlam(SmplxBuilder):
    """BEDLAM with its SMPL-X labels converted to SMPL."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get BEDLAM's images and labels from bedlam.is.tue.mpg.de: training_images/<scene>/png and "
        "training_labels/all_npz_12_training/<scene>.npz in one folder."
    )
    DESCRIPTION = "BEDLAM: rendered people in motion, SMPL-X labels converted to SMPL."
    HOMEPAGE = "https://bedlam.is.tue.mpg.de"

    def __init__(
        self,
        *,
        labels: str = "training_labels",
        images: str = "training_images",
        scenes: Sequence[str] = (),
        keep: float = 1.0,
        **kwargs: Any,
    ):
        """Sets where the files are and which rows are kept.

        Args:
            labels: folder of the npz files, or of the folders of the splits.
            images: folder of the scenes' folders.
            scenes: names of scenes to take; empty: all.
            keep: share of the rows of each scene that is taken, from the first (CROP_PERCENT).
            **kwargs: see `SmplxBuilder`; labels of SMPL need neither smplx nor vertex_map.

        Raises:
            ValueError: `keep` is no share.
        """
        super().__init__(**kwargs)
        if not 0 < keep <= 1:
            raise ValueError(f"keep must be more than 0 and at most 1, not {keep}.")
        self.labels, self.images, self.keep = labels, images, keep
        self.scenes = (scenes,) if isinstance(scenes, str) else tuple(scenes)

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        labels, images = manual_dir / self.labels, manual_dir / self.images
        found: dict[str, list[Block]] = {}
        names = set[str]()
        for split, folder in FOLDERS.items():
            files = sorted((labels / folder).glob("*.npz"))
            if not files and split == "train":
                files = sorted(labels.glob("*.npz"))
            chosen = [path for path in files if not self.scenes or path.stem in self.scenes]
            names |= {path.stem for path in chosen}
            blocks = []
            for path in chosen:
                rows = check_columns(path, COLUMNS)["center"][0]
                blocks += row_blocks(path, min(rows, max(1, int(rows * self.keep))), str(images / path.stem))
            if blocks:
                found[split] = blocks
        if missing := set(self.scenes) - names:
            raise FileNotFoundError(f"There are no labels of the scene {min(missing)} in {labels}.")
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop, folder = epath.Path(block[0]), int(block[1]), int(block[2]), epath.Path(block[3])
        rows = read_rows(path, start, stop, COLUMNS)
        numbers(path, "pose_cam", rows["pose_cam"], (None, 72), (None, -165))
        reasons = _problems(rows)
        good = np.flatnonzero(reasons == "")
        values = {name: np.asarray(rows[name][good], np.float64) for name in COLUMNS[1:]}
        translation = values["trans_cam"] + values["cam_ext"][:, :3, 3]
        if values["pose_cam"].shape[1] == 72:
            bodies = load_labelled_bodies(self._needed_body())
            pose, betas, error = values["pose_cam"], values["shape"][:, :10], np.zeros(len(good))
            keypoints = bodies.keypoints("n", pose, betas, translation)
            joints, labelled = keypoints[:, OPENPOSE_BODY], values["gtkps"][:, SMPL_OF_OPENPOSE]
        else:
            bodies, model = self.fitter.bodies, self.fitter.model("n")
            full = values["pose_cam"]
            full = model.full_pose(full[:, :66], full[:, 75:165].reshape(-1, 2, 45), full[:, 66:75])
            pose, betas, translation, error, joints = self.fitter("n", values["shape"], full, translation, where=path)
            keypoints = bodies.keypoints("n", pose, betas, translation)
            joints, labelled = joints[:, :CHECKED], values["gtkps"][:, :CHECKED]
        keypoints_2d = project(keypoints, values["cam_int"])
        if values["gtkps"].shape[1] == 44:  # CameraHMR's release has our keypoints there
            offset = median_distance(keypoints_2d, values["gtkps"]) / 2
        else:
            offset = median_distance(project(joints, values["cam_int"]), labelled)

        find_image = ImageFinder(
            folder / "png", folder, folder.parent, endings=(".jpg",), rotation=90 * ("closeup" in folder.name),
            exif=self.exif,
        )  # fmt: skip
        number = {row: i for i, row in enumerate(good.tolist())}  # among the good rows
        for row, reason in enumerate(reasons.tolist()):
            if reason:
                yield reason
                continue
            i = number[row]
            name = text(rows["imgname"][row])
            if offset[i] > MAX_OFFSET:
                yield "gtkps: the body is not there"
            elif error[i] > self.max_error:
                yield "smplx: SMPL does not fit"
            elif not keypoints_2d[i, :, 2].all():
                yield "smpl: behind the camera"
            else:
                yield self.person(
                    find_image(name),
                    key=f"{path.stem}/{name}-{start + row}",
                    **box_of_row(values, i, 200),
                    keypoints_2d=keypoints_2d[i],
                    keypoints_3d=with_confidence(keypoints[i]),
                    pose=pose[i],
                    betas=betas[i],
                    translation=translation[i],
                    intrinsics=values["cam_int"][i],
                    topology=bodies.topology,
                )

    def _needed_body(self) -> str:
        if not self.body:
            raise ValueError("BEDLAM's labels need their body model: --option body=FOLDER with SMPL_NEUTRAL.")
        return self.body


def _problems(rows: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) what is wrong with the labels of each row, "" where nothing is."""
    with np.errstate(invalid="ignore"):
        large = np.abs(np.asarray(rows["shape"], np.float64)).max(1) > MAX_BETA
    reasons = np.full(len(large), "", object)
    reasons[large] = "betas: out of range"
    reasons[~finite_rows(rows, COLUMNS[1:])] = "labels: not finite"
    return reasons
