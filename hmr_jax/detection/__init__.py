"""Finding people in images: the built-in detector, and a user's own as an ONNX file."""

from hmr_jax.detection.detections import Detections, PersonDetector, find_people
from hmr_jax.detection.detector import Detector
from hmr_jax.detection.onnx_files import OnnxDetector, named_detector

__all__ = ["Detections", "Detector", "OnnxDetector", "PersonDetector", "find_people", "named_detector"]
