"""3DPW: Python 2 pickles of sequences in world axes, one image a frame, one camera a sequence."""

from pathlib import Path

import numpy as np

from formats.people import jpeg, people, python2_pickle, to_world, world_cameras

COCO_18_OF_44 = [*range(8), *range(9, 19)]
FRAMES = 3


def write(folder: Path, splits=("train", "validation", "test"), **changes) -> dict[str, dict]:
    """One sequence a split: a still person and a camera that rotates the world around both.

    The second track of each file has no valid camera and no points, as in the original.

    Args:
        folder: The manual folder.
        splits: To write.
        **changes: Keys of the sequence that are replaced, to make bad files.

    Returns:
        Split: the person's truth.
    """
    drawn = people()
    truth = {}
    for number, split in enumerate(splits):
        person = {name: values[number] for name, values in drawn.items()}
        name = f"outdoors_{split}_00"
        path = folder / "sequenceFiles" / split / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(python2_pickle(sequence(person, name, number) | changes))
        images = folder / "imageFiles" / name
        images.mkdir(parents=True, exist_ok=True)
        for frame in range(FRAMES):
            (images / f"image_{frame:05d}.jpg").write_bytes(jpeg(person["image"]))
        truth[split] = person
    return truth


def sequence(person: dict[str, np.ndarray], name: str, seed: int) -> dict:
    """The contents of a pickle."""
    cameras = world_cameras(FRAMES, seed)
    repeated = {key: np.repeat(person[key][None], FRAMES, 0) for key in ("pose", "betas", "translation")}
    pose, translation = to_world(repeated, cameras)
    points = np.repeat(person["keypoints_2d"][COCO_18_OF_44].T[None], FRAMES, 0)  # (F, 3, 18)
    long = np.concatenate([person["betas"].astype(np.float64), np.zeros(290)])
    return {
        "sequence": name,
        "poses": [pose, np.zeros((FRAMES, 72))],
        "betas": [long, np.zeros(10)],
        "trans": [translation, np.zeros((FRAMES, 3))],
        "poses_60Hz": [pose.repeat(2, 0)],
        "trans_60Hz": [translation.repeat(2, 0)],
        "img_frame_ids": np.arange(FRAMES) * 2,
        "genders": ["m", "f"],
        "poses2d": [points, np.zeros_like(points)],
        "jointPositions": [np.zeros((FRAMES, 72))],
        "cam_poses": cameras,
        "campose_valid": [np.ones(FRAMES, np.int8), np.zeros(FRAMES, np.int8)],
        "cam_intrinsics": person["intrinsics"],
        "texture_maps": [np.zeros((2, 2, 3), np.uint8)],
    }
