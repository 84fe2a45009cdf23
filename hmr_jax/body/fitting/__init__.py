"""Bodies fitted to what was measured of them: vertices, joints, keypoints in images or in space."""

from hmr_jax.body.fitting.heat_maps import HeatMaps, in_heat_maps
from hmr_jax.body.fitting.keypoints import KeypointFit, KeypointFitter, in_image, in_space
from hmr_jax.body.fitting.pose import Pose
from hmr_jax.body.fitting.pose_prior import load_pose_prior
from hmr_jax.body.fitting.silhouettes import Silhouettes, in_mask
from hmr_jax.body.fitting.terms import Keypoints2D, Keypoints3D, KeypointsAround, Limits, NearRotations, Place, Shape
from hmr_jax.body.fitting.to_vertices import BodyFit, fit_body
from hmr_jax.body.fitting.tracks import TrackFitter

__all__ = [
    "BodyFit",
    "HeatMaps",
    "KeypointFit",
    "KeypointFitter",
    "Keypoints2D",
    "Keypoints3D",
    "KeypointsAround",
    "Limits",
    "NearRotations",
    "Place",
    "Pose",
    "Shape",
    "Silhouettes",
    "TrackFitter",
    "fit_body",
    "in_heat_maps",
    "in_image",
    "in_mask",
    "in_space",
    "load_pose_prior",
]
