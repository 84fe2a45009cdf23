"""RICH (Huang et al., CVPR 2022): people and scenes seen by several fixed cameras, SMPL-X bodies in the scene's axes.

    <manual>/bodies/{train,val,test}/<sequence>/<frame:05d>/<subject:03d>.pkl
    <manual>/images/{train,val,test}/<sequence>/cam_<camera:02d>/<frame:05d>_<camera:02d>.{bmp,png,jpg,jpeg}
    <manual>/scan_calibration/<scene>/calibration/<camera:03d>.xml
    <manual>/resource/gender.json                          of RICH's toolkit, or the option `genders`

A sequence is named <scene>_<subject>_<action>. Bodies are fitted once and then seen by every camera of which there are
images. Lens distortion is ignored, as RICH's own toolkit and the published evaluations do.

Shapes: N bodies.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.labels.cameras import camera_translation, rotate_root
from data_pipelines.builders.labels.cropping import BadImage, SourceImage
from data_pipelines.builders.labels.projection import box_in_image, project, with_confidence
from data_pipelines.builders.labels.smplx_labels import MAX_ERROR, SmplLabels, load_fitter
from data_pipelines.records import Record
from hmr_jax.body.genders import Gender, parse_gender
from hmr_jax.body.labelled import HEIGHTS
from hmr_jax.io import safe_pickle

SPLITS = {"train": "train", "validation": "val", "test": "test"}
IMAGE_ENDINGS = (".bmp", ".png", ".jpg", ".jpeg")
BLOCK_FRAMES = 64
PARTS = {"transl": 3, "global_orient": 3, "body_pose": 63, "betas": 10}
FACE = ("jaw_pose", "leye_pose", "reye_pose")
HANDS = ("left_hand_pose", "right_hand_pose")
MAX_BETA = 10.0


class Rich(RecordBuilder):
    """RICH from its own files, SMPL-X bodies turned into SMPL."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get bodies, images and scan_calibration from rich.is.tue.mpg.de into one folder, and resource/gender.json "
        "from its toolkit (github.com/paulchhuang/rich_toolkit)."
    )
    DESCRIPTION = "RICH: people in real scenes, several cameras, SMPL-X bodies turned into SMPL."
    HOMEPAGE = "https://rich.is.tue.mpg.de"

    def __init__(
        self,
        *,
        body: str = "",
        smplx: str = "",
        vertex_map: str = "",
        genders: str = "resource/gender.json",
        stride: int = 1,
        hands: bool = True,
        max_error: float = MAX_ERROR,
        **kwargs: Any,
    ):
        """Says where things are and what is kept.

        Args:
            body: Folder with SMPL_NEUTRAL, its file, or "default".
            smplx: Folder with SMPLX_MALE and SMPLX_FEMALE.
            vertex_map: smplx2smpl.pkl.
            genders: JSON file: number of the subject: gender.
            stride: Every which frame is taken.
            hands: Pose the hands as labelled; False: flat, as evaluations do.
            max_error: Of the fit of SMPL to SMPL-X, mm.
            **kwargs: See `RecordBuilder`.

        Raises:
            ValueError: The stride is not positive.
        """
        super().__init__(**kwargs)
        if stride < 1:
            raise ValueError(f"stride must be at least 1, not {stride}.")
        self.body, self.smplx, self.vertex_map, self.genders = body, smplx, vertex_map, genders
        self.stride, self.hands, self.max_error = stride, hands, max_error

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        found: dict[str, list[Block]] = {}
        for split, folder in SPLITS.items():
            blocks: list[Block] = []
            for sequence in sorted((manual_dir / "bodies" / folder).glob("*_*_*")):
                frames = sorted(int(path.name) for path in sequence.iterdir() if path.name.isdigit())[:: self.stride]
                for start in range(0, len(frames), BLOCK_FRAMES):
                    blocks.append((str(manual_dir), sequence.name, *frames[start : start + BLOCK_FRAMES]))
            if blocks:
                found[split] = blocks
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        manual_dir, name, frames = epath.Path(block[0]), str(block[1]), [int(frame) for frame in block[2:]]
        fitter = load_fitter(self.smplx, self.vertex_map, self.body)
        cameras = _cameras(manual_dir / "scan_calibration" / name.split("_")[0] / "calibration")
        images = manual_dir / "images" / SPLITS[split] / name
        folders = {int(path.name[4:]): path for path in images.glob("cam_*") if path.name[4:].isdigit()}
        if not folders:
            raise FileNotFoundError(f"There are no images of {name}: {images} holds no folder cam_00, cam_01 ...")
        if strangers := sorted(folders.keys() - cameras.keys()):
            raise FileNotFoundError(f"{folders[strangers[0]]} is of a camera without a calibration file.")
        genders = _genders(manual_dir / self.genders)

        by_gender: dict[Gender, list[tuple[int, int, dict[str, np.ndarray]]]] = {}
        for frame in frames:
            folder = manual_dir / "bodies" / SPLITS[split] / name / f"{frame:05d}"
            for path in sorted(folder.glob("*.pkl")):
                gender = genders.get(int(path.stem)) if path.stem.isdigit() else None
                labels = _read(path)
                if gender is None or isinstance(labels, str):
                    reason = labels if isinstance(labels, str) else "gender: not known"
                    yield from [reason] * len(folders)
                else:
                    by_gender.setdefault(gender, []).append((frame, int(path.stem), labels))
        bodies = []  # frame, subject, row of labels, labels
        for gender, people in by_gender.items():
            fitted = self._fit(fitter, gender, [labels for *_, labels in people])
            bodies += [(frame, subject, row, fitted) for row, (frame, subject, _) in enumerate(people)]
        for camera, folder in sorted(folders.items()):
            yield from self._seen(name, camera, folder, cameras[camera], bodies, fitter)

    def _fit(self, fitter, gender: Gender, people: list[dict[str, np.ndarray]]) -> SmplLabels:
        stacked = {key: np.stack([labels[key] for labels in people]) for key in people[0]}
        model = fitter.model(gender)
        whole = np.concatenate([stacked["global_orient"], stacked["body_pose"]], 1)
        hands, flat = (stacked["hands"], False) if self.hands else (None, True)
        pose = model.full_pose(whole, hands, stacked["face"], flat_hand_mean=flat)
        return fitter(gender, stacked["betas"], pose, stacked["transl"], stacked["expression"])

    def _seen(self, name, camera: int, folder: epath.Path, calibration, bodies, fitter) -> Iterator[Record | str]:
        """The records of all bodies in the images of one camera."""
        if not bodies:
            return
        rotation, shift, intrinsics = calibration
        pose, betas, place, error = (
            np.stack([getattr(fitted, key)[row] for *_, row, fitted in bodies])
            for key in ("pose", "betas", "translation", "error")
        )
        turns, shifts = np.tile(rotation, (len(bodies), 1, 1)), np.tile(shift, (len(bodies), 1))
        place = camera_translation(turns, shifts, place, fitter.bodies.root("n", betas))
        pose = rotate_root(turns, pose)
        solid = fitter.bodies.keypoints("n", pose, betas, place)
        heights, flat = fitter.bodies.heights("n", betas), project(solid, intrinsics)
        last: tuple[int, SourceImage | str | None] = (-1, None)
        for i, (frame, subject, *_) in enumerate(bodies):
            if last[0] != frame:
                last = frame, _image(folder, f"{frame:05d}_{camera:02d}")
            image = last[1]
            if image is None or isinstance(image, str):
                yield image or "image: missing"
            elif error[i] > self.max_error:
                yield "smplx: SMPL does not fit"
            elif not HEIGHTS[0] < heights[i] < HEIGHTS[1]:
                yield "smpl: height out of range"
            elif (box := box_in_image(flat[i], image.width, image.height)) is None:
                yield "keypoints: fewer than eight in the image"
            else:
                yield self.person(
                    image,
                    key=f"{name}-{subject:03d}-{frame:05d}-{camera:02d}",
                    box_center=box[0],
                    box_size=box[1],
                    keypoints_2d=flat[i],
                    keypoints_3d=with_confidence(solid[i]),
                    pose=pose[i],
                    betas=betas[i],
                    translation=place[i],
                    intrinsics=intrinsics,
                    topology=fitter.bodies.topology,
                )


def _image(folder: epath.Path, stem: str) -> SourceImage | str | None:
    for suffix in IMAGE_ENDINGS:
        if (path := folder / (stem + suffix)).exists():
            try:
                return SourceImage(path)
            except BadImage as error:
                return str(error)
    return None


def _read(path: epath.Path) -> dict[str, np.ndarray] | str:
    """SMPL-X parameters of a body, flat, or what is wrong with them."""
    try:
        with path.open("rb") as file:
            contents = safe_pickle.load(file)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    missing = [key for key in PARTS if not isinstance(contents, dict) or key not in contents]
    if missing:
        raise ValueError(f"{path} is not a body of RICH: it lacks {', '.join(missing)}.")
    labels = {key: np.asarray(contents[key], np.float64).reshape(-1)[:size] for key, size in PARTS.items()}
    zeros = np.zeros(3)
    labels["face"] = np.concatenate([np.asarray(contents.get(key, zeros), float).reshape(3) for key in FACE])
    hand = np.zeros(12)
    labels["hands"] = np.stack([np.asarray(contents.get(key, hand), float).reshape(-1) for key in HANDS])
    labels["expression"] = np.asarray(contents.get("expression", np.zeros(10)), float).reshape(-1)[:10]
    if not all(np.isfinite(values).all() for values in labels.values()):
        return "labels: not finite"
    return "betas: out of range" if np.abs(labels["betas"]).max() > MAX_BETA else labels


@lru_cache(maxsize=8)
def _cameras(folder: epath.Path) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Number: rotation (3, 3) and shift (3,) from scene to camera, intrinsics (3, 3); of OpenCV's XML files."""
    cameras = {}
    for path in sorted(folder.glob("*.xml")):
        if not path.stem.isdigit():
            continue
        try:
            tree = ElementTree.fromstring(path.read_bytes())
            outer, inner = (
                np.array((tree.findtext(f"{name}/data") or "").split(), np.float64).reshape(3, columns)
                for name, columns in (("CameraMatrix", 4), ("Intrinsics", 3))
            )
        except (ElementTree.ParseError, ValueError) as error:
            raise ValueError(f"{path} is not a calibration file of RICH: {error}.") from None
        cameras[int(path.stem)] = outer[:, :3], outer[:, 3], inner
    if not cameras:
        raise FileNotFoundError(f"There is no calibration in {folder}: it should hold 000.xml, 001.xml ...")
    return cameras


@lru_cache(maxsize=2)
def _genders(path: epath.Path) -> dict[int, Gender | None]:
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: take resource/gender.json from RICH's toolkit.")
    return {int(subject): parse_gender(gender) for subject, gender in json.loads(path.read_text()).items()}
