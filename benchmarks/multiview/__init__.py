"""Truth from several calibrated cameras: calibration, landmarks tracked in videos, triangulation."""
