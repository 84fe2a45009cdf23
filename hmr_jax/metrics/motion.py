"""Errors of motion along a sequence of frames.

Shapes: F frames, N points.
"""

import functools

import jax
import jax.numpy as jnp

from hmr_jax.metrics.pose import mpjpe


@functools.partial(jax.jit, static_argnames="frames_per_second")
def acceleration_error(
    pred: jax.Array,
    target: jax.Array,
    frame: jax.Array | None = None,
    frames_per_second: float | None = None,
    weights: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Error of the second difference of positions (Kanazawa et al. 2019).

    Args:
        pred: (F, N, 3) metres, in the order of time.
        target: (F, N, 3).
        frame: (F,) frame numbers; three neighbours that are not consecutive have no acceleration. None: all frames are
            consecutive.
        frames_per_second: None gives the papers' usual unit, mm per frame squared; else metres per second squared.
        weights: (F, N) or None: a point counts where its weight is above 0 in all three frames.

    Returns:
        (F - 2,) errors at frames 1 to F - 2, means over the points; and (F - 2,) bool: which of them count.
    """
    accelerations = [points[2:] - 2 * points[1:-1] + points[:-2] for points in (pred, target)]
    counts = jnp.ones(len(accelerations[0]), bool)
    known = None
    if weights is not None:
        labelled = weights > 0
        known = (labelled[2:] & labelled[1:-1] & labelled[:-2]).astype(pred.dtype)
        counts &= known.any(1)
    error = mpjpe(accelerations[0], accelerations[1], known)
    if frames_per_second is not None:
        error = error / 1000 * frames_per_second**2
    if frame is not None:
        counts &= (frame[2:] - frame[1:-1] == 1) & (frame[1:-1] - frame[:-2] == 1)
    return error, counts
