"""EMDB (Kaufmann et al., ICCV 2023): people outdoors, SMPL from electromagnetic sensors, a moving camera.

    <manual>/P0 ... P9/<sequence>/{P}_{sequence}_data.pkl
    <manual>/P0 ... P9/<sequence>/images/%05d.jpg                     from 0

World to camera: `camera.extrinsics`. Only the frames of `good_frames_mask` become records.

Shapes: F frames.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.labels.cameras import are_rotations, bodies_in_camera, rotate_root
from data_pipelines.builders.labels.keypoints import OPENPOSE_BODY, SMPL_OF_OPENPOSE, box_of_points
from data_pipelines.builders.labels.label_arrays import Shape, numbers
from data_pipelines.builders.labels.label_files import part_with, read_pickle
from data_pipelines.builders.labels.projection import median_distance, project, with_confidence
from data_pipelines.records import Record
from hmr_jax.body.genders import parse_gender
from hmr_jax.body.labelled import load_labelled_bodies

CONTENTS = "a sequence of EMDB"
NEEDED = ("gender", "good_frames_mask", "camera", "smpl", "kp2d", "bboxes", "emdb1", "emdb2")
PARTS = {
    "camera": ("intrinsics", "extrinsics"), "smpl": ("poses_root", "poses_body", "trans", "betas"),
    "bboxes": ("bboxes", "invalid_idxs"),
}  # fmt: skip
MAX_OFFSET = 5.0  # px between the body's joints and kp2d; 0.00 in the original files


class Emdb(RecordBuilder):
    """EMDB, one configuration for each of its evaluation sets."""

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="emdb1", description="17 sequences for camera-frame pose, 24,117 good frames."),
        tfds.core.BuilderConfig(name="emdb2", description="25 sequences for global motion."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get EMDB from eth-ait.github.io/emdb and unpack it into one folder with P0, P1 ... P9 inside."
    )
    DESCRIPTION = "EMDB: people outdoors with SMPL parameters from electromagnetic sensors."
    HOMEPAGE = "https://eth-ait.github.io/emdb"

    def __init__(self, *, body: str = "", box: Literal["emdb", "joints"] = "emdb", **kwargs: Any):
        """Sets where the body models are, and the kind of boxes.

        Args:
            body: folder with SMPL_MALE, SMPL_FEMALE and SMPL_NEUTRAL, "default", or "": then records have neither
                translation nor 3-D keypoints, and 2-D ones of the body only.
            box: "emdb": the square around EMDB's own box, as in published results; "joints": around its 24 joints,
                enlarged by 1.2, which is about 17 % smaller.
            **kwargs: see `RecordBuilder`.

        Raises:
            ValueError: another box is asked for.
        """
        super().__init__(**kwargs)
        if box not in ("emdb", "joints"):
            raise ValueError(f"box must be 'emdb' or 'joints', not '{box}'.")
        self.body, self.box = body, box

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        files = sorted(manual_dir.glob("P*/*/*_data.pkl"))
        name = self.builder_config.name
        return {"test": [(str(path),) for path in files if _Sequence(path).numbers(name, ()).item()]}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path = epath.Path(block[0])
        sequence = _Sequence(path)
        name, root = path.name.removesuffix("_data.pkl"), sequence.numbers("poses_root", (-1, 3))
        count = len(root)
        pose = np.concatenate([root, sequence.numbers("poses_body", (count, 69))], 1)
        gender = parse_gender(sequence.labels["gender"])
        if gender is None:
            yield from ["gender: not known"] * count
            return
        betas = np.tile(sequence.numbers("betas", (10,), (1, 10)).reshape(10), (count, 1))
        extrinsics, translation = sequence.numbers("extrinsics", (count, 4, 4)), sequence.numbers("trans", (count, 3))
        intrinsics, joints = sequence.numbers("intrinsics", (3, 3)), sequence.numbers("kp2d", (count, 24, 2))
        good = sequence.numbers("good_frames_mask", (count,)) > 0
        boxes, around = sequence.boxes(count) if self.box == "emdb" else None, _boxes_of_joints(joints)
        table = np.concatenate([pose, betas, extrinsics.reshape(count, -1), translation, joints.reshape(count, -1)], 1)
        finite = np.isfinite(table).all(1)
        rigid = finite.copy()
        rigid[finite] = are_rotations(extrinsics[finite, :3, :3])
        pose[~rigid] = betas[~rigid] = translation[~rigid] = joints[~rigid] = 0
        extrinsics[~rigid] = np.eye(4)
        rotation, shift = extrinsics[:, :3, :3], extrinsics[:, :3, 3]

        labels: dict[str, np.ndarray] = {"betas": betas}
        offset = np.zeros(count)
        openpose_body = joints[:, SMPL_OF_OPENPOSE]
        if self.body:
            bodies = load_labelled_bodies(self.body)
            topology = bodies.topology
            labels["pose"], labels["translation"], keypoints = bodies_in_camera(
                bodies, gender, rotation, shift, pose, betas, translation
            )
            labels["keypoints_3d"], labels["keypoints_2d"] = with_confidence(keypoints), project(keypoints, intrinsics)
            offset = median_distance(labels["keypoints_2d"][:, OPENPOSE_BODY], openpose_body)
        else:
            labels["pose"], topology = rotate_root(rotation, pose), "smpl"
            labels["keypoints_2d"] = np.zeros((count, 44, 3))
            labels["keypoints_2d"][:, OPENPOSE_BODY] = with_confidence(openpose_body)

        for frame in range(count):
            own = boxes[frame] if boxes else around[frame]
            if not good[frame]:
                yield "frame: not good"
            elif not finite[frame]:
                yield "labels: not finite"
            elif not rigid[frame]:
                yield "camera: pose is no rotation"
            elif (box := own or around[frame]) is None:
                yield "box: invalid"
            else:
                doubt = "" if own else "box: invalid, so that around the joints is taken"
                yield self.person(
                    path.parent / "images" / f"{frame:05d}.jpg",
                    doubt="kp2d: the body is not there" if offset[frame] > MAX_OFFSET else doubt,
                    key=f"{name}-{frame:05d}",
                    box_center=box[0],
                    box_size=box[1],
                    intrinsics=intrinsics,
                    topology=topology,
                    gender=gender,
                    **{label: values[frame] for label, values in labels.items()},
                )


class _Sequence:
    """The labels of a file."""

    def __init__(self, path: epath.Path):
        self.path, self.labels = path, read_pickle(path, NEEDED, CONTENTS)
        for part, needed in PARTS.items():
            found = part_with(self.labels[part], needed, f"'{part}' of {path} is not that of {CONTENTS}")
            self.labels |= {name: found[name] for name in needed}

    def numbers(self, name: str, *shapes: Shape) -> np.ndarray:
        """A label as float64."""
        return numbers(self.path, name, self.labels[name], *shapes).astype(np.float64)

    def boxes(self, count: int) -> list[tuple[np.ndarray, float] | None]:
        """Centre and side of the file's box of each frame; None where it is invalid or has no extent."""
        boxes, invalid = self.numbers("bboxes", (count, 4)), self.numbers("invalid_idxs", (None,), (None, 1)).ravel()
        if not np.isin(invalid, np.arange(count)).all():
            raise ValueError(f"'invalid_idxs' of {self.path} are not numbers of its {count} frames.")
        valid = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        valid[invalid.astype(int)] = False
        return [
            ((box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())) if good else None
            for box, good in zip(boxes, valid, strict=True)
        ]


def _boxes_of_joints(joints: np.ndarray) -> list[tuple[np.ndarray, float] | None]:
    """Centre and side of the box around the joints (F, 24, 2) of each frame, px."""
    return [box_of_points(with_confidence(points)) for points in joints]
