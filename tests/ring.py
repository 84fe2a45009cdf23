"""Cameras in a ring around a person who stands, for tests of several views."""

import numpy as np

from benchmarks.multiview.joints import JOINTS
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import SMPL_24
from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.distortion import Lens

LENS = np.array([-0.05, 0.14, 6e-4, -7e-4, 0.01])
WIDTH, HEIGHT = 240, 320
ORDER = [SMPL_24.index(name) for name in JOINTS]  # of the skeleton's joints


def cameras(count: int = 4) -> list[Camera]:
    """Cameras around the origin, 4 m away, rolled by 0, 10, 20 and so on degrees."""
    made = []
    for number in range(count):
        angle, roll = 2 * np.pi * number / count + 0.3, np.radians(10 * number)
        forward = np.array([np.cos(angle), np.sin(angle), -0.2])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        plain = np.stack([right, np.cross(forward, right), forward])
        turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        rotation = turn @ plain
        intrinsics = np.array([[300, 0, 120.5], [0, 301, 158.0], [0, 0, 1]])
        translation = -rotation @ (-4 * forward)
        made.append(Camera(f"cam{number}", intrinsics, Lens(LENS), rotation, translation, (WIDTH, HEIGHT)))
    return made


def person(frames: int = 3) -> np.ndarray:
    """(F, 12, 3) joints of a person who stands at the origin, z up, and sways; metres."""
    joints = np.asarray(load_body_model().joint_regressor @ load_body_model().v_template)[ORDER]
    standing = joints[:, [0, 2, 1]] * [1, -1, 1]
    sway = 0.1 * np.sin(np.arange(frames))[:, None, None] * np.array([1, 0.5, 0])
    return standing - standing.mean(0) + sway


def see(world: np.ndarray, by: list[Camera]) -> np.ndarray:
    """(V, N, 2) px of points (..., 3)."""
    return np.stack([camera.project(world.reshape(-1, 3)) for camera in by])
