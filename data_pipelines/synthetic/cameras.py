"""Viewpoints and framing: where the camera is and which square of its image becomes the image.

The camera looks at the person from a sampled direction and distance. The image is a square window of what it sees,
around the person's box as crops are, so the optical axis need not pass through the middle of the image.
World: Y up, origin at the pelvis. Camera: x right, y down, z forward; metres.

Shapes: B examples, V vertices.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic import kernels
from hmr_jax.config import AugmentConfig

BOX_PADDING = 1.2  # a person's box is this much larger than the tight one
NEAREST = 0.35  # metres between the camera and the nearest point of the body
_FACING = np.diag([1.0, -1.0, -1.0])  # the world seen by a level camera that looks along -Z


@dataclass
class View:
    """Extrinsics."""

    rotation: np.ndarray
    """(B, 3, 3) world to camera."""
    distance: np.ndarray
    """(B,) to the person, in units of the person's extent."""
    offset: np.ndarray
    """(B, 2) of the optical axis from the person's middle, in units of the extent."""


def sample_views(draws: Draws, augment: AugmentConfig) -> View:
    """Headings are uniform; most cameras are level or look down a little, some up or steeply down."""
    heading = draws.uniform(-np.pi, np.pi)
    usual, tail = draws.uniform(-20, 35), draws.uniform(-60, 60)
    pitch = np.where(draws.happens(0.45), draws.normal(5, 8), np.where(draws.happens(0.8), usual, tail))
    roll = draws.normal(0, 3)
    rotated = draws.happens(augment.rotation_probability)
    roll = roll + augment.rotation * draws.normal(clip=2) * rotated
    angles = np.stack([np.deg2rad(roll), np.deg2rad(pitch), heading], -1)
    rotation = Rotation.from_euler("ZXY", angles).as_matrix()
    distance = draws.log_uniform(1.0, 5.0) * BOX_PADDING  # the focal length in units of the box
    return View(_FACING @ rotation, distance, draws.normal(0, 0.15, (2,), clip=2))


def translations(view: View, vertices: np.ndarray) -> np.ndarray:
    """(B, 3) metres, which move bodies (B, V, 3) around the origin, in camera axes, in front of the camera."""
    low, high = _bounds(vertices, False)
    extent = (high - low)[:, :2].max(1)
    depth = np.maximum(view.distance * extent, NEAREST - low[:, 2] + 0.1 * extent)
    middle = (low + high)[:, :2] / 2
    return np.concatenate([view.offset * extent[:, None] - middle, depth[:, None]], 1)


def _bounds(vertices: np.ndarray, on_screen: bool) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.empty((len(vertices), 3), np.float32), np.empty((len(vertices), 3), np.float32)
    kernels.bounds(vertices, on_screen, low, high)
    return low, high


@dataclass
class Frame:
    """Intrinsics and the person's box, in pixels of the image."""

    intrinsics: np.ndarray
    """(B, 3, 3)"""
    box_center: np.ndarray
    """(B, 2)"""
    box_size: np.ndarray
    """(B,)"""


def frame(draws: Draws, vertices: np.ndarray, keypoints: np.ndarray, size: int, margin: float,
          augment: AugmentConfig) -> Frame:  # fmt: skip
    """Chooses the window: `margin` times the person's box, jittered, or a part of it.

    Args:
        draws: of the "camera" stream.
        vertices: (B, V, 3) camera axes, in front of the camera.
        keypoints: (B, 44, 3) likewise.
        size: side of the image, pixels.
        margin: side of the window in units of the person's box.
        augment: how the window varies, as HMR2.0 varies its crops.
    """
    low, high = (corner[:, :2] for corner in _bounds(vertices, True))
    box_center, box_size = (low + high) / 2, (high - low).max(1) * BOX_PADDING
    center, side = box_center.copy(), box_size.copy()

    points = keypoints[..., :2] / keypoints[..., 2:]
    which = draws.choice(np.array([0.45, 0.15, 0.4]))
    for kind, part in enumerate((_TO_KNEES, _HEAD_AND_SHOULDERS)):
        below, above = points[:, part].min(1), points[:, part].max(1)
        cut = which == kind
        center[cut], side[cut] = ((below + above) / 2)[cut], ((above - below).max(1) * 1.25)[cut]
    angle, far = draws.uniform(0, 2 * np.pi), draws.uniform(0.25, 0.5)
    zoom = draws.uniform(0.65, 1.0)
    shifted = which == 2
    heading = np.stack([np.cos(angle), np.sin(angle)], -1)
    center[shifted] += (heading * far[:, None] * (high - low))[shifted]
    side[shifted] *= zoom[shifted]
    whole = ~draws.happens(augment.extreme_crop_probability)
    center[whole], side[whole] = box_center[whole], box_size[whole]

    jitter = draws.normal(shape=(2,), clip=1)
    side = margin * side * (1 + augment.scale * draws.normal(clip=1))
    center = center + augment.shift * jitter * side[:, None]
    focal = size / side
    intrinsics = np.zeros((len(side), 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = size / 2 - focal[:, None] * center
    intrinsics[:, 2, 2] = 1
    box_center = focal[:, None] * box_center + intrinsics[:, :2, 2]
    return Frame(intrinsics.astype(np.float32), box_center.astype(np.float32), (focal * box_size).astype(np.float32))


_HEAD_AND_SHOULDERS = np.array([0, 1, 2, 5, 15, 16, 17, 18, 37, 38, 40, 41, 42, 43])
_TO_KNEES = np.concatenate([_HEAD_AND_SHOULDERS, [3, 4, 6, 7, 8, 9, 12, 27, 28, 39]])
