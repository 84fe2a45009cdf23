"""Rotations, cameras and alignment: differentiable pure functions."""

from hmr_jax.geometry.alignment import similarity_align
from hmr_jax.geometry.cameras import NOMINAL_CROP, crop_translation, full_image_translation, project
from hmr_jax.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    nearest_rotation,
    rotation_6d_to_matrix,
)

__all__ = [
    "NOMINAL_CROP",
    "axis_angle_to_matrix",
    "crop_translation",
    "full_image_translation",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "matrix_to_rotation_6d",
    "nearest_rotation",
    "project",
    "rotation_6d_to_matrix",
    "similarity_align",
]
