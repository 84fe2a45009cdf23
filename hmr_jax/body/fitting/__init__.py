"""Bodies fitted to what was measured of them: vertices, joints, keypoints in images or in space."""

from hmr_jax.body.fitting.to_vertices import BodyFit, fit_body

__all__ = ["BodyFit", "fit_body"]
