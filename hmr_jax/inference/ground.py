"""The cameras of images whose people stand on one floor and tell the focal length.

Shapes: N people who stand.
"""

from collections.abc import Sequence

import numpy as np

from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.body.posture import is_upright
from hmr_jax.geometry.intrinsics import DEFAULT_UNCERTAINTY, ImageCamera
from hmr_jax.geometry.standing import ground_of
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.photo import Photo

SURE = 0.12
"""Largest relative uncertainty of a focal length that is taken in place of the default's."""
_ENDS = [KEYPOINTS_44.index(f"openpose_{name}") for name in ("left_ankle", "right_ankle", "neck")]


def cameras_by_people(photos: Sequence[Photo], people: Sequence[PersonPrediction]) -> list[ImageCamera]:
    """The camera of each image: by its people where it is the default and they tell it well, else as it was.

    Args:
        photos: the images.
        people: of them, predicted with the cameras as they are.
    """
    standing: list[list[PersonPrediction]] = [[] for _ in photos]
    for person in people:
        if photos[person.image_index].camera.source == "default" and _stands(person, photos[person.image_index].size):
            standing[person.image_index].append(person)
    return [_camera(photo.camera, own) for photo, own in zip(photos, standing, strict=True)]


def _stands(person: PersonPrediction, size: tuple[int, int]) -> bool:
    """Whether a person stands upright, and the image of a size, px, shows ankles and neck."""
    ends = person.keypoints_image[_ENDS]
    return bool(((ends > 0) & (ends < size)).all() and is_upright(person.joints))


def _camera(camera: ImageCamera, people: Sequence[PersonPrediction]) -> ImageCamera:
    if not people:
        return camera
    ends = np.stack([person.keypoints_image[_ENDS] for person in people]).astype(np.float64)
    points = np.stack([person.keypoints_3d[_ENDS] for person in people])
    lengths = np.linalg.norm(points[:, 2] - points[:, :2].mean(1), axis=-1)
    center, expected = camera.principal_point, float(camera.focal_length[0])
    ground = ground_of(ends[:, :2].mean(1), ends[:, 2], lengths, center, expected, DEFAULT_UNCERTAINTY)
    if ground is None or ground.uncertainty > SURE:
        return camera
    focal_length = np.full(2, ground.focal_length, np.float32)
    return camera._replace(focal_length=focal_length, source="people", uncertainty=ground.uncertainty)
