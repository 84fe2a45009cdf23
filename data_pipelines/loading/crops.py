"""From box to crop: one affine map per example, applied alike to image, keypoints, pose, camera and dense maps.

The order is HMR2.0's: extreme crop, shift, mirror, then scale and rotation. An integer coordinate is a pixel's centre,
and the centre of the box lands on pixel S / 2 of the crop, as in HMR2.0.

Shapes: B examples, N points, S side of the crop, D side of the dense maps, H and W of the stored image.
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.loading.augmentation import Augmentation, extreme_crop
from hmr_jax.body.joints import KEYPOINTS_44_FLIP, SMPL_24_FLIP
from hmr_jax.geometry.upright import rotation_z, tilt
from hmr_jax.io.cache import keeps_compiled

FIXED = 16  # fractional bits of positions in `warp`


@dataclass(frozen=True)
class Labels:
    """What is known about B people, in px of their images (or of the crop), metres and camera axes."""

    center: np.ndarray
    """(B, 2) of the box."""
    size: np.ndarray
    """(B,) side of the box."""
    keypoints_2d: np.ndarray
    """(B, 44, 3) px and confidence."""
    keypoints_3d: np.ndarray
    """(B, 44, 4) metres and confidence."""
    pose: np.ndarray
    """(B, 24, 3) axis-angle, global orientation first."""
    intrinsics: np.ndarray
    """(B, 3, 3) px; zeros where unknown."""


def augment_labels(labels: Labels, image_size: np.ndarray, augmentation: Augmentation) -> tuple[Labels, np.ndarray]:
    """Labels after augmentation, in px of the mirrored and rotated image, and (B,) degrees of the boxes' rotation.

    That image is the stored one, mirrored if asked for and rotated about the centre of the new box, so the crop is its
    upright square (center, size). Camera, 2-D and 3-D keypoints and pose agree with one another in it.

    Args:
        labels: as stored.
        image_size: (B, 2) width and height.
        augmentation: of each example.
    """
    center, size = labels.center.astype(np.float64), labels.size.astype(np.float64)
    for i in np.flatnonzero(~np.isnan(augmentation.part)):
        if box := extreme_crop(labels.keypoints_2d[i], augmentation.part[i]):
            center[i], size[i] = box
    center = center + augmentation.shift * size[:, None]
    moved = Labels(center, size, labels.keypoints_2d, labels.keypoints_3d, labels.pose, labels.intrinsics)
    moved = flip(moved, image_size[:, 0], augmentation.flip)
    rotation = _box_rotation(moved, augmentation)
    moved = rotate(moved, rotation)
    return Labels(**(vars(moved) | {"size": size * augmentation.scale})), rotation


_SHOULDERS, _HIPS = (2, 5), (9, 12)  # of OpenPose


def _box_rotation(labels: Labels, augmentation: Augmentation) -> np.ndarray:
    """(B,) degrees by which the boxes of (mirrored) people are rotated clockwise.

    A box that is to be upright is turned along the person's trunk, where both hips and both shoulders are known.
    """
    points = labels.keypoints_2d
    turned = augmentation.upright & (points[:, (*_SHOULDERS, *_HIPS), 2] > 0).all(1)
    return augmentation.rotation + np.where(turned, tilt(points[:, _HIPS], points[:, _SHOULDERS]), 0.0)


def flip(labels: Labels, width: np.ndarray, which: np.ndarray) -> Labels:
    """Mirrors some examples left to right: x <- W - 1 - x, and left joints become right ones.

    Args:
        labels: in px of images of the given widths.
        width: (B,) px.
        which: (B,) bool.
    """
    center, keypoints_2d, keypoints_3d = labels.center.copy(), labels.keypoints_2d.copy(), labels.keypoints_3d.copy()
    pose, intrinsics = labels.pose.copy(), labels.intrinsics.copy()
    last = (width - 1)[which]
    center[which, 0] = last - center[which, 0]
    keypoints_2d[which] = keypoints_2d[which][:, KEYPOINTS_44_FLIP]
    keypoints_2d[which, :, 0] = last[:, None] - keypoints_2d[which, :, 0]
    keypoints_3d[which] = keypoints_3d[which][:, KEYPOINTS_44_FLIP] * np.array([-1, 1, 1, 1])
    pose[which] = pose[which][:, SMPL_24_FLIP] * np.array([1, -1, -1])
    mirror = np.tile(np.diag([-1.0, 1, 1]), (len(last), 1, 1))
    mirror[:, 0, 2] = last
    intrinsics[which] = mirror @ intrinsics[which] @ np.diag([-1.0, 1, 1])
    return Labels(center, labels.size, keypoints_2d, keypoints_3d, pose, intrinsics)


def rotate(labels: Labels, degrees: np.ndarray) -> Labels:
    """Rotates the image by -degrees about the box centre, and the scene by -degrees about the camera's z axis.

    Rotating the box by an angle rotates its content by the opposite angle. The image is rotated about the box centre
    and not about the principal point; the difference is a shift of the image, which goes into the intrinsics.

    Args:
        labels: in px of the images.
        degrees: (B,) by which the boxes are rotated clockwise.
    """
    which = degrees != 0
    rotation = rotation_z(-degrees[which])  # (b, 3, 3)
    keypoints_2d, keypoints_3d = labels.keypoints_2d.copy(), labels.keypoints_3d.copy()
    pose, intrinsics = labels.pose.copy(), labels.intrinsics.copy()
    center = labels.center[which][:, None]  # (b, 1, 2)
    keypoints_2d[which, :, :2] = (keypoints_2d[which, :, :2] - center) @ rotation[:, :2, :2].mT + center
    keypoints_3d[which, :, :3] = keypoints_3d[which, :, :3] @ rotation.mT
    if which.any():
        pose[which, 0] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[which, 0])).as_rotvec()
    about_center = rotation.copy()
    about_center[:, :2, 2] = center[:, 0] - (center @ rotation[:, :2, :2].mT)[:, 0]
    intrinsics[which] = about_center @ intrinsics[which] @ rotation.mT
    return Labels(labels.center, labels.size, keypoints_2d, keypoints_3d, pose, intrinsics)


def to_crop(points: np.ndarray, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(B, N, 2) px of the upright image -> crop coordinates, which span [-0.5, 0.5] over the box."""
    return (points - center[:, None]) / size[:, None, None]


def crop_affine(center: np.ndarray, size: np.ndarray, degrees: np.ndarray, crop_size: int) -> np.ndarray:
    """(B, 2, 3) maps from px of the (already mirrored) image to px of the crop.

    Args:
        center: (B, 2) of the box in the mirrored image, px.
        size: (B,) side of the scaled box, px.
        degrees: (B,) by which the box is rotated clockwise.
        crop_size: S.
    """
    linear = rotation_z(-degrees)[:, :2, :2] * (crop_size / size)[:, None, None]
    offset = crop_size / 2 - (linear @ center[:, :, None])
    return np.concatenate([linear, offset], 2)


def sampling_affine(affine: np.ndarray, width: np.ndarray, flip: np.ndarray, stride: float = 1.0) -> np.ndarray:
    """(B, 2, 3) maps from px of an output grid to px of the stored image, the inverse of mirror and `crop_affine`.

    Args:
        affine: (B, 2, 3) from `crop_affine`.
        width: (B,) of the stored images.
        flip: (B,) bool.
        stride: side of an output cell in px of the crop, S / D for dense maps; 1: the crop itself.
    """
    linear = np.linalg.inv(affine[:, :, :2])
    # Centre of cell i in the crop: (i + 1/2) * stride - 1/2.
    offset = linear @ ((stride - 1) / 2 - affine[:, :, 2:])
    inverse = np.concatenate([linear * stride, offset], 2)
    inverse[flip, 0] *= -1
    inverse[flip, 0, 2] += width[flip] - 1
    return inverse


def gain_table(gain: np.ndarray) -> np.ndarray:
    """(B, 3) gains -> (B, 3, 256) uint8: what each value of each channel becomes."""
    return np.clip(np.rint(gain[:, :, None] * np.arange(256)), 0, 255).astype(np.uint8)


@numba.njit(nogil=True, cache=keeps_compiled())
def warp(image: np.ndarray, affine: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Samples an image bilinearly, zero outside; positions are rounded to 1/65536 px, weights to 1/256.

    Args:
        image: (H, W, 3) uint8.
        affine: (2, 3) from px of `out` to px of `image`.
        table: (3, 256) uint8, see `gain_table`.
        out: (S, S, 3) uint8, written.
    """
    height, width = image.shape[:2]
    one = 1 << FIXED
    step_x, step_y = round(affine[0, 0] * one), round(affine[1, 0] * one)
    for row in range(out.shape[0]):
        x = round((affine[0, 1] * row + affine[0, 2]) * one)
        y = round((affine[1, 1] * row + affine[1, 2]) * one)
        for column in range(out.shape[1]):
            i, j = x >> FIXED, y >> FIXED
            a, b = (x & (one - 1)) >> (FIXED - 8), (y & (one - 1)) >> (FIXED - 8)
            for c in range(3):
                if 0 <= i < width - 1 and 0 <= j < height - 1:
                    top = (256 - a) * image[j, i, c] + a * image[j, i + 1, c]
                    bottom = (256 - a) * image[j + 1, i, c] + a * image[j + 1, i + 1, c]
                else:
                    top = (256 - a) * _pixel(image, j, i, c) + a * _pixel(image, j, i + 1, c)
                    bottom = (256 - a) * _pixel(image, j + 1, i, c) + a * _pixel(image, j + 1, i + 1, c)
                out[row, column, c] = table[c, ((256 - b) * top + b * bottom + one // 2) >> FIXED]
            x += step_x
            y += step_y


@numba.njit(nogil=True, cache=keeps_compiled())
def _pixel(image: np.ndarray, row: int, column: int, channel: int) -> int:
    inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
    return image[row, column, channel] if inside else 0


def sample_nearest(values: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """(size, size) nearest values of a (H, W) map, zero outside: a mean of a person's depth and the wall's is neither.

    Args:
        values: (H, W).
        affine: (2, 3) from px of the result to px of `values`.
        size: side of the result.
    """
    out = np.zeros((size, size), values.dtype)
    _sample_nearest(np.ascontiguousarray(values), affine, out)
    return out


@numba.njit(nogil=True, cache=keeps_compiled())
def _sample_nearest(values: np.ndarray, affine: np.ndarray, out: np.ndarray) -> None:
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            x = round(affine[0, 0] * column + affine[0, 1] * row + affine[0, 2])
            y = round(affine[1, 0] * column + affine[1, 1] * row + affine[1, 2])
            if 0 <= x < values.shape[1] and 0 <= y < values.shape[0]:
                out[row, column] = values[y, x]
