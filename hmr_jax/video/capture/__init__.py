"""Videos of several calibrated cameras: one body for each moment."""
