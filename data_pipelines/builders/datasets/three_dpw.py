"""3DPW (von Marcard et al., ECCV 2018): its own pickles and images, with the people that SPIN, ProHMR and HMR2.0 use.

    <manual>/sequenceFiles/{train,validation,test}/<sequence>.pkl      Python 2 pickles
    <manual>/imageFiles/<sequence>/image_%05d.jpg                      from 0

World to camera: x_camera = R x_world + t from `cam_poses`.

Shapes: F frames.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.labels.cameras import are_rotations, bodies_in_camera, rotate_root
from data_pipelines.builders.labels.keypoints import box_of_points, from_coco_18
from data_pipelines.builders.labels.label_arrays import numbers
from data_pipelines.builders.labels.label_files import read_pickle
from data_pipelines.builders.labels.projection import project, with_confidence
from data_pipelines.records import Record
from hmr_jax.body.genders import parse_gender
from hmr_jax.body.labelled import load_labelled_bodies

SPLITS = ("train", "validation", "test")
TRACKS = ("poses", "betas", "trans", "poses2d", "campose_valid", "genders")
NEEDED = ("poses", "betas", "trans", "poses2d", "cam_poses", "campose_valid", "cam_intrinsics", "genders")


class ThreeDpw(RecordBuilder):
    """3DPW: people outdoors, SMPL from IMUs and a moving camera."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get sequenceFiles.zip and imageFiles.zip from virtualhumans.mpi-inf.mpg.de/3DPW and unpack both into one "
        "folder: it then has sequenceFiles/{train,validation,test} and imageFiles."
    )
    DESCRIPTION = "3DPW: people outdoors with SMPL parameters from IMUs and a moving camera."
    HOMEPAGE = "https://virtualhumans.mpi-inf.mpg.de/3DPW"
    EVALUATED = ("validation", "test")

    def __init__(self, *, body: str = "", **kwargs: Any):
        """Sets where the body models are.

        Args:
            body: folder with SMPL_MALE and SMPL_FEMALE, "default" for labels of the built-in body, or "": then records
                have neither 3-D keypoints nor translation, which need the body.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body = body

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        found: dict[str, list[Block]] = {}
        for split in SPLITS:
            files = sorted((manual_dir / "sequenceFiles" / split).glob("*.pkl"))
            found[split] = [(str(manual_dir), path.name) for path in files]
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        manual_dir, name = epath.Path(block[0]), str(block[1])
        path = manual_dir / "sequenceFiles" / split / name
        sequence = read_pickle(path, NEEDED, "a sequence of 3DPW")
        images = manual_dir / "imageFiles" / path.stem
        if not images.exists():
            raise FileNotFoundError(f"There are no images of {path.name}: {images} is missing.")
        lengths = {
            column: len(sequence[column]) for column in TRACKS if isinstance(sequence[column], list | np.ndarray)
        }
        if len(lengths) < len(TRACKS) or len(set(lengths.values())) > 1:
            raise ValueError(f"{path} does not hold {', '.join(TRACKS)} as lists of as many people.")
        for person in range(lengths["poses"]):
            yield from self._track(path, sequence, person, images)

    def _track(self, path: epath.Path, sequence: dict, person: int, images: epath.Path) -> Iterator[Record | str]:
        """The records of one person of a sequence."""

        def track(column: str, *shape: int) -> np.ndarray:
            return numbers(path, column, sequence[column][person], shape).astype(np.float64)

        name, frames = path.stem, len(numbers(path, "cam_poses", sequence["cam_poses"], (-1, 4, 4)))
        extrinsics = np.array(sequence["cam_poses"], np.float64)
        intrinsics = numbers(path, "cam_intrinsics", sequence["cam_intrinsics"], (3, 3)).astype(np.float64)
        valid, poses2d = track("campose_valid", frames) != 0, track("poses2d", frames, 3, 18)
        gender = parse_gender(sequence["genders"][person])
        if gender is None:
            yield from ["gender: not known"] * len(valid)
            return
        # The files hold 10 or 300 betas; those from 10 on are 0.
        betas = np.tile(track("betas", -10)[:10], (frames, 1))
        pose, translation = track("poses", frames, 72), track("trans", frames, 3)
        finite = np.isfinite(np.concatenate([pose, extrinsics.reshape(frames, -1), betas, translation], 1)).all(1)
        rigid = finite.copy()
        rigid[finite] = are_rotations(extrinsics[finite, :3, :3])
        unused = ~(valid & rigid)
        pose[unused], betas[unused], extrinsics[unused], translation[unused] = 0, 0, np.eye(4), 0
        rotation, shift = extrinsics[:, :3, :3], extrinsics[:, :3, 3]
        labels: dict[str, np.ndarray] = {"betas": betas}
        if self.body:
            bodies = load_labelled_bodies(self.body)
            topology = bodies.topology
            labels["pose"], labels["translation"], keypoints = bodies_in_camera(
                bodies, gender, rotation, shift, pose, betas, translation
            )
            labels["keypoints_3d"] = with_confidence(keypoints)
        else:
            labels["pose"], topology = rotate_root(rotation, pose), "smpl"

        for frame, detected in enumerate(poses2d):
            points = from_coco_18(detected.T)
            box, doubt = box_of_points(points), ""
            if box is None or box[1] < 1:
                doubt = "poses2d: no extent" if box else "poses2d: no point"
                if "keypoints_3d" in labels:
                    box = box_of_points(project(labels["keypoints_3d"][frame, :, :3], intrinsics)) or box
            if not valid[frame]:
                yield "camera: pose not valid"
            elif not finite[frame]:
                yield "smpl: not finite"
            elif not rigid[frame]:
                yield "camera: pose is no rotation"
            elif box is None:
                yield "poses2d: no point"
            else:
                yield self.person(
                    images / f"image_{frame:05d}.jpg",
                    doubt=doubt,
                    key=f"{name}-{person}-{frame:05d}",
                    box_center=box[0],
                    box_size=box[1],
                    keypoints_2d=points,
                    intrinsics=intrinsics,
                    topology=topology,
                    gender=gender,
                    **{label: values[frame] for label, values in labels.items()},
                )
