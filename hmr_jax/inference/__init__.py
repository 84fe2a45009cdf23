"""Inference: from images and boxes to posed bodies in the camera of the whole image."""

from hmr_jax.inference.predictor import PersonPrediction, Predictor, camera_of

__all__ = ["PersonPrediction", "Predictor", "camera_of"]
