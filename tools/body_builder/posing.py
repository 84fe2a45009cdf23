"""Bring a MakeHuman person into SMPL's rest pose: T-pose, relaxed hands, pelvis at the origin; and name its joints.

Shapes: N points of the base mesh, B skin vertices, J 24 SMPL joints.
"""

import numpy as np
import scipy.sparse as sp
from scipy.spatial.transform import Rotation

from hmr_jax.body.joints import SMPL_24, SMPL_24_FLIP, SMPL_PARENTS
from tools.body_builder.makehuman import MIRROR_X, MakeHuman

# MakeHuman bone (up to the first dot, by its beginning) -> left-hand SMPL joint; the nearest named ancestor counts.
LIMB_BONES = {
    "upperleg": "left_hip", "lowerleg": "left_knee", "foot": "left_ankle", "toe": "left_foot",
    "clavicle": "left_collar", "shoulder01": "left_collar", "upperarm": "left_shoulder", "lowerarm": "left_elbow",
    "wrist": "left_wrist", "metacarpal": "left_wrist", "finger": "left_hand",
}  # fmt: skip
TRUNK_BONES = {
    "root": "pelvis", "pelvis": "pelvis", "spine05": "pelvis", "spine04": "spine1", "spine03": "spine2",
    "spine02": "spine3", "spine01": "spine3", "breast": "spine3", "neck01": "neck", "neck02": "neck",
    "neck03": "head", "head": "head",
}  # fmt: skip
WEIGHT_SMOOTHING_STEPS = 6
INDEX = {name: i for i, name in enumerate(SMPL_24)}


def collapse_weights(human: MakeHuman) -> np.ndarray:
    """(B, J) weights of MakeHuman's 163 bones summed per SMPL joint and smoothed over the mesh."""
    weights = np.zeros((len(human.points), len(SMPL_24)))
    for bone, rows in human.bone_weights.items():
        np.add.at(weights[:, _joint_of(human, bone)], rows[:, 0].astype(int), rows[:, 1])
    weights = weights[human.skin]
    weights /= weights.sum(1, keepdims=True)
    edges = human.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    adjacency = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(weights),) * 2).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    average = sp.diags(1 / adjacency.sum(1).A1) @ adjacency
    for _ in range(WEIGHT_SMOOTHING_STEPS):
        weights = (weights + average @ weights) / 2
    return (weights + weights[human.skin_mirror][:, SMPL_24_FLIP]) / 2  # the file's own are rounded


def _joint_of(human: MakeHuman, bone: str) -> int:
    while bone:
        stem, _, side = bone.partition(".")
        if stem in TRUNK_BONES:
            return INDEX[TRUNK_BONES[stem]]
        for beginning, name in LIMB_BONES.items():
            if stem.startswith(beginning):
                return INDEX[name if side == "L" else name.replace("left", "right")]
        bone = human.bone_parents[bone]
    return INDEX["pelvis"]


def smpl_joints(human: MakeHuman, points: np.ndarray) -> np.ndarray:
    """(J, 3) SMPL's joints in the pose of `points`, mixed from MakeHuman's joint cubes."""
    cube = lambda *names: np.mean([human.cube(points, name) for name in names], axis=0)  # noqa: E731
    left = {
        "left_hip": cube("l-upper-leg"),
        "left_knee": cube("l-knee"),
        "left_ankle": cube("l-ankle"),
        "left_foot": cube(*(f"l-toe-{i}-1" for i in range(1, 6))),
        "left_collar": 0.4 * cube("l-clavicle") + 0.6 * cube("l-scapula"),
        "left_shoulder": cube("l-shoulder"),
        "left_elbow": cube("l-elbow"),
        "left_wrist": cube("l-hand"),
        "left_hand": cube(*(f"l-finger-{i}-1" for i in range(2, 6))),
    }
    right = {name.replace("left", "right"): point * MIRROR_X for name, point in left.items()}
    hips = (left["left_hip"] + right["right_hip"]) / 2
    pelvis = 0.35 * hips + 0.65 * cube("pelvis")
    pelvis[1] = (hips[1] + cube("spine-4")[1]) / 2
    trunk = {
        "pelvis": pelvis,
        "spine1": 0.3 * cube("spine-4") + 0.7 * cube("spine-3"),
        "spine2": 0.55 * cube("spine-3") + 0.45 * cube("spine-2"),
        "spine3": 0.75 * cube("spine-2") + 0.25 * cube("spine-1"),
        "neck": cube("neck"),
        "head": cube("head"),
    }
    named = left | right | trunk
    return np.array([named[name] for name in SMPL_24])


def relax_fingers(human: MakeHuman, points: np.ndarray) -> np.ndarray:
    """(N, 3) points with the clawed, spread fingers of the base mesh nearly straight and close together."""
    moved = points.copy()
    knuckles = [human.cube(points, f"l-finger-{i}-1") for i in range(1, 6)]
    forward = _unit(np.mean(knuckles[1:], axis=0) - human.cube(points, "l-hand"))
    across = knuckles[1] - knuckles[4]  # from the little finger to the index
    across = _unit(across - (across @ forward) * forward)
    palm = np.cross(forward, across)  # out of the palm of a left hand
    for finger in range(1, 6):
        joints = np.array([human.cube(points, f"l-finger-{finger}-{k}") for k in range(1, 5)])
        head, turn = joints[0], np.eye(3)
        for k in range(3):
            along, sideways, bend = _FINGER_POSE[finger][k]
            target = along * forward + sideways * across + bend * palm
            bone = joints[k + 1] - joints[k]
            turn = _rotation_between(turn @ bone, target) @ turn
            ids, weights = _rows(human, f"finger{finger}-{k + 1}.L")
            moved[ids] += weights[:, None] * ((points[ids] - joints[k]) @ turn.T + head - points[ids])
            head = head + turn @ bone
    left = points[:, 0] > 0
    moved[human.mirror[left]] = moved[left] * MIRROR_X
    return moved


# Direction of each of the three bones of a finger (1 = thumb) in the hand's axes: along, towards the index, palm side.
_FINGER_POSE = {
    1: ((0.75, 0.60, 0.35), (0.90, 0.35, 0.28), (0.97, 0.15, 0.20)),
    2: ((0.98, 0.09, 0.08), (0.96, 0.05, 0.24), (0.93, 0.02, 0.36)),
    3: ((0.98, 0.01, 0.10), (0.95, 0.00, 0.28), (0.92, 0.00, 0.40)),
    4: ((0.98, -0.07, 0.11), (0.95, -0.05, 0.30), (0.91, -0.03, 0.42)),
    5: ((0.97, -0.16, 0.12), (0.95, -0.12, 0.30), (0.92, -0.08, 0.40)),
}


def to_rest_pose(
    human: MakeHuman, points: np.ndarray, joints: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Skin vertices (B, 3) and joints (J, 3) of one person in the T-pose, pelvis at the origin."""
    turns = rest_turns(joints)
    posed = np.zeros_like(joints)
    for j, parent in enumerate(SMPL_PARENTS):
        posed[j] = 0 if parent < 0 else posed[parent] + turns[parent] @ (joints[j] - joints[parent])
    skin = points[human.skin]
    offset = posed - np.einsum("jab,jb->ja", turns, joints)
    vertices = np.einsum("bj,jac,bc->ba", weights, turns, skin, optimize=True) + weights @ offset
    return vertices, posed


def rest_turns(joints: np.ndarray) -> np.ndarray:
    """(J, 3, 3) world rotation of each joint that brings the A pose into the T-pose."""
    turns = np.tile(np.eye(3), (len(SMPL_24), 1, 1))
    bone = lambda a, b: joints[INDEX[f"left_{b}"]] - joints[INDEX[f"left_{a}"]]  # noqa: E731
    aims = {
        "hip": (bone("hip", "knee"), (0.10, -1.0, 0.0)),
        "knee": (bone("knee", "ankle"), (0.05, -1.0, -0.06)),
        "shoulder": (bone("shoulder", "elbow"), (1.0, 0.0, -0.05)),
        "elbow": (bone("elbow", "wrist"), (1.0, 0.0, 0.08)),
        "wrist": (bone("wrist", "hand"), (1.0, -0.05, 0.10)),
    }
    before = {"hip": None, "knee": "hip", "shoulder": None, "elbow": "shoulder", "wrist": "elbow"}
    left: dict[str | None, np.ndarray] = {None: np.eye(3)}
    for name, (direction, target) in aims.items():
        start = left[before[name]]
        left[name] = _rotation_between(start @ direction, np.array(target)) @ start
    # The shoulder girdle takes a quarter of the lift of the arm; the feet keep their direction.
    left["collar"] = Rotation.from_rotvec(0.25 * Rotation.from_matrix(left["shoulder"]).as_rotvec()).as_matrix()
    left["hand"] = left["wrist"]
    flip = np.diag(MIRROR_X)
    for name, turn in left.items():
        if name:
            turns[INDEX[f"left_{name}"]] = turn
            turns[INDEX[f"right_{name}"]] = flip @ turn @ flip
    return turns


def _rows(human: MakeHuman, bone: str) -> tuple[np.ndarray, np.ndarray]:
    rows = human.bone_weights[bone]
    return rows[:, 0].astype(int), rows[:, 1]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Smallest rotation (3, 3) that turns one direction into another."""
    source, target = _unit(source), _unit(target)
    axis = np.cross(source, target)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + cross + cross @ cross / (1 + source @ target)
