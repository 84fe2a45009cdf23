"""EFT's pseudo labels (Joo et al., 3DV 2021): json files of SMPL fits to COCO, MPII and others.

Each entry of "data": parm_pose (24, 3, 3), parm_shape (10,), parm_cam (3,) weak perspective s, tx, ty of the crop,
bbox_scale in units of 200 px, bbox_center (2,) px, gt_keypoint_2d (49, 3) px and confidence in SPIN's order, imageName.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath
from scipy.spatial.transform import Rotation

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.npz_rows import row_blocks
from data_pipelines.builders.labels.cameras import are_rotations
from data_pipelines.builders.labels.keypoints import clip_confidence, from_spin_24
from data_pipelines.builders.labels.label_arrays import Shape, numbers
from data_pipelines.builders.labels.label_files import part_with, read_json
from data_pipelines.builders.labels.source_images import ImageFinder
from data_pipelines.records import MAX_OFFSET, Record
from data_pipelines.records.storage import kept_until_changed
from hmr_jax.body.labelled import load_labelled_bodies

SHAPES: dict[str, tuple[Shape, ...]] = {
    "parm_pose": ((24, 3, 3), (1, 24, 3, 3)), "parm_shape": ((10,), (1, 10)), "parm_cam": ((3,), (1, 3)),
    "bbox_scale": ((), (1,)), "bbox_center": ((2,), (1, 2)), "gt_keypoint_2d": ((49, 3), (1, 49, 3)),
}  # fmt: skip
"""Label: its shapes, of which one may be an array of one."""
CONTENTS = "a json file of EFT with a list 'data'"


def eft_blocks(path: epath.Path) -> list[Block]:
    """The blocks of a file."""
    return row_blocks(path, len(load_eft(path)))


@kept_until_changed(1)
def load_eft(path: epath.Path) -> list[dict[str, Any]]:
    """The entries of a file, read once for each process.

    Raises:
        ValueError: it is not EFT's json.
    """
    entries = part_with(read_json(path, CONTENTS), ("data",), f"{path} is not {CONTENTS}")["data"]
    if not isinstance(entries, list):
        raise ValueError(f"{path} is not a json file of EFT: 'data' is no list.")
    return entries


def eft_rows(builder: RecordBuilder, block: Block, find_image: ImageFinder) -> Iterator[Record | str]:
    """The records of a block; where the builder has a body, fits that miss their keypoints are dropped."""
    path, start = epath.Path(block[0]), int(block[1])
    for number, entry in enumerate(load_eft(path)[start : int(block[2])], start):
        try:
            part_with(entry, (*SHAPES, "imageName"), "an entry")
            labels = {
                name: numbers(path, name, entry[name], *shapes).astype(np.float64) for name, shapes in SHAPES.items()
            }
        except ValueError:
            yield "labels: missing, or of another shape"
            continue
        labels = {name: values.reshape(values.shape[-len(SHAPES[name][0]) :]) for name, values in labels.items()}
        labels["gt_keypoint_2d"] = clip_confidence(labels["gt_keypoint_2d"])
        size, name = 200 * labels["bbox_scale"].item(), str(entry["imageName"])
        if not all(np.isfinite(values).all() for values in labels.values()):
            yield "labels: not finite"
            continue
        spin = labels["gt_keypoint_2d"]
        points = from_spin_24(spin[25:], spin[:25])
        pose = labels["parm_pose"]
        if not are_rotations(pose, 0.01).all():
            yield "smpl: not rotations"
            continue
        vectors = Rotation.from_matrix(pose).as_rotvec().reshape(72)
        topology = "smpl"
        if builder.body:
            bodies = load_labelled_bodies(builder.body)
            topology = bodies.topology
            keypoints = bodies.keypoints("n", vectors[None], labels["parm_shape"][None])[0]
            scale, shift = labels["parm_cam"][0], labels["parm_cam"][1:]
            projected = labels["bbox_center"] + scale * (keypoints[:, :2] + shift) * size / 2
            offset = np.linalg.norm(projected - points[:, :2], axis=1)[points[:, 2] > 0]
            if len(offset) and np.median(offset) > MAX_OFFSET * size:
                yield "fit: does not project onto the 2-D keypoints"
                continue
        yield builder.person(
            find_image(name),
            key=f"{name}-{number}",
            box_center=labels["bbox_center"],
            box_size=size,
            keypoints_2d=points,
            pose=vectors,
            betas=labels["parm_shape"],
            topology=topology,
        )
