"""Motions as files of animation tools: skinned, animated GLB (glTF 2.0) and BVH.

Both hold a skeleton and its joints' rotations over time: glTF in metres, BVH in centimetres. Tools blend a skinned mesh
linearly, so the body's pose blendshapes are lost.

Shapes: V vertices, F faces, J joints, T frames.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.io import atomic
from hmr_jax.rendering.export import AXES, Axes
from hmr_jax.rendering.rasterize import vertex_normals

_FLOAT, _BYTE, _UINT = 5126, 5121, 5125  # glTF's names of types
_VERTEX_DATA, _INDICES = 34962, 34963  # and of what a buffer view is for
_MOST = 4  # joints that move a vertex in glTF


class Rig(NamedTuple):
    """A body in its rest pose, metres, and what moves it."""

    vertices: np.ndarray
    """(V, 3)."""
    faces: np.ndarray
    """(F, 3)."""
    joints: np.ndarray
    """(J, 3)."""
    parents: tuple[int, ...]
    """(J,) -1 for the root; parents come before children."""
    weights: np.ndarray
    """(V, J)."""
    names: Sequence[str]
    """(J,)."""


class Animation(NamedTuple):
    """The motion of a rig in camera axes."""

    times: np.ndarray
    """(T,) seconds, increasing."""
    rotations: np.ndarray
    """(T, J, 3) axis-angle, the root's to the camera and each joint's to its parent."""
    translation: np.ndarray
    """(T, 3) metres, as SMPL's: the root joint is at its rest position plus this."""


def write_animated_glb(
    path: Path, rig: Rig, motion: Animation, color: Sequence[float] = (0.6, 0.65, 0.75), axes: Axes = "opengl"
) -> None:
    """Writes `animated_glb`.

    Args:
        path: of the file.
        rig: the body.
        motion: of the body.
        color: RGB in [0, 1].
        axes: of the file; glTF's own are "opengl".
    """
    with atomic.writing(path) as part:
        part.write_bytes(animated_glb(rig, motion, color, axes))


def animated_glb(
    rig: Rig, motion: Animation, color: Sequence[float] = (0.6, 0.65, 0.75), axes: Axes = "opengl"
) -> bytes:
    """A GLB file with a skinned mesh, its skeleton and the motion; for arguments see `write_animated_glb`."""
    buffers = _Buffers()
    joints, weights = _strongest(rig.weights)
    bind = np.tile(np.eye(4, dtype=np.float32), (len(rig.joints), 1, 1))
    bind[:, 3, :3] = -rig.joints  # glTF stores matrices by columns
    attributes = {
        "POSITION": buffers.add(rig.vertices.astype(np.float32), "VEC3", _VERTEX_DATA, limits=True),
        "NORMAL": buffers.add(vertex_normals(rig.vertices, rig.faces), "VEC3", _VERTEX_DATA),
        "JOINTS_0": buffers.add(joints.astype(np.uint8), "VEC4", _VERTEX_DATA),
        "WEIGHTS_0": buffers.add(weights.astype(np.float32), "VEC4", _VERTEX_DATA),
    }
    indices = buffers.add(rig.faces.astype(np.uint32).ravel(), "SCALAR", _INDICES)
    matrices = buffers.add(bind.reshape(-1, 16), "MAT4")
    times = buffers.add((motion.times - motion.times[0]).astype(np.float32), "SCALAR", limits=True)

    quaternions = (
        Rotation.from_rotvec(motion.rotations.reshape(-1, 3)).as_quat().reshape(*motion.rotations.shape[:2], 4)
    )
    moved = (rig.joints[0] + motion.translation).astype(np.float32)
    samplers = [{"input": times, "output": buffers.add(moved, "VEC3"), "interpolation": "LINEAR"}]
    channels: list[dict[str, Any]] = [{"sampler": 0, "target": {"node": 0, "path": "translation"}}]
    nodes: list[dict[str, Any]] = []
    for joint, parent in enumerate(rig.parents):
        offset = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0)
        node: dict[str, Any] = {"name": rig.names[joint], "translation": offset.astype(float).tolist()}
        children = [child for child, one in enumerate(rig.parents) if one == joint]
        nodes.append(node | ({"children": children} if children else {}))
        turns = continuous(quaternions[:, joint]).astype(np.float32)
        samplers.append({"input": times, "output": buffers.add(turns, "VEC4"), "interpolation": "LINEAR"})
        channels.append({"sampler": joint + 1, "target": {"node": joint, "path": "rotation"}})
    body, armature = len(nodes), len(nodes) + 1
    turn = Rotation.from_matrix(AXES[axes]).as_quat().tolist()
    nodes += [
        {"name": "body", "mesh": 0, "skin": 0},
        {"name": "armature", "rotation": turn, "children": [0]},
    ]
    material = {
        "pbrMetallicRoughness": {
            "baseColorFactor": [*map(float, color), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.8,
        }
    }
    document = {
        "asset": {"version": "2.0", "generator": "hmr_jax"},
        "scene": 0,
        "scenes": [{"nodes": [armature, body]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [material],
        "skins": [{"inverseBindMatrices": matrices, "joints": list(range(len(rig.joints))), "skeleton": 0}],
        "animations": [{"name": "motion", "samplers": samplers, "channels": channels}],
        **buffers.described(),
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    data = buffers.data()
    parts = [
        struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(data)),
        struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(data), b"BIN\0"), data,
    ]  # fmt: skip
    return b"".join(parts)


def write_bvh(path: Path, rig: Rig, motion: Animation, axes: Axes = "opengl") -> None:
    """Writes the skeleton and the motion, in centimetres and degrees (rotations about z, x, y of each joint).

    Frames come at the motion's mean rate, as BVH knows no other.

    Args:
        path: of the file.
        rig: the body, of which the joints are written.
        motion: of the body.
        axes: of the file; most tools expect "opengl" (Y up).
    """
    lines, order = ["HIERARCHY"], []

    def joint(number: int, depth: int) -> None:
        order.append(number)
        space, parent = "  " * depth, rig.parents[number]
        offset = 100 * (rig.joints[number] - rig.joints[parent]) if parent >= 0 else np.zeros(3)
        place = "" if parent >= 0 else "Xposition Yposition Zposition "
        lines.append(f"{space}{'JOINT' if parent >= 0 else 'ROOT'} {rig.names[number]}")
        lines.append(f"{space}{{")
        lines.append(f"{space}  OFFSET {' '.join(f'{value:.6f}' for value in offset)}")
        lines.append(f"{space}  CHANNELS {3 if parent >= 0 else 6} {place}Zrotation Xrotation Yrotation")
        children = [child for child, one in enumerate(rig.parents) if one == number]
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.extend([f"{space}  End Site", f"{space}  {{", f"{space}    OFFSET 0 0 0", f"{space}  }}"])
        lines.append(f"{space}}}")

    joint(0, 0)
    count = len(motion.times)
    turns = Rotation.from_rotvec(motion.rotations.reshape(-1, 3)).as_matrix().reshape(count, -1, 3, 3)
    turns[:, 0] = AXES[axes] @ turns[:, 0]
    places = 100 * (rig.joints[0] + motion.translation) @ AXES[axes].T
    angles = Rotation.from_matrix(turns[:, order].reshape(-1, 3, 3)).as_euler("ZXY", degrees=True).reshape(count, -1)
    step = float(np.diff(motion.times).mean()) if count > 1 else 1 / 30
    lines += ["MOTION", f"Frames: {count}", f"Frame Time: {step:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in np.concatenate([places, angles], 1)]
    atomic.write_text(path, "\n".join(lines) + "\n")


class _Buffers:
    """The binary part of a GLB file, and what is where in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, kind: str, target: int | None = None, limits: bool = False) -> int:
        """Adds an array (n, ...), and returns the number of its accessor."""
        data = np.ascontiguousarray(array).tobytes()
        view = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        self._views.append(view | ({} if target is None else {"target": target}))
        data += b"\0" * (-len(data) % 4)
        self._parts.append(data)
        self._size += len(data)
        types = {np.dtype(np.float32): _FLOAT, np.dtype(np.uint8): _BYTE, np.dtype(np.uint32): _UINT}
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1, "componentType": types[array.dtype], "count": len(array), "type": kind,
        }  # fmt: skip
        if limits:
            rows = array.reshape(len(array), -1)
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def described(self) -> dict[str, Any]:
        """Their part of the document."""
        return {"buffers": [{"byteLength": self._size}], "bufferViews": self._views, "accessors": self._accessors}

    def data(self) -> bytes:
        return b"".join(self._parts)


def _strongest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and weights, both (V, 4), of the joints that move each vertex most; weights sum to 1."""
    joints = np.argsort(-weights, 1, kind="stable")[:, :_MOST]
    chosen = np.take_along_axis(np.asarray(weights, np.float64), joints, 1)
    chosen = (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)
    return np.where(chosen > 0, joints, 0), chosen


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """Quaternions (T, 4) with signs by which neighbours are near: tools interpolate the shorter way."""
    signs = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return quaternions * np.concatenate([[1.0], np.cumprod(signs)])[:, None]
