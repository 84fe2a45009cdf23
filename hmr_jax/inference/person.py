"""What is predicted of a person.

Shapes: S side of the crop, V vertices, L layers, G groups of channels, N sampling points, h, w a map.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hmr_jax.geometry.distortion import Lens
from hmr_jax.geometry.intrinsics import ImageCamera


@dataclass(frozen=True)
class PersonPrediction:
    """One person: the fields of `hmr_jax.batch.Prediction` without the batch axis, and the position in the image.

    Add `translation` to `vertices`, `joints` or `keypoints_3d` to get them in the image's camera.
    """

    image_index: int
    """Index of the image in the call."""
    box: np.ndarray
    """(4,) left, top, right, bottom as given, px."""
    box_center: np.ndarray
    """(2,) of the square crop, px."""
    box_size: float
    """Side of the square crop, px."""
    focal_length: np.ndarray
    """(2,) along x and y, px; see `camera_source`."""
    principal_point: np.ndarray
    """(2,) px: as given, or the image's centre (W / 2, H / 2)."""
    translation: np.ndarray
    """(3,) of the body in the image's camera, metres; as accurate as the focal length."""
    global_orient: np.ndarray
    """(1, 3, 3)."""
    body_pose: np.ndarray
    """(23, 3, 3)."""
    betas: np.ndarray
    """(10,)."""
    camera: np.ndarray
    """(3,) weak-perspective scale and shift in a crop that is not turned."""
    joints: np.ndarray
    """(24, 3)."""
    keypoints_3d: np.ndarray
    """(44, 3)."""
    keypoints_2d: np.ndarray
    """(44, 2) in coordinates of the turned crop, [-0.5, 0.5]."""
    keypoints_image: np.ndarray
    """(44, 2) px of the image: where the network has them in its crop. `keypoints_3d` + `translation` project there but
    for what a near lens makes of the body, some hundredths of the box; with HMR2.0's camera just there."""
    vertices: np.ndarray
    """(V, 3)."""
    crop: np.ndarray
    """(S, S, 3) uint8: the network's input."""
    sigma: np.ndarray | None = None
    """(44,) predicted error of each keypoint, metres."""
    silhouette: np.ndarray | None = None
    """(h, w) probability of the person over what the encoder sees of the crop: its full height, centre columns."""
    sampling_points: np.ndarray | None = None
    """(L, G, N, 2) where each layer's channel groups sample, in crop coordinates."""
    gates: np.ndarray | None = None
    """(L, h, w, 3) shares of image, depth-attended image and depth in each block's fusion (D2A-HMR)."""
    box_turn: float = 0.0
    """Degrees by which the crop's square is turned clockwise in the image, so that the person is upright in it."""
    camera_source: str = "default"
    """Where the focal length is from: "given", "exif", "people", "default" (60 degrees over the diagonal) or "hmr2"
    (5,000 px for a crop of 256)."""
    lens: Lens | None = None
    """How the camera distorts; `keypoints_image` are in the distorted image. None: not at all."""
    landmarks: np.ndarray | None = None
    """(33, 3) what the encoder finds: x and y in px of the image, and the probability that the point is visible."""
    moved: float | None = None
    """Metres by which refinement moved the vertices on average, the pelvis at the origin. None: not refined."""
    keypoints_given: np.ndarray | None = None
    """(44, 3) as given to the call: x and y in px of the image, and confidence, 0 where there is none."""

    @property
    def image_camera(self) -> ImageCamera:
        """Of the image."""
        source: Any = self.camera_source
        return ImageCamera(self.focal_length, self.principal_point, source, self.lens)
