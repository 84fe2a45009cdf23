"""Videos: people found, followed and posed from frame to frame, smoothed, and drawn."""

from hmr_jax.video.motion import Motion
from hmr_jax.video.pipeline import predict_video
from hmr_jax.video.results import PersonTrack, VideoResult

__all__ = ["Motion", "PersonTrack", "VideoResult", "predict_video"]
