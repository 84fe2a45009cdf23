"""Synthetic people with exact labels: a pure function of (seed, index).

Pose, shape, clothes, light, camera and scene come from the other modules of this package and are put together here.
NumPy makes the parameters of a block of examples; compiled code then draws its images, a few in each thread. NumPy
holds the interpreter lock, so the blocks are made one after the other, while threads draw the block before.

Shapes: B examples, V vertices, F faces, S side of the image.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic import kernels, lens
from data_pipelines.synthetic.appearance import body_plan, sample_looks
from data_pipelines.synthetic.cameras import frame, sample_views, translations
from data_pipelines.synthetic.paint_person import paint_person
from data_pipelines.synthetic.paint_scene import paint_background, paint_shapes
from data_pipelines.synthetic.poses import PosePrior
from data_pipelines.synthetic.scenes import add_sensor, sample_scenes, transmit
from hmr_jax.body import BodyModel, load_body_model
from hmr_jax.body.joints import OPENPOSE_25_FROM_45
from hmr_jax.body.kinematics import forward_kinematics_numpy
from hmr_jax.config import AugmentConfig
from hmr_jax.geometry.upright import rotation_z, tilt
from hmr_jax.io.cache import keeps_compiled
from hmr_jax.rendering.rasterize import rasterize_into

BLOCK = 32  # examples computed together; always this many, so that rounding does not depend on the batch
PIECE = 4  # examples that a thread draws at a time
STILL = AugmentConfig(
    scale=0, rotation=0, rotation_probability=0, shift=0, flip_probability=0, color=0, extreme_crop_probability=0
)  # no augmentation


class SyntheticPeople:
    """Draws people with their labels.

    Example i is the same in every batch and with any number of threads.
    """

    def __init__(
        self,
        body: BodyModel | None = None,
        size: int = 256,
        seed: int = 0,
        margin: float = 1.0,
        augment: AugmentConfig = STILL,
        workers: int = 0,
    ):
        """Prepares the body.

        Args:
            body: with landmarks and the regressor "j19"; None: the built-in one.
            size: side of the images, pixels.
            seed: of the whole stream of examples.
            margin: side of the image in units of the person's box: 1 for crops, 1.5 or more to leave room for
                augmentation.
            augment: `scale`, `shift`, `rotation`, `upright_probability`, `color`, `extreme_crop_probability` vary how
                the person is framed and photographed. Mirroring is part of the pose prior.
            workers: threads that draw; 0: one per core.

        Raises:
            ValueError: the body lacks landmarks or the regressor "j19".
        """
        body = load_body_model("default") if body is None else body
        if body.landmarks is None or "j19" not in body.regressors:
            raise ValueError("Synthetic people need a body model with landmarks and the regressor 'j19'.")
        self.size, self.seed, self.margin, self.augment = size, seed, margin, augment
        self._body = _Body(body)
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="synthetic")

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Makes the examples with these numbers.

        Returns:
            image (B, S, S, 3) uint8; keypoints_2d (B, 44, 3) pixels and confidence 1; keypoints_3d (B, 44, 4) metres in
            camera axes and confidence 1; pose (B, 24, 3) axis-angle, row 0 the global orientation in camera axes; betas
            (B, 10); translation (B, 3); intrinsics (B, 3, 3); mask (B, S, S) uint8, 1 on the visible person; depth
            (B, S, S) metres, 0 off the person; parts (B, S, S) uint8, 0 or 1 + the joint that owns the surface; visible
            (B, 44) bool; box_center (B, 2) and box_size (B,) of the person in pixels.
        """
        indices, size = np.asarray(indices, np.int64), self.size
        count = len(indices)
        maps: dict[str, np.ndarray] = {
            "image": np.empty((count, size, size, 3), np.uint8),
            "mask": np.empty((count, size, size), np.uint8),
            "depth": np.empty((count, size, size), np.float32),
            "parts": np.empty((count, size, size), np.uint8),
            "visible": np.empty((count, 44), bool),
        }
        labels, drawings = [], []
        for start in range(0, count, BLOCK):
            wanted = indices[start : start + BLOCK]
            arguments, label = self._plan(wanted)
            labels.append(label)
            out = {name: array[start : start + BLOCK] for name, array in maps.items()}
            for first in range(0, len(wanted), PIECE):
                last = min(first + PIECE, len(wanted))
                drawings.append(self._pool.submit(_draw_and_transmit, first, last, arguments, out))
        for drawing in drawings:
            drawing.result()
        return maps | {name: np.concatenate([label[name] for label in labels]) for name in labels[0]}

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _plan(self, wanted: np.ndarray) -> tuple[tuple, dict[str, np.ndarray]]:
        """The inputs of `_draw`, and the labels that are known before drawing."""
        indices = np.pad(wanted, (0, BLOCK - len(wanted)), mode="edge")
        body = self._body

        def draws(stream: str) -> Draws:
            return Draws(self.seed, indices, stream)

        posing, filming, staging = draws("pose"), draws("camera"), draws("scene")
        poses = body.prior.sample(posing)
        betas = posing.normal(shape=(body.num_betas,)).astype(np.float32)
        view = sample_views(filming, self.augment)
        pose = poses.pose.copy()
        pose[:, 0] = kernels.rotation_vectors(view.rotation @ Rotation.from_rotvec(poses.pose[:, 0]).as_matrix())
        pose = pose.astype(np.float32)

        vertices, joints = body.skin(betas, pose)
        turn = _upright_turn(draws("upright"), joints, self.augment)
        if turn is not None:  # the camera is turned about its axis
            view.rotation, vertices, joints = turn @ view.rotation, vertices @ turn.mT, joints @ turn.mT
            pose[:, 0] = kernels.rotation_vectors(turn @ Rotation.from_rotvec(pose[:, 0]).as_matrix())
        translation = translations(view, vertices).astype(np.float32)
        vertices += translation[:, None]
        joints = joints + translation[:, None]
        keypoints = body.keypoints(vertices, joints)
        framed = frame(filming, vertices, keypoints, self.size, self.margin, self.augment)

        up = np.ascontiguousarray(view.rotation[:, :, 1])
        floor = np.empty(BLOCK, np.float32)
        kernels.lowest(vertices, up.astype(np.float32), floor)
        looks = sample_looks(draws("appearance"), body.plan)
        box = np.concatenate([framed.box_center, framed.box_size[:, None]], 1) / self.size
        scenes = sample_scenes(staging, up, floor, joints[:, 0], looks["cloth"][:, 0, 0], box)
        add_sensor(draws("sensor"), scenes, self.augment.color)

        count = len(wanted)
        pixels = np.einsum("bij,bkj->bki", framed.intrinsics, keypoints / keypoints[..., 2:])[..., :2]
        arguments = (
            vertices, body.painted, body.faces, body.owners, framed.intrinsics, scenes, looks, body.plan, pixels,
            keypoints, body.tolerance,
        )  # fmt: skip
        one = np.ones((count, 44, 1), np.float32)
        return arguments, {
            "keypoints_2d": np.concatenate([pixels[:count], one], -1).astype(np.float32),
            "keypoints_3d": np.concatenate([keypoints[:count], one], -1).astype(np.float32),
            "pose": pose[:count],
            "betas": betas[:count],
            "translation": translation[:count],
            "intrinsics": framed.intrinsics[:count],
            "box_center": framed.box_center[:count],
            "box_size": framed.box_size[:count],
        }


def _upright_turn(draws: Draws, joints: np.ndarray, augment: AugmentConfig) -> np.ndarray | None:
    """(B, 3, 3) float32 rotations about the camera's axis, of which some make people's trunks upright; None: all 1."""
    if not augment.upright_probability:
        return None
    upright = draws.happens(augment.upright_probability)
    jitter = augment.rotation * draws.normal(clip=2) * draws.happens(augment.rotation_probability)
    angle = np.where(upright, jitter - tilt(joints[:, _HIPS], joints[:, _SHOULDERS]), 0.0)
    return rotation_z(angle).astype(np.float32)


_HIPS, _SHOULDERS = (1, 2), (16, 17)  # of SMPL


class _Body:
    """A body model in the layout that the computation of blocks needs."""

    def __init__(self, body: BodyModel):
        count, self.num_betas = body.num_vertices, body.num_betas
        self.template = np.ascontiguousarray(body.v_template, np.float32)
        self.faces = np.ascontiguousarray(body.faces, np.int32)
        self._parents = body.parents
        bases = [np.asarray(basis).reshape(3 * count, -1) for basis in (body.shapedirs, body.posedirs)]
        self._basis = np.ascontiguousarray(np.concatenate(bases, 1), np.float32)
        regressor = np.asarray(body.joint_regressor, np.float32)
        self._joints = regressor @ self.template
        self._joint_shapes = np.einsum("jv,vcs->jcs", regressor, np.asarray(body.shapedirs, np.float32))
        weights = np.asarray(body.skinning_weights, np.float32)
        used = max(1, int(np.max((weights > 0).sum(1))))
        self._joint = np.argsort(-weights, 1, kind="stable")[:, :used].astype(np.int32)
        self._weight = np.take_along_axis(weights, self._joint, 1)
        self.owners = weights.argmax(1).astype(np.uint8)
        self._landmarks = np.asarray(body.landmarks)
        j19 = np.asarray(body.regressors["j19"], np.float32)
        rows, columns = np.nonzero(j19)
        self._j19 = rows, columns, j19[rows, columns]
        self.prior = PosePrior(self._joints.astype(float), body.parents)
        self.painted = self.template - self._joints[0]  # relative to the pelvis, which is not every model's origin
        self.plan = body_plan(self.painted, self._joints - self._joints[0], self._landmarks)[()]
        rest = self.keypoints(self.template[None], self._joints[None])[0]
        inside = np.linalg.norm(rest[:, None] - self.template, axis=-1).min(1)
        # A joint lies below the skin that shows it: only what is nearer than that skin can hide it.
        self.tolerance = (0.06 + 1.7 * inside).astype(np.float32)

    def skin(self, betas: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (B, V, 3) and joints (B, 24, 3) of axis-angle poses (B, 24, 3), without translation."""
        count = len(betas)
        rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(count, -1, 3, 3).astype(np.float32)
        feature = (rotations[:, 1:] - np.eye(3, dtype=np.float32)).reshape(count, -1)
        rest = np.empty((count, *self.template.shape), np.float32)
        kernels.combine(
            self.template.ravel(), np.concatenate([betas, feature], 1), self._basis, rest.reshape(count, -1)
        )
        joints = self._joints + np.einsum("jcs,bs->bjc", self._joint_shapes, betas)
        world, posed = forward_kinematics_numpy(self._parents, rotations, joints)
        shift = posed - np.einsum("bjik,bjk->bji", world, joints)
        transforms = np.concatenate([world, shift[..., None]], -1).astype(np.float32)
        vertices = np.empty_like(rest)
        kernels.skin(rest, transforms, self._joint, self._weight, vertices)
        return vertices, posed

    def keypoints(self, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """The 44 keypoints (B, 44, 3) of vertices (B, V, 3) and joints (B, 24, 3)."""
        points = np.concatenate([joints, vertices[:, self._landmarks]], 1)
        others = np.empty((len(vertices), 19, 3), np.float32)
        rows, columns, weights = self._j19
        kernels.regress(rows, columns, weights, vertices, others)
        return np.concatenate([points[:, list(OPENPOSE_25_FROM_45)], others], 1)


def _draw_and_transmit(first: int, last: int, arguments: tuple, out: dict[str, np.ndarray]) -> None:
    _draw(first, last, *arguments, *out.values())
    scenes = arguments[5]
    for i in range(first, last):
        out["image"][i] = transmit(out["image"][i], scenes[i])


@numba.njit(nogil=True, cache=keeps_compiled())
def _draw(first, last, vertices, template, faces, owners, intrinsics, scenes, looks, plan, pixels, keypoints, tolerance,
          images, masks, depths, parts, visible):  # fmt: skip
    """Draws the examples `first` to `last` - 1: images, and the labels that depend on their depth buffers."""
    size, count = images.shape[1], vertices.shape[1]
    scratch = np.empty((3, count, 3), np.float32)
    normals, clothed, points = scratch[0], scratch[1], scratch[2]
    face_index, inverse_depth = np.empty((size, size), np.int32), np.empty((size, size), np.float32)
    shadow = np.empty((max(8, size // 4), max(8, size // 4)), np.float32)
    scratch = np.empty((2, size, 3, size), np.float32)
    image, other = scratch[0], scratch[1]
    hidden = np.empty((size, size), np.uint8)
    for b in range(first, last):
        scene, look = scenes[b], looks[b]
        kernels.vertex_normals(vertices[b], faces, normals)
        kernels.dress(vertices[b], normals, template, look, plan, clothed)
        kernels.vertex_normals(clothed, faces, normals)
        kernels.project(clothed, intrinsics[b], points)
        face_index[:] = -1
        inverse_depth[:] = 0
        rasterize_into(points, faces, face_index, inverse_depth)

        kernels.cast_shadow(clothed, intrinsics[b], scene, size, shadow)
        paint_background(image, intrinsics[b], scene, shadow)
        paint_shapes(image, scene.clutter, scene.seed + 20, hidden)
        unfocused = np.float32(scene.bokeh * size)
        if unfocused >= 1:
            lens.blur(image, unfocused)
        elif unfocused > 0:
            lens.soften(image, unfocused, other)
            image, other = other, image
        paint_person(image, parts[b], points, faces, owners, face_index, normals, template, scene, look, plan)
        hidden[:] = 0
        paint_shapes(image, scene.occluders, scene.seed + 40, hidden)
        soft = np.float32(scene.blur * size)
        if soft >= 1:
            lens.blur(image, soft)
            soft = np.float32(0)
        if scene.motion[0] != 0 or scene.motion[1] != 0:
            lens.smear(image, scene.motion * np.float32(size), other)
            image, other = other, image
        lens.develop(image, soft, scene, images[b])

        for k in range(visible.shape[1]):
            column, row = int(np.floor(pixels[b, k, 0])), int(np.floor(pixels[b, k, 1]))
            visible[b, k] = False
            if 0 <= column < size and 0 <= row < size and keypoints[b, k, 2] > 0:
                behind = inverse_depth[row, column] * (keypoints[b, k, 2] - tolerance[k]) > 1
                visible[b, k] = not (behind or hidden[row, column])
        for row in range(size):
            _label(face_index[row], inverse_depth[row], hidden[row], masks[b, row], depths[b, row], parts[b, row])


@numba.njit(nogil=True, cache=keeps_compiled())
def _label(face, nearness, hidden, mask, depth, part):
    """A row of the dense labels; `part` comes with those of the person, hidden or not."""
    for j in range(face.size):
        seen = (face[j] >= 0) & (hidden[j] == 0)
        mask[j] = seen
        depth[j] = np.float32(1) / max(nearness[j], np.float32(1e-9)) if seen else np.float32(0)
        part[j] = part[j] if seen else 0
