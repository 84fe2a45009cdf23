"""RICH (Huang et al., CVPR 2022): people in scenes with several fixed cameras, SMPL-X bodies in the scene's axes.

    <manual>/bodies/{train,val,test}/<sequence>/<frame:05d>/<subject:03d>.pkl
    <manual>/images/{train,val,test}/<sequence>/cam_<camera:02d>/<frame:05d>_<camera:02d>.{bmp,png,jpg,jpeg}
    <manual>/scan_calibration/<scene>/calibration/<camera:03d>.xml
    <manual>/resource/gender.json                          of RICH's toolkit, or the option `genders`

A sequence is named <scene>_<subject>_<action>. Bodies are fitted once and then projected into every camera that has
images. Lens distortion is ignored, as RICH's own toolkit and the published evaluations do.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, check_stride
from data_pipelines.builders.labels.cameras import are_rotations, bodies_in_camera
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.label_files import read_json, read_pickle
from data_pipelines.builders.labels.projection import box_in_image, project, with_confidence
from data_pipelines.builders.labels.smplx_labels import SmplLabels
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.builders.smplx_base import SmplxBuilder
from data_pipelines.records import Record
from data_pipelines.records.storage import kept_until_changed
from hmr_jax.body.genders import Gender, parse_gender

SPLITS = {"train": "train", "validation": "val", "test": "test"}
OTHER_ENDINGS = (".png", ".jpg", ".jpeg")  # of images that are not .bmp
BLOCK_FRAMES = 64
PARTS = {"transl": 3, "global_orient": 3, "body_pose": 63, "betas": 10}
OPTIONAL = {
    "jaw_pose": 3,
    "leye_pose": 3,
    "reye_pose": 3,
    "left_hand_pose": 12,
    "right_hand_pose": 12,
    "expression": 10,
}
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
        calibration = manual_dir / "scan_calibration" / name.split("_")[0] / "calibration"
        files = {int(path.stem): path for path in sorted(calibration.glob("*.xml")) if path.stem.isdecimal()}
        if not files:
            raise FileNotFoundError(f"There is no calibration in {calibration}: it should hold 000.xml, 001.xml ...")
        images = manual_dir / "images" / SPLITS[split] / name
        folders = {int(path.name[4:]): path for path in images.glob("cam_*") if path.name[4:].isdecimal()}
        if not folders:
            raise FileNotFoundError(f"There are no images of {name}: {images} holds no folder cam_00, cam_01 ...")
        if unknown := sorted(folders.keys() - files.keys()):
            raise FileNotFoundError(f"{folders[unknown[0]]} is of a camera without a calibration file.")
        cameras = {number: _camera(files[number]) for number in folders}
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
    contents = {key: np.zeros(size) for key, size in OPTIONAL.items()} | read_pickle(path, PARTS, "a body of RICH")
    labels = {
        key: numbers(path, key, contents[key], (size,), (1, size)).astype(np.float64).reshape(size)
        for key, size in (PARTS | OPTIONAL).items()
    }
    labels["face"] = np.concatenate([labels.pop(key) for key in ("jaw_pose", "leye_pose", "reye_pose")])
    labels["hands"] = np.stack([labels.pop(key) for key in ("left_hand_pose", "right_hand_pose")])
    if not all(np.isfinite(values).all() for values in labels.values()):
        return "labels: not finite"
    return "betas: out of range" if np.abs(labels["betas"]).max() > MAX_BETA else labels


@kept_until_changed(64)
def _camera(path: epath.Path) -> Camera:
    """A camera from OpenCV's XML file."""
    try:
        tree = ElementTree.fromstring(path.read_bytes())
        outer, inner = (
            np.array((tree.findtext(f"{name}/data") or "").split(), np.float64).reshape(3, columns)
            for name, columns in (("CameraMatrix", 4), ("Intrinsics", 3))
        )
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path} is not a calibration file of RICH: {error}.") from None
    if not (np.isfinite(outer).all() and are_rotations(outer[None, :, :3])[0]):
        raise ValueError(f"'CameraMatrix' of {path} does not begin with a rotation from scene to camera.")
    if not np.isfinite(inner).all():
        raise ValueError(f"'Intrinsics' of {path} holds numbers that are not finite.")
    return Camera(outer[:, :3], outer[:, 3], inner)


@kept_until_changed(2)
def _genders(path: epath.Path) -> dict[int, Gender | None]:
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: take resource/gender.json from RICH's toolkit.")
    contents = read_json(path, "the gender.json of RICH's toolkit")
    if not isinstance(contents, dict) or not all(subject.isdecimal() for subject in contents):
        raise ValueError(f"{path} is not the gender.json of RICH's toolkit: it lacks genders by the subjects' numbers.")
    genders: dict[int, Gender | None] = {}
    for subject, gender in contents.items():
        if genders.setdefault(int(subject), parse_gender(gender)) != parse_gender(gender):
            raise ValueError(f"{path} gives the subject {int(subject)} two genders.")
    return genders
