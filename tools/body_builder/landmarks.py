"""The 21 vertices of `joints.LANDMARKS_21`, found on the MakeHuman skin by bone and direction.

Shapes: B skin vertices, V vertices of the decimated mesh.
"""

import numpy as np

from hmr_jax.body.joints import LANDMARKS_21
from tools.body_builder.makehuman import MakeHuman


def landmark_skin_vertices(human: MakeHuman, points: np.ndarray, rest: np.ndarray) -> dict[str, int]:
    """Name -> skin vertex of the nose and the left-hand landmarks.

    Args:
        human: the base mesh.
        points: (N, 3) points of one person in MakeHuman's pose.
        rest: (B, 3) the skin of the same person in the rest pose.
    """
    names = list(human.bone_weights)
    bone = np.full(len(human.points), -1)
    best = np.zeros(len(human.points))
    for i, name in enumerate(names):
        ids, weights = human.bone_weights[name][:, 0].astype(int), human.bone_weights[name][:, 1]
        better = weights > best[ids]
        bone[ids[better]], best[ids[better]] = i, weights[better]
    bone = bone[human.skin]

    def furthest(direction: tuple[float, float, float], *beginnings: str) -> int:
        """Furthest skin vertex of the bones with these beginnings."""
        chosen = [i for i, name in enumerate(names) if name.startswith(beginnings) and not name.endswith(".R")]
        ids = np.flatnonzero(np.isin(bone, chosen))
        return int(ids[np.argmax(rest[ids] @ np.array(direction))])

    eyeball = points[human.groups["helper-l-eye"]]
    pupil = eyeball[eyeball[:, 2].argmax()]
    skin = points[human.skin]
    head = skin[:, 1] > human.cube(points, "head")[1]
    middle = np.flatnonzero((human.skin_mirror == np.arange(len(skin))) & head)
    ear = np.flatnonzero(head & (np.abs(skin[:, 1] - pupil[1]) < 0.03))
    found = {
        "nose": int(middle[skin[middle, 2].argmax()]),
        "left_eye": int(np.linalg.norm(skin - pupil, axis=1).argmin()),
        "left_ear": int(ear[skin[ear, 0].argmax()]),
        "left_big_toe": furthest((0, 0, 1), "toe1"),
        "left_small_toe": furthest((0.5, 0, 1), "toe5"),
        "left_heel": furthest((0, -0.5, -1), "foot"),
    }
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "little"), start=1):
        direction = (0.7, 0, 0.7) if name == "thumb" else (1, 0, 0)
        found[f"left_{name}_tip"] = furthest(direction, f"finger{finger}-3")
    return found


def landmark_vertices(on_skin: dict[str, int], rest: np.ndarray, vertices: np.ndarray, mirror: np.ndarray):
    """(21,) vertices of the decimated mesh (V, 3) nearest to the skin's landmarks; right ones are mirror images."""
    found = []
    for name in LANDMARKS_21:
        target = rest[on_skin[name.replace("right_", "left_")]]
        distance = np.linalg.norm(vertices - target, axis=1)
        if name == "nose":
            distance[mirror != np.arange(len(mirror))] = np.inf
        vertex = distance.argmin()
        found.append(mirror[vertex] if name.startswith("right_") else vertex)
    return np.array(found)
