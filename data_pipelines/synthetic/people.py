"""Synthetic people with exact labels: a pure function of (seed, index).

Pose, shape, clothes, light, camera and scene come from the other modules of this package; here they are put together:
parameters for a block of examples with NumPy, then one image at a time in compiled code, blocks spread over threads.

Letters: B examples, V vertices, F faces, S side of the image.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.synthetic import kernels, paint
from data_pipelines.synthetic.appearance import body_plan, sample_looks
from data_pipelines.synthetic.cameras import frame, place, sample_views
from data_pipelines.synthetic.draws import Draws
from data_pipelines.synthetic.poses import PosePrior
from data_pipelines.synthetic.scenes import add_sensor, sample_scenes, transmit
from hmr_jax.body import BodyModel, load_body_model
from hmr_jax.body.joints import OPENPOSE_25_FROM_45
from hmr_jax.config import AugmentConfig
from hmr_jax.rendering.rasterize import rasterize_into
from hmr_jax.rendering.shading import corner_weights

BLOCK = 32  # examples computed together; always this many, so that rounding does not depend on the request
STILL = AugmentConfig(0, 0, 0, 0, 0, 0, 0)  # no augmentation


class SyntheticPeople:
    """Draws people with their labels.

    The image of example i is the same whichever batch it is asked for in, and whatever the number of threads.
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
            augment: `scale`, `shift`, `rotation`, `color` and `extreme_crop_probability` vary how the person is framed
                and photographed. Mirroring is part of the pose prior.
            workers: threads; 0: one per core.

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
        indices = np.asarray(indices, np.int64)
        blocks = [indices[i : i + BLOCK] for i in range(0, len(indices), BLOCK)]
        parts = list(self._pool.map(self._block, blocks))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _block(self, wanted: np.ndarray) -> dict[str, np.ndarray]:
        indices = np.pad(wanted, (0, BLOCK - len(wanted)), mode="edge")
        body, size = self._body, self.size

        def draws(stream: str) -> Draws:
            return Draws(self.seed, indices, stream)

        posing, filming, staging = draws("pose"), draws("camera"), draws("scene")
        poses = body.prior.sample(posing)
        betas = posing.normal(shape=(body.num_betas,)).astype(np.float32)
        view = sample_views(filming, self.augment)
        turned = view.rotation @ Rotation.from_rotvec(poses.pose[:, 0]).as_matrix()
        pose = poses.pose.copy()
        pose[:, 0] = Rotation.from_matrix(turned).as_rotvec()
        pose = pose.astype(np.float32)

        vertices, joints = body.skin(betas, pose)
        translation = place(view, vertices).astype(np.float32)
        vertices, joints = vertices + translation[:, None], joints + translation[:, None]
        keypoints = body.keypoints(vertices, joints)
        framed = frame(filming, vertices, keypoints, size, self.margin, self.augment)

        up = np.ascontiguousarray(view.rotation[:, :, 1])
        floor = (vertices @ up[..., None].astype(np.float32))[..., 0].min(1)
        looks = sample_looks(draws("appearance"), body.plan)
        box = np.concatenate([framed.box_center, framed.box_size[:, None]], 1) / size
        scenes = sample_scenes(staging, up, floor, joints[:, 0], looks["cloth"][:, 0, 0], box)
        add_sensor(draws("sensor"), scenes, self.augment.color)

        count = len(wanted)
        out: dict[str, np.ndarray] = {
            "image": np.empty((count, size, size, 3), np.uint8),
            "mask": np.zeros((count, size, size), np.uint8),
            "depth": np.zeros((count, size, size), np.float32),
            "parts": np.zeros((count, size, size), np.uint8),
            "visible": np.zeros((count, 44), bool),
        }
        pixels = np.einsum("bij,bkj->bki", framed.intrinsics, keypoints / keypoints[..., 2:])[..., :2]
        for i in range(count):
            _draw(
                vertices[i], body.painted, body.faces, body.owners, framed.intrinsics[i], scenes[i], looks[i],
                body.plan, pixels[i], keypoints[i], body.tolerance, *(out[name][i] for name in out),
            )  # fmt: skip
            out["image"][i] = transmit(out["image"][i], scenes[i])
        one = np.ones((count, 44, 1), np.float32)
        return out | {
            "keypoints_2d": np.concatenate([pixels[:count], one], -1).astype(np.float32),
            "keypoints_3d": np.concatenate([keypoints[:count], one], -1).astype(np.float32),
            "pose": pose[:count],
            "betas": betas[:count],
            "translation": translation[:count],
            "intrinsics": framed.intrinsics[:count],
            "box_center": framed.box_center[:count],
            "box_size": framed.box_size[:count],
        }


class _Body:
    """A body model in the layout that the block computation wants."""

    def __init__(self, body: BodyModel):
        count, self.num_betas = body.num_vertices, body.num_betas
        self.template = np.ascontiguousarray(body.v_template, np.float32)
        self.faces = np.ascontiguousarray(body.faces, np.int32)
        self._parents = body.parents
        bases = [np.asarray(basis).reshape(3 * count, -1) for basis in (body.shapedirs, body.posedirs)]
        self._basis = np.ascontiguousarray(np.concatenate(bases, 1).T, np.float32)
        regressor = np.asarray(body.joint_regressor, np.float32)
        self._joints = regressor @ self.template
        self._joint_shapes = np.einsum("jv,vcs->jcs", regressor, np.asarray(body.shapedirs, np.float32))
        weights = np.asarray(body.skinning_weights, np.float32)
        used = max(1, int((weights > 0).sum(1).max()))
        self._joint = np.argsort(-weights, 1, kind="stable")[:, :used].astype(np.int32)
        self._weight = np.take_along_axis(weights, self._joint, 1)
        self.owners = weights.argmax(1).astype(np.uint8)
        self._landmarks = np.asarray(body.landmarks)
        self._j19 = np.asarray(body.regressors["j19"], np.float32)
        self.prior = PosePrior(self._joints.astype(float), body.parents)
        self.painted = self.template - self._joints[0]  # where on the body a vertex is, whatever the model's origin
        self.plan = body_plan(self.painted, self._joints - self._joints[0], self._landmarks)[()]
        rest = self.keypoints(self.template[None], self._joints[None])[0]
        inside = np.linalg.norm(rest[:, None] - self.template, axis=-1).min(1)
        # A joint is seen through the skin around it: what hides it must be nearer than its own surface can be.
        self.tolerance = (0.06 + 1.7 * inside).astype(np.float32)

    def skin(self, betas: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (B, V, 3) and joints (B, 24, 3) of axis-angle poses (B, 24, 3), without translation."""
        count = len(betas)
        rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(count, -1, 3, 3).astype(np.float32)
        feature = (rotations[:, 1:] - np.eye(3, dtype=np.float32)).reshape(count, -1)
        rest = self.template + (np.concatenate([betas, feature], 1) @ self._basis).reshape(count, -1, 3)
        joints = self._joints + np.einsum("jcs,bs->bjc", self._joint_shapes, betas)
        world, placed = [rotations[:, 0]], [joints[:, 0]]
        for j, parent in enumerate(self._parents[1:], 1):
            offset = (joints[:, j] - joints[:, parent])[..., None]
            placed.append(placed[parent] + (world[parent] @ offset)[..., 0])
            world.append(world[parent] @ rotations[:, j])
        turn, position = np.stack(world, 1), np.stack(placed, 1)
        shift = position - np.einsum("bjik,bjk->bji", turn, joints)
        transforms = np.concatenate([turn, shift[..., None]], -1).astype(np.float32)
        vertices = np.empty_like(rest)
        for i in range(count):
            kernels.skin(rest[i], transforms[i], self._joint, self._weight, vertices[i])
        return vertices, position

    def keypoints(self, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """The 44 keypoints (B, 44, 3) of vertices (B, V, 3) and joints (B, 24, 3)."""
        points = np.concatenate([joints, vertices[:, self._landmarks]], 1)
        return np.concatenate([points[:, list(OPENPOSE_25_FROM_45)], self._j19 @ vertices], 1)


@numba.njit(nogil=True, cache=True)
def _draw(vertices, template, faces, owners, intrinsics, scene, look, plan, pixels, keypoints, tolerance,
          picture, mask, depth, parts, visible):  # fmt: skip
    """Draws one example: the picture and everything that is read off its depth buffer."""
    size, count = picture.shape[0], vertices.shape[0]
    normals, clothed, points = (
        np.empty((count, 3), np.float32),
        np.empty((count, 3), np.float32),
        np.empty((count, 3), np.float32),
    )
    zones = np.empty(count, np.uint8)
    kernels.vertex_normals(vertices, faces, normals)
    paint.zones_of(template, look, plan, zones)
    kernels.dress(vertices, normals, template, zones, look, clothed)
    kernels.vertex_normals(clothed, faces, normals)
    kernels.project(clothed, intrinsics, points)
    face_index, inverse_depth = np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32)
    rasterize_into(points, faces, face_index, inverse_depth)

    shadow = np.empty((max(8, size // 4), max(8, size // 4)), np.float32)
    kernels.cast_shadow(clothed, intrinsics, scene, size, shadow)
    image, hidden = np.empty((size, size, 3), np.float32), np.zeros((size, size), np.uint8)
    paint.paint_background(image, intrinsics, scene, shadow)
    paint.paint_shapes(image, scene.clutter, scene.seed + 20, hidden)
    if scene.bokeh > 0:
        paint.blur(image, scene.bokeh * size)
    paint.paint_person(image, points, faces, face_index, normals, template, scene, look, plan)
    hidden[:] = 0
    paint.paint_shapes(image, scene.occluders, scene.seed + 40, hidden)
    paint.blur(image, scene.blur * size)
    if scene.motion[0] != 0 or scene.motion[1] != 0:
        smeared = np.empty_like(image)
        paint.smear(image, scene.motion * np.float32(size), smeared)
        image = smeared
    paint.develop(image, scene, picture)

    for k in range(len(keypoints)):
        column, row = int(np.floor(pixels[k, 0])), int(np.floor(pixels[k, 1]))
        if 0 <= column < size and 0 <= row < size and keypoints[k, 2] > 0:
            behind = inverse_depth[row, column] * (keypoints[k, 2] - tolerance[k]) > 1
            visible[k] = not (behind or hidden[row, column])
    weight = np.empty(3, np.float32)
    for row in range(size):
        for column in range(size):
            face = face_index[row, column]
            if face >= 0 and not hidden[row, column]:
                mask[row, column] = 1
                depth[row, column] = np.float32(1) / inverse_depth[row, column]
                corner_weights(points, faces, face, column, row, weight)
                parts[row, column] = 1 + owners[faces[face, weight.argmax()]]
