"""BEDLAM (Black et al., CVPR 2023) and BEDLAM 2: rendered people, labels in "CLIFF format", one npz file a scene.

    <manual>/training_labels/all_npz_12_training/<scene>.npz          option labels=DIR
    <manual>/training_labels/all_npz_12_validation/<scene>.npz        if it is there
    <manual>/training_images/<scene>/png/seq_000000/seq_000000_0000.png   option images=DIR

Columns: imgname; center (N, 2) px, scale (N,) of 200 px; pose_cam (N, 165) SMPL-X or (N, 72) SMPL axis-angle, the root
in camera axes; shape (N, 10 to 16); trans_cam (N, 3); cam_ext (N, 4, 4); cam_int (N, 3, 3) px; gtkps (N, >= 22, 3) px.
The body stands at trans_cam + cam_ext[:3, 3] in camera axes. `gender` is that of the rendered character: labels are of
the neutral body, so it is not read. Images of scenes with "closeup" in their names are stored lying on their side.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import check_columns, read_rows, row_blocks, text
from data_pipelines.builders.labels.cropping import BadImage, SourceImage
from data_pipelines.builders.labels.projection import median_distance, project, with_confidence
from data_pipelines.builders.labels.smplx_labels import MAX_ERROR, load_fitter
from data_pipelines.records import Record
from hmr_jax.body.labelled import HEIGHTS, load_labelled_bodies

COLUMNS = ("imgname", "center", "scale", "pose_cam", "shape", "trans_cam", "cam_ext", "cam_int", "gtkps")
FOLDERS = {"train": "all_npz_12_training", "validation": "all_npz_12_validation"}
MAX_BETA = 10.0  # about 880 rows of the files with 16 betas go up to 113
MAX_OFFSET = 5.0  # px of the body's joints from those in the file, which are exact
CHECKED = 22  # joints that SMPL and SMPL-X share, hands excepted


class Bedlam(RecordBuilder):
    """BEDLAM, SMPL-X labels turned into SMPL."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get BEDLAM's images and labels from bedlam.is.tue.mpg.de: training_images/<scene>/png and "
        "training_labels/all_npz_12_training/<scene>.npz in one folder."
    )
    DESCRIPTION = "BEDLAM: rendered people in motion, SMPL-X labels turned into SMPL."
    HOMEPAGE = "https://bedlam.is.tue.mpg.de"

    def __init__(
        self,
        *,
        body: str = "",
        smplx: str = "",
        vertex_map: str = "",
        labels: str = "training_labels",
        images: str = "training_images",
        scenes: Sequence[str] = (),
        keep: float = 1.0,
        max_error: float = MAX_ERROR,
        **kwargs: Any,
    ):
        """Says where things are and what is kept.

        Args:
            body: Folder with SMPL_NEUTRAL, its file, or "default".
            smplx: Folder with SMPLX_NEUTRAL or its file; not needed for labels of SMPL.
            vertex_map: smplx2smpl.pkl; not needed for labels of SMPL.
            labels: Folder of the npz files, or of the folders of the splits.
            images: Folder of the scenes' folders.
            scenes: Names of scenes to take; empty: all.
            keep: First part of the rows of each scene that is taken (CROP_PERCENT).
            max_error: Of the fit of SMPL to SMPL-X, mm.
            **kwargs: See `RecordBuilder`.

        Raises:
            ValueError: No body is given, or `keep` is no share.
        """
        super().__init__(**kwargs)
        if not 0 < keep <= 1:
            raise ValueError(f"keep must be more than 0 and at most 1, not {keep}.")
        self.body, self.smplx, self.vertex_map = body, smplx, vertex_map
        self.labels, self.images = labels, images
        self.scenes, self.keep, self.max_error = (
            (scenes,) if isinstance(scenes, str) else tuple(scenes),
            keep,
            max_error,
        )

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        labels, images = manual_dir / self.labels, manual_dir / self.images
        found: dict[str, list[Block]] = {}
        for split, folder in FOLDERS.items():
            files = sorted((labels / folder).glob("*.npz"))
            if not files and split == "train":
                files = sorted(labels.glob("*.npz"))
            chosen = [path for path in files if not self.scenes or path.stem in self.scenes]
            blocks = []
            for path in chosen:
                rows = check_columns(path, COLUMNS)["center"][0]
                blocks += row_blocks(path, max(1, int(rows * self.keep)), str(images / path.stem))
            if blocks:
                found[split] = blocks
        names = {epath.Path(block[0]).stem for blocks in found.values() for block in blocks}
        if missing := set(self.scenes) - names:
            raise FileNotFoundError(f"There are no labels of the scene {min(missing)} in {labels}.")
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path, start, stop, folder = epath.Path(block[0]), int(block[1]), int(block[2]), epath.Path(block[3])
        rows = read_rows(path, start, stop, COLUMNS)
        reasons = _problems(rows)
        good = np.flatnonzero(reasons == "")
        values = {name: np.asarray(rows[name][good], np.float64) for name in COLUMNS[1:]}
        place = values["trans_cam"] + values["cam_ext"][:, :3, 3]
        if values["pose_cam"].shape[1] == 72:
            bodies = load_labelled_bodies(self._needed_body())
            pose, betas, error = values["pose_cam"], values["shape"][:, :10], np.zeros(len(good))
            # OpenPose's 1 to 14 are SMPL's own joints.
            solid = bodies.keypoints("n", pose, betas, place)
            joints, shared = solid[:, 1:15], [12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7]
            offset = median_distance(project(joints, values["cam_int"]), values["gtkps"][:, shared])
        else:
            fitter = load_fitter(self.smplx, self.vertex_map, self.body)
            bodies = fitter.bodies
            model = fitter.model("n")
            full = values["pose_cam"]
            full = model.full_pose(full[:, :66], full[:, 75:165].reshape(-1, 2, 45), full[:, 66:75])
            pose, betas, place, error, joints = fitter("n", values["shape"], full, place)
            solid = bodies.keypoints("n", pose, betas, place)
            offset = median_distance(project(joints[:, :CHECKED], values["cam_int"]), values["gtkps"][:, :CHECKED])
        if values["gtkps"].shape[1] == 44:  # CameraHMR's release has our keypoints there
            offset = median_distance(project(solid, values["cam_int"]), values["gtkps"]) / 2
        flat = project(solid, values["cam_int"])
        heights = bodies.heights("n", betas)

        place_of, find_image = {row: i for i, row in enumerate(good.tolist())}, _Scene(folder)
        for row, reason in enumerate(reasons.tolist()):
            if reason:
                yield reason
                continue
            i = place_of[row]
            name = text(rows["imgname"][row])
            if offset[i] > MAX_OFFSET:
                yield "gtkps: the body is not there"
            elif error[i] > self.max_error:
                yield "smplx: SMPL does not fit"
            elif not HEIGHTS[0] < heights[i] < HEIGHTS[1]:
                yield "smpl: height out of range"
            elif not flat[i, :, 2].all():
                yield "smpl: behind the camera"
            elif (image := find_image(name)) is None or isinstance(image, str):
                yield image or "image: missing"
            else:
                yield self.person(
                    image,
                    key=f"{path.stem}/{name}-{start + row}",
                    box_center=values["center"][i],
                    box_size=200 * float(values["scale"][i]),
                    keypoints_2d=flat[i],
                    keypoints_3d=with_confidence(solid[i]),
                    pose=pose[i],
                    betas=betas[i],
                    translation=place[i],
                    intrinsics=values["cam_int"][i],
                    topology=bodies.topology,
                )

    def _needed_body(self) -> str:
        if not self.body:
            raise ValueError("BEDLAM's labels need the body that they mean: --option body=FOLDER with SMPL_NEUTRAL.")
        return self.body


def _problems(rows: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) what is wrong with the labels of each row, "" where nothing is."""
    count = len(rows["center"])
    finite = np.ones(count, bool)
    for name in COLUMNS[1:]:
        finite &= np.isfinite(np.asarray(rows[name], np.float64).reshape(count, -1)).all(1)
    with np.errstate(invalid="ignore"):
        large = np.abs(np.asarray(rows["shape"], np.float64)).max(1) > MAX_BETA
    reasons = np.full(count, "", object)
    reasons[large] = "betas: out of range"
    reasons[~finite] = "labels: not finite"
    return reasons


class _Scene:
    """Images of a scene; the last one is kept, as people of one image are neighbours."""

    def __init__(self, folder: epath.Path):
        self._folder, self._turns = folder, int("closeup" in folder.name)
        self._name = ""
        self._image: SourceImage | str | None = None

    def __call__(self, name: str) -> SourceImage | str | None:
        """The image, what is wrong with it, or None where there is none."""
        if name != self._name:
            self._name, self._image = name, self._find(name)
        return self._image

    def _find(self, name: str) -> SourceImage | str | None:
        for base in (self._folder / "png", self._folder, self._folder.parent):
            for path in (base / name, (base / name).with_suffix(".jpg")):
                if path.exists():
                    try:
                        return SourceImage(path, self._turns)
                    except BadImage as error:
                        return str(error)
        return None
