"""Motions as GLB and BVH: read again by the formats' own rules, they give the same bodies."""

import dataclasses
import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmr_jax.body import load_body_model, skin
from hmr_jax.body.joints import SMPL_24
from hmr_jax.rendering.animation import Animation, Rig, write_animated_glb, write_bvh
from hmr_jax.rendering.export import AXES

FRAMES = 3


@pytest.fixture(scope="module")
def moving():
    """A rig, its motion, and the vertices (T, V, 3) and joints (T, J, 3) of `skin` without pose blendshapes."""
    body = load_body_model()
    rng = np.random.default_rng(0)
    betas = rng.normal(0, 1, body.num_betas)
    rotations, translation = rng.normal(0, 0.5, (FRAMES, 24, 3)), rng.normal(0, 1, (FRAMES, 3)) + np.array([0, 0, 4])
    vertices = np.asarray(body.v_template) + np.asarray(body.shapedirs) @ betas
    rig = Rig(
        vertices, body.faces, np.asarray(body.joint_regressor) @ vertices, body.parents,
        np.asarray(body.skinning_weights), SMPL_24,
    )  # fmt: skip
    linear = dataclasses.replace(body, posedirs=jnp.zeros_like(body.posedirs))
    matrices = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
    posed = skin(linear, jnp.float32(np.tile(betas, (FRAMES, 1))), jnp.float32(matrices), jnp.float32(translation))
    return rig, Animation(np.array([2.0, 2.04, 2.1]), rotations, translation), posed


class Glb:
    """A reader of GLB files after glTF's specification."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.document = json.loads(data[20 : 20 + size])
        length, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0"
        self.bytes = data[28 + size :]
        assert len(self.bytes) == length == self.document["buffers"][0]["byteLength"]

    def array(self, number):
        accessor = self.document["accessors"][number]
        view = self.document["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5121: "u1", 5125: "<u4"}[accessor["componentType"]]
        columns = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
        found = np.frombuffer(self.bytes, kind, accessor["count"] * columns, view["byteOffset"])
        return found.reshape(-1, columns)

    def vertices(self, frame):
        """(V, 3) of the skinned mesh at a key frame."""
        nodes = [dict(node) for node in self.document["nodes"]]
        animation = self.document["animations"][0]
        for channel in animation["channels"]:
            target, sampler = channel["target"], animation["samplers"][channel["sampler"]]
            nodes[target["node"]][target["path"]] = self.array(sampler["output"])[frame]
        whole = {}

        def walk(number, parent):
            node, local = nodes[number], np.eye(4)
            local[:3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
            local[:3, 3] = node.get("translation", [0, 0, 0])
            whole[number] = parent @ local
            for child in node.get("children", []):
                walk(child, whole[number])

        for root in self.document["scenes"][0]["nodes"]:
            walk(root, np.eye(4))
        skin = self.document["skins"][0]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        moved = np.stack([whole[joint] @ matrix for joint, matrix in zip(skin["joints"], inverse, strict=True)])
        attributes = self.document["meshes"][0]["primitives"][0]["attributes"]
        position = self.array(attributes["POSITION"])
        joints, weights = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
        blended = np.einsum("vk,vkij->vij", weights, moved[joints])
        return np.einsum("vij,vj->vi", blended[:, :3, :3], position) + blended[:, :3, 3]


@pytest.mark.parametrize("axes", AXES)
def test_a_skinned_mesh_moves_as_the_body_does(moving, tmp_path, axes):
    rig, motion, posed = moving
    write_animated_glb(tmp_path / "a.glb", rig, motion, axes=axes)
    file = Glb(tmp_path / "a.glb")
    for frame in range(FRAMES):
        np.testing.assert_allclose(file.vertices(frame), posed.vertices[frame] @ AXES[axes].T, atol=1e-5)
    sampler = file.document["animations"][0]["samplers"][0]
    np.testing.assert_allclose(file.array(sampler["input"])[:, 0], [0, 0.04, 0.1], atol=1e-6)
    faces = file.array(file.document["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3)
    np.testing.assert_array_equal(faces, rig.faces)
    assert [node["name"] for node in file.document["nodes"][:24]] == list(SMPL_24)


def test_neighbouring_rotations_have_the_nearer_sign(moving, tmp_path):
    rig, _, _ = moving
    turns = np.zeros((40, 24, 3))
    turns[:, :, 1] = np.linspace(0, 4 * np.pi, 40)[:, None]
    write_animated_glb(tmp_path / "a.glb", rig, Animation(np.arange(40) / 30, turns, np.zeros((40, 3))))
    file = Glb(tmp_path / "a.glb")
    quaternions = file.array(file.document["animations"][0]["samplers"][5]["output"])
    assert ((quaternions[1:] * quaternions[:-1]).sum(1) > 0.9).all()


def read_bvh(path):
    """Names, joints (T, J, 3) in the file's unit and axes, and seconds of a frame, by the rules of BVH."""
    head, _, tail = path.read_text().partition("MOTION\n")
    names, offsets, parents, stack, channels = [], [], [], [], []
    for line in map(str.split, head.splitlines()[1:]):
        if line[0] in ("ROOT", "JOINT", "End"):
            names.append(line[1] if line[0] != "End" else "")
            parents.append(stack[-1] if stack else -1)
        elif line[0] == "{":
            stack.append(len(names) - 1)
        elif line[0] == "}":
            stack.pop()
        elif line[0] == "OFFSET":
            offsets.append([float(part) for part in line[1:]])
        elif line[0] == "CHANNELS":
            channels.append((len(names) - 1, line[2:]))
            assert len(line[2:]) == int(line[1])
    lines = tail.splitlines()
    frames = np.array([[float(part) for part in line.split()] for line in lines[2:]])
    assert lines[0] == f"Frames: {len(frames)}"
    found = np.zeros((len(frames), len(names), 3))
    for frame, row in zip(found, frames, strict=True):
        values, turns, places = iter(row), {}, {}
        for joint, kinds in channels:
            moved, turn = np.array(offsets[joint]), np.eye(3)
            for kind in kinds:
                axis, value = "XYZ".index(kind[0]), next(values)
                if kind.endswith("position"):
                    moved[axis] += value
                else:
                    turn = turn @ Rotation.from_rotvec(np.radians(value) * np.eye(3)[axis]).as_matrix()
            parent = parents[joint]
            places[joint] = moved if parent < 0 else places[parent] + turns[parent] @ moved
            turns[joint] = turn if parent < 0 else turns[parent] @ turn
        for joint, parent in enumerate(parents):
            frame[joint] = places[joint] if joint in places else places[parent] + turns[parent] @ offsets[joint]
    return names, found, float(lines[1].removeprefix("Frame Time: "))


@pytest.mark.parametrize("axes", AXES)
def test_a_skeleton_moves_as_the_body_does(moving, tmp_path, axes):
    rig, motion, posed = moving
    write_bvh(tmp_path / "a.bvh", rig, motion, axes)
    names, joints, step = read_bvh(tmp_path / "a.bvh")
    assert step == pytest.approx(0.05)
    order = [names.index(name) for name in SMPL_24]
    np.testing.assert_allclose(joints[:, order] / 100, posed.joints @ AXES[axes].T, atol=1e-5)


def test_a_motion_of_one_frame_can_be_written(moving, tmp_path):
    rig, motion, posed = moving
    one = Animation(*(array[:1] for array in motion))
    write_animated_glb(tmp_path / "a.glb", rig, one)
    write_bvh(tmp_path / "a.bvh", rig, one)
    np.testing.assert_allclose(Glb(tmp_path / "a.glb").vertices(0), posed.vertices[0] @ AXES["opengl"], atol=1e-5)
    assert read_bvh(tmp_path / "a.bvh")[1].shape[0] == 1
