"""Images and boxes in, posed bodies in the camera of the whole image out."""

from hmr_jax.inference.predictor import PersonPrediction, Predictor, camera_of

__all__ = ["PersonPrediction", "Predictor", "camera_of"]
