"""Whether the records of fuzz_labels.py say what the changed label files do, by plain computations of their own.

A check is given the folder of the data set, the key of a record, and the record as TFDS writes it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from formats import human36m, mpi_inf_3dhp, spin_npz
from fuzz_label_kinds import KINDS
from scipy.spatial.transform import Rotation

from data_pipelines.builders.datasets.mpi_inf_3dhp import FROM_28, FROM_TEST_17
from hmr_jax.body.labelled import load_labelled_bodies

FIT = 0.01
"""Radians, betas and metres by which a fit of SMPL to SMPL-X is off at most."""
Check = Callable[[Path, str, dict[str, Any]], None]


def labels_of(kind: str, folder: Path) -> Any:
    """The contents of the file, as far as it is whole."""
    return KINDS[kind].read(folder / KINDS[kind].file)


def floats(values: Any) -> np.ndarray:
    return np.array(values if not isinstance(values, np.ndarray) else values.tolist(), np.float64)


def in_source(record: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """(N, 2) px of the stored image -> px of the original image."""
    left, top, right, _ = record["image"]["source_box"].astype(np.float64)
    return (points + 0.5) * (right - left) / record["image"]["width"] + (left, top) - 0.5


def check_points(record: dict[str, Any], rows: list[int], wanted: np.ndarray) -> None:
    """Keypoints are (N, 2) px, or (N, 3) with confidence, of which points without any are absent."""
    points = record["keypoints_2d"][rows]
    seen = wanted[:, 2] > 0 if wanted.shape[1] == 3 else np.ones(len(wanted), bool)
    np.testing.assert_allclose(in_source(record, points[:, :2])[seen], wanted[seen, :2], atol=0.02, rtol=1e-4)
    assert (points[seen, 2] > 0).all()
    assert not points[~seen].any()


def check_box(record: dict[str, Any], center: Any, size: float) -> None:
    """The box has a centre (2,) and a side, px of the original image, where it is kept without doubt."""
    if record["doubt"]:
        return
    np.testing.assert_allclose(in_source(record, record["box"]["center"][None])[0], center, atol=0.02, rtol=1e-4)
    left, _, right, _ = record["image"]["source_box"]
    np.testing.assert_allclose(record["box"]["size"] * (right - left) / record["image"]["width"], size, rtol=1e-4)


def check_body(
    record: dict[str, Any],
    rotation: np.ndarray,
    shift: np.ndarray | None,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray | None,
    atol: float = 1e-4,
) -> None:
    """The body is one in world axes, seen by a camera; pose (66 or 72,). Float32 does not tell angles of many turns."""
    smpl, count = record["smpl"], len(pose) // 3
    found = np.concatenate([smpl["global_orient"], smpl["body_pose"]])[: 3 * count].reshape(count, 3)
    wanted = Rotation.from_rotvec(pose.reshape(count, 3)).as_matrix()
    wanted[0] = rotation @ wanted[0]
    few = np.linalg.norm(pose.reshape(count, 3), axis=1) < 10
    np.testing.assert_allclose(Rotation.from_rotvec(found).as_matrix()[few], wanted[few], atol=atol)
    np.testing.assert_allclose(smpl["betas"], betas, atol=atol)
    if translation is not None:
        root = load_labelled_bodies("default").root("n", betas[None])[0]
        there = rotation @ (root + translation) + shift - root
        np.testing.assert_allclose(smpl["translation"], there, atol=atol, rtol=1e-4)


def check_focal(record: dict[str, Any], intrinsics: np.ndarray) -> None:
    left, _, right, _ = record["image"]["source_box"]
    found = np.diag(record["camera"]["intrinsics"])[:2] * (right - left) / record["image"]["width"]
    np.testing.assert_allclose(found, np.diag(intrinsics)[:2], rtol=1e-4)


# Kind: the column of 2-D keypoints, the rows of the 44 that it fills, and columns that records hold as they are.
ROWS: dict[str, tuple[str, list[int], dict[str, str]]] = {
    "camerahmr_npz": ("gtkps", list(range(44)), {"cam_t": "translation", "shape": "betas", "pose": "body_pose"}),
    "spin_npz": ("part", list(range(25, 44)), {"shape": "betas", "pose": "body_pose"}),
    "cliff_npz": ("part", list(range(25, 44)), {"global_t": "translation", "shape": "betas", "pose": "body_pose"}),
}


def _row(kind: str) -> Check:
    """Whether a record says what its row of an npz file does."""
    column, places, same = ROWS[kind]

    def check(folder: Path, key: str, record: dict[str, Any]) -> None:
        columns, row = labels_of(kind, folder), int(key.rpartition("-")[2])
        if column in columns:
            wanted = floats(columns[column][row])[: len(places)]
            check_points(record, places, wanted)
            seen = wanted[:, 2] > 0
            np.testing.assert_allclose(record["keypoints_2d"][places][seen, 2], wanted[seen, 2], rtol=1e-5)
        for name, label in same.items():
            if name in columns and record["smpl"][f"has_{label.removeprefix('body_')}"]:
                wanted = floats(columns[name][row]).ravel()
                wanted = wanted[:10] if label == "betas" else wanted[3:] if label == "body_pose" else wanted
                np.testing.assert_allclose(record["smpl"][label], wanted, rtol=1e-5, atol=1e-6)

    return check


def _emdb(folder: Path, key: str, record: dict[str, Any]) -> None:
    labels, frame = labels_of("emdb", folder), int(key[-5:])
    smpl, camera = labels["smpl"], floats(labels["camera"]["extrinsics"])[frame]
    pose = np.concatenate([floats(smpl["poses_root"])[frame], floats(smpl["poses_body"])[frame]])
    betas, translation = floats(smpl["betas"]).reshape(10), floats(smpl["trans"])[frame]
    check_body(record, camera[:3, :3], camera[:3, 3], pose, betas, translation)
    check_focal(record, floats(labels["camera"]["intrinsics"]))
    assert floats(labels["good_frames_mask"])[frame] > 0


def _rich(folder: Path, key: str, record: dict[str, Any]) -> None:
    sequence, subject, frame, number = key.rsplit("-", 3)
    body = KINDS["rich"].read(folder / "bodies" / "test" / sequence / frame / f"{subject}.pkl")
    scene = folder / "scan_calibration" / sequence.split("_")[0]
    xml = KINDS["rich_camera"].read(scene / "calibration" / f"{int(number):03d}.xml")
    outer, inner = floats(xml["CameraMatrix"]).reshape(3, 4), floats(xml["Intrinsics"]).reshape(3, 3)
    face = [name for name in ("expression", "jaw_pose", "leye_pose", "reye_pose") if name in body]
    if not record["doubt"] and not any(floats(body[name]).any() for name in face):
        pose = np.concatenate([floats(body["global_orient"]).ravel(), floats(body["body_pose"]).ravel()])
        betas, translation = floats(body["betas"]).ravel(), floats(body["transl"]).ravel()
        check_body(record, outer[:, :3], outer[:, 3], pose, betas, translation, atol=FIT)
    check_focal(record, inner)


def _rich_eval(folder: Path, key: str, record: dict[str, Any]) -> None:
    labels, row = labels_of("rich_eval_npz", folder), int(key.rpartition("-")[2])
    betas = floats(labels["shape"][row])
    if not record["doubt"] and not betas[10:].any():
        check_body(record, np.eye(3), None, floats(labels["pose_cam"][row])[:66], betas[:10], None, atol=FIT)
    check_box(record, floats(labels["center"][row]), 200 * floats(labels["scale"][row]).max())


def _bedlam(kind: str, atol: float) -> Check:
    def check(folder: Path, key: str, record: dict[str, Any]) -> None:
        labels, row = labels_of(kind, folder), int(key.rpartition("-")[2])
        betas, size = floats(labels["shape"][row]), 66 if kind == "bedlam" else 72
        translation = floats(labels["trans_cam"][row]) + floats(labels["cam_ext"][row])[:3, 3]
        if not betas[10:].any():
            pose = floats(labels["pose_cam"][row])[:size]
            check_body(record, np.eye(3), np.zeros(3), pose, betas[:10], translation, atol)
        check_focal(record, floats(labels["cam_int"][row]))
        check_box(record, floats(labels["center"][row]), 200 * floats(labels["scale"][row]).max())

    return check


def _eft(folder: Path, key: str, record: dict[str, Any]) -> None:
    entry = labels_of("eft", folder)["data"][int(key.rpartition("-")[2])]
    assert key.startswith(str(entry["imageName"]))
    pose = Rotation.from_matrix(floats(entry["parm_pose"]).reshape(24, 3, 3)).as_rotvec().ravel()
    check_body(record, np.eye(3), None, pose, floats(entry["parm_shape"]).ravel(), None)
    check_points(record, list(range(25, 44)), floats(entry["gt_keypoint_2d"]).reshape(49, 3)[25:44])
    check_box(record, floats(entry["bbox_center"]).ravel(), 200 * floats(entry["bbox_scale"]).item())


def _coco(folder: Path, key: str, record: dict[str, Any]) -> None:
    labels, (name, _, number) = labels_of("coco", folder), key.rpartition("-")
    images = {image["id"]: image["file_name"] for image in labels["images"]}
    found = [row for row in labels["annotations"] if not row.get("iscrowd") and str(row.get("id")) == number]
    found = [row for row in found if images.get(row["image_id"]) == name]
    if len(found) == 1:
        left, top, width, height = floats(found[0]["bbox"])
        check_points(record, spin_npz.COCO_OF_44, floats(found[0]["keypoints"]).reshape(17, 3))
        check_box(record, (left + width / 2, top + height / 2), 1.2 * max(width, height))


def _hourglass(folder: Path, key: str, record: dict[str, Any]) -> None:
    labels, row = labels_of("hourglass", folder), int(key.rpartition("-")[2])
    check_points(record, spin_npz.MPII_OF_44, floats(labels["part"][row]))
    check_box(record, floats(labels["center"][row]), 200 * floats(labels["scale"][row]).item())


_PLACES = [(source, 25 + row) for source, row in zip(human36m.H36M_17_OF_32, human36m.GLOBAL, strict=True) if row < 19]


def _human36m(kind: str) -> Check:
    def check(folder: Path, key: str, record: dict[str, Any]) -> None:
        frame, labels = int(key[-6:]) - 1, labels_of(kind, folder)
        sources, rows = (list(part) for part in zip(*_PLACES, strict=True))
        if kind == "human36m_boxes":
            if frame < len(labels["Masks"]) and (mask := floats(labels["Masks"][frame]).T).any():
                sides = [np.flatnonzero(mask.any(axis)) for axis in (0, 1)]
                low, high = np.array([[side[0], side[-1] + 1] for side in sides]).T
                check_box(record, (low + high) / 2, 0.9 * (high - low).max())
            return
        points = floats(labels["Pose"])[frame].reshape(32, -1)[sources]
        if kind == "human36m_2d":
            check_points(record, rows, points)
        else:
            np.testing.assert_allclose(record["keypoints_3d"][rows, :3], points / 1000, rtol=1e-5, atol=1e-6)

    return check


def _3dhp(kind: str) -> Check:
    def check(folder: Path, key: str, record: dict[str, Any]) -> None:
        frame, train, rows = int(key[-6:]), key.startswith("S1"), mpi_inf_3dhp.IN_44
        if kind == "3dhp_camera":
            if train:
                intrinsic = next(line for line in labels_of(kind, folder) if line and line[0] == "intrinsic")
                check_focal(record, floats(intrinsic[1:]).reshape(4, 4)[:2, :2])
        elif train == (kind == "3dhp_train"):
            labels, order = labels_of(kind, folder), FROM_28 if train else FROM_TEST_17
            pixels, space = (labels[name] for name in ("annot2", "annot3" if train else "univ_annot3"))
            pixels, space = (floats(part[0] if train else part)[frame] for part in (pixels, space))
            check_points(record, rows, pixels.reshape(-1, 2)[list(order)])
            wanted = space.reshape(-1, 3)[list(order)] / 1000
            wanted = wanted if train else wanted - wanted[0]
            np.testing.assert_allclose(record["keypoints_3d"][rows, :3], wanted, rtol=1e-5, atol=1e-6)

    return check


CHECKS: dict[str, Check] = {
    **{kind: _row(kind) for kind in ROWS},
    "emdb": _emdb, "rich": _rich, "rich_camera": _rich, "rich_eval_npz": _rich_eval, "eft": _eft, "coco": _coco,
    "hourglass": _hourglass, "bedlam": _bedlam("bedlam", FIT), "bedlam_smpl": _bedlam("bedlam_smpl", 1e-4),
    **{kind: _human36m(kind) for kind in KINDS if kind.startswith("human36m")},
    **{kind: _3dhp(kind) for kind in KINDS if kind.startswith("3dhp")},
}  # fmt: skip
