"""RICH (Huang et al., CVPR 2022): people in scenes with several fixed cameras, SMPL-X bodies in the scene's axes.

    <manual>/bodies/{train,val,test}/<sequence>/<frame:05d>/<subject:03d>.pkl
    <manual>/images/{train,val,test}/<sequence>/cam_<camera:02d>/<frame:05d>_<camera:02d>.{bmp,png,jpg,jpeg}
    <manual>/scan_calibration/<scene>/calibration/<camera:03d>.xml
    <manual>/resource/gender.json                          of RICH's toolkit, or the option `genders`

A sequence is named <scene>_<subject>_<action>. Bodies are fitted once and then projected into every camera that has
images. Lens distortion is ignored, as RICH's own toolkit and the published evaluations do.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, check_stride
from data_pipelines.builders.labels.cameras import bodies_in_camera
from data_pipelines.builders.labels.label_pickle import read_labels
from data_pipelines.builders.labels.projection import box_in_image, project, with_confidence
from data_pipelines.builders.labels.smplx_labels import SmplLabels
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.builders.smplx_base import SmplxBuilder
from data_pipelines.records import Record
from hmr_jax.body.genders import Gender, parse_gender

SPLITS = {"train": "train", "validation": "val", "test": "test"}
OTHER_ENDINGS = (".png", ".jpg", ".jpeg")  # of images that are not .bmp
BLOCK_FRAMES = 64
PARTS = {"transl": 3, "global_orient": 3, "body_pose": 63, "betas": 10}
FACE = ("jaw_pose", "leye_pose", "reye_pose")
HANDS = ("left_hand_pose", "right_hand_pose")
MAX_BETA = 10.0


class Camera(NamedTuple):
    """A calibrated camera."""

    rotation: np.ndarray
    """(3, 3) from scene to camera."""
    shift: np.ndarray
    """(3,) from scene to camera, metres."""
    intrinsics: np.ndarray
    """(3, 3) px."""


class Rich(SmplxBuilder):
    """RICH from its own files, with its SMPL-X bodies converted to SMPL."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get bodies, images and scan_calibration from rich.is.tue.mpg.de into one folder, and resource/gender.json "
        "from its toolkit (github.com/paulchhuang/rich_toolkit)."
    )
    DESCRIPTION = "RICH: people in real scenes, several cameras, SMPL-X bodies converted to SMPL."
    HOMEPAGE = "https://rich.is.tue.mpg.de"

    def __init__(self, *, genders: str = "resource/gender.json", stride: int = 1, hands: bool = True, **kwargs: Any):
        """Sets what is kept.

        Args:
            genders: JSON file with the gender of each subject's number, relative to the manual folder.
            stride: every `stride`-th frame is taken.
            hands: pose the hands as labelled; False: flat, as evaluations do.
            **kwargs: see `SmplxBuilder`.

        Raises:
            ValueError: the stride is not positive.
        """
        super().__init__(**kwargs)
        check_stride(stride)
        self.genders, self.stride, self.hands = genders, stride, hands

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
        cameras = _cameras(manual_dir / "scan_calibration" / name.split("_")[0] / "calibration")
        images = manual_dir / "images" / SPLITS[split] / name
        folders = {int(path.name[4:]): path for path in images.glob("cam_*") if path.name[4:].isdigit()}
        if not folders:
            raise FileNotFoundError(f"There are no images of {name}: {images} holds no folder cam_00, cam_01 ...")
        if unknown := sorted(folders.keys() - cameras.keys()):
            raise FileNotFoundError(f"{folders[unknown[0]]} is of a camera without a calibration file.")
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
        if not by_gender:
            return
        people = [(frame, subject) for found in by_gender.values() for frame, subject, _ in found]
        parts = [self._fit(gender, [labels for *_, labels in found]) for gender, found in by_gender.items()]
        bodies = SmplLabels(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        for number, folder in sorted(folders.items()):
            yield from self._seen(f"{number:02d}", cameras[number], folder, name, people, bodies)

    def _fit(self, gender: Gender, people: list[dict[str, np.ndarray]]) -> SmplLabels:
        stacked = {key: np.stack([labels[key] for labels in people]) for key in people[0]}
        whole = np.concatenate([stacked["global_orient"], stacked["body_pose"]], 1)
        hands = stacked["hands"] if self.hands else None
        model = self.fitter.model(gender)
        pose = model.full_pose(whole, hands, stacked["face"], flat_hand_mean=not self.hands)
        return self.fitter(gender, stacked["betas"], pose, stacked["transl"], stacked["expression"])

    def _seen(
        self,
        camera_name: str,
        camera: Camera,
        folder: epath.Path,
        sequence: str,
        people: Sequence[tuple[int, int]],
        bodies: SmplLabels,
    ) -> Iterator[Record | str]:
        """The records of all bodies in the images of one camera; `people` are frames and subjects."""
        model, count = self.fitter.bodies, len(people)
        rotation, shift = np.tile(camera.rotation, (count, 1, 1)), np.tile(camera.shift, (count, 1))
        pose, translation, keypoints = bodies_in_camera(
            model, "n", rotation, shift, bodies.pose, bodies.betas, bodies.translation
        )
        keypoints_2d = project(keypoints, camera.intrinsics)
        find_image = ImageFinder(folder, endings=OTHER_ENDINGS, exif=self.exif)
        for i, (frame, subject) in enumerate(people):
            image = find_image(f"{frame:05d}_{camera_name}.bmp")
            if isinstance(image, str):
                yield image
            elif (box := box_in_image(keypoints_2d[i], image.width, image.height)) is None:
                yield "keypoints: fewer than eight in the image"
            else:
                yield self.person(
                    image,
                    doubt="smplx: SMPL does not fit" if bodies.error[i] > self.max_error else "",
                    key=f"{sequence}-{subject:03d}-{frame:05d}-{camera_name}",
                    box_center=box[0],
                    box_size=box[1],
                    keypoints_2d=keypoints_2d[i],
                    keypoints_3d=with_confidence(keypoints[i]),
                    pose=pose[i],
                    betas=bodies.betas[i],
                    translation=translation[i],
                    intrinsics=camera.intrinsics,
                    topology=model.topology,
                )


def _read(path: epath.Path) -> dict[str, np.ndarray] | str:
    """SMPL-X parameters of a body, each of one axis, or what is wrong with them."""
    contents = read_labels(path, PARTS, "a body of RICH")
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
def _cameras(folder: epath.Path) -> dict[int, Camera]:
    """The cameras of a scene by their numbers, from OpenCV's XML files."""
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
        cameras[int(path.stem)] = Camera(outer[:, :3], outer[:, 3], inner)
    if not cameras:
        raise FileNotFoundError(f"There is no calibration in {folder}: it should hold 000.xml, 001.xml ...")
    return cameras


@lru_cache(maxsize=2)
def _genders(path: epath.Path) -> dict[int, Gender | None]:
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: take resource/gender.json from RICH's toolkit.")
    return {int(subject): parse_gender(gender) for subject, gender in json.loads(path.read_text()).items()}
