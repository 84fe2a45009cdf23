"""Inference: from images and boxes to posed bodies in the camera of the whole image."""

from hmr_jax.geometry.intrinsics import camera_of
from hmr_jax.inference.people import People
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.predictor import Predictor

__all__ = ["People", "PersonPrediction", "Predictor", "camera_of"]
