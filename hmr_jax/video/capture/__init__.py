"""Videos or keypoints of several calibrated cameras: one body for each moment."""

from hmr_jax.video.capture.pipeline import predict_capture
from hmr_jax.video.capture.result import Capture
from hmr_jax.video.capture.views import View

__all__ = ["Capture", "View", "predict_capture"]
