"""Shares of points that are close enough: PCK, and the area under its curve (AUC).

Shapes: B batch, N points, T thresholds.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.metrics.pose import weighted_mean


def pck(errors: jax.Array, threshold: float, weights: jax.Array | None = None) -> jax.Array:
    """Percentage of correct keypoints.

    Args:
        errors: (B, N) distances.
        threshold: in the same unit; an error equal to it counts as correct.
        weights: (B, N) or None: which points count.

    Returns:
        (B,) percent. NaN is never correct.
    """
    return 100 * weighted_mean((errors <= threshold).astype(errors.dtype), weights)


def auc(errors: jax.Array, thresholds: Sequence[float] | np.ndarray, weights: jax.Array | None = None) -> jax.Array:
    """Area under the PCK curve: the mean of PCK over equally spaced thresholds.

    Args:
        errors: (B, N) distances.
        thresholds: (T,) from 0 on, in the same unit.
        weights: (B, N) or None: which points count.

    Returns:
        (B,) percent; 100 where every error is 0.
    """
    limits = jnp.asarray(thresholds, errors.dtype)
    # The share of thresholds that a point passes, so that no (B, N, T) array is made.
    passed = len(limits) - jnp.searchsorted(limits, errors, side="left")
    return 100 * weighted_mean(passed.astype(errors.dtype) / len(limits), weights)
