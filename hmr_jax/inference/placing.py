"""From a body as the network's crop has it to its place in the camera of the image.

The network looks through a very long lens, HMR2.0's. In the near camera of a photograph the same body projects
elsewhere: what is nearer is larger. So the body is moved, and turned a little, until it projects to where the network
has it.

Shapes: B people, N keypoints.
"""

import jax
import jax.numpy as jnp

from hmr_jax.batch import Prediction
from hmr_jax.geometry import axis_angle_to_matrix, crop_translation, full_image_translation, project
from hmr_jax.geometry.cameras import NEAREST, NOMINAL_CROP, fit_translation

_STEPS = 6
_DAMPING = 0.01
_EXPECTED = 0.02
"""Residuals of the fit that are usual, in sides of the crop."""
_USUAL_TURN = 10.0
"""Degrees that the fit turns a body by, one standard deviation."""
_OUTSIDE = 0.01
"""Weight of keypoints outside the crop, which the network guesses."""


def place(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
    crop_focal_length: float,
) -> tuple[Prediction, jax.Array, jax.Array]:
    """Turns bodies about their root joints, and finds translations, so that they project to where the crop has them.

    Args:
        prediction: of the network, turned back.
        box_center: (B, 2) of the square crop, px of the image.
        box_size: (B,) side of the square crop, px of the image.
        principal_point: (B, 2) px of the image.
        focal_length: (B, 2) px of the image.
        crop_focal_length: of the network's camera, px of a crop of `NOMINAL_CROP`.

    Returns:
        The bodies, translations (B, 3), metres, and where the crop has the keypoints, (B, N, 2) px of the image.
    """
    points, focal = prediction.keypoints_3d, jnp.full((1, 2), crop_focal_length / NOMINAL_CROP)
    in_crop = project(points, crop_translation(prediction.camera, crop_focal_length), focal)
    in_image = box_center[:, None] + box_size[:, None, None] * in_crop
    weights = jnp.where(jnp.abs(in_crop).max(-1) < 0.5, 1.0, _OUTSIDE)
    root = prediction.joints[:, 0]
    sizes = _EXPECTED * box_size[:, None, None]

    def residuals(change: jax.Array, person: tuple[jax.Array, ...]) -> jax.Array:
        """Of one person, in standard deviations: (2 N + 3,)."""
        offset, center, seen, weight, focal, principal, size = person
        placed = offset @ axis_angle_to_matrix(change[:3]).T + center + change[3:]
        projected = placed[:, :2] / jnp.maximum(placed[:, 2:], NEAREST) * focal + principal
        shares = jnp.sqrt(weight / weight.sum())[:, None]
        turn = change[:3] / jnp.radians(_USUAL_TURN)
        return jnp.concatenate([(shares * (projected - seen) / size).reshape(-1), turn])

    def cost(change: jax.Array, person: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.square(residuals(change, person)).sum()

    def fit(start: jax.Array, person: tuple[jax.Array, ...]) -> jax.Array:
        """Gauss-Newton steps, or the start if they make it worse."""

        def step(_, change):
            jacobian, error = jax.jacfwd(residuals)(change, person), residuals(change, person)
            return change - jnp.linalg.solve(jacobian.T @ jacobian + _DAMPING * jnp.eye(6), jacobian.T @ error)

        end = jax.lax.fori_loop(0, _STEPS, step, start)
        return jnp.where(cost(end, person) < cost(start, person), end, start)

    start = fit_translation(points, in_image, focal_length, principal_point, weights)
    offset = points - root[:, None]
    people = (offset, root, in_image, weights, focal_length, principal_point, sizes)
    change = jax.vmap(fit)(jnp.concatenate([jnp.zeros_like(start), start], 1), people)
    turned = turn_bodies(prediction, axis_angle_to_matrix(change[:, :3]))
    nearest = (turned.keypoints_3d[..., 2].min(1)) + change[:, 5]
    return turned, change[:, 3:].at[:, 2].add(jnp.maximum(0, NEAREST - nearest)), in_image


def turn_bodies(prediction: Prediction, rotation: jax.Array) -> Prediction:
    """Bodies turned about their root joints by (B, 3, 3)."""
    root = prediction.joints[:, :1]

    def points(array: jax.Array | None) -> jax.Array | None:
        return None if array is None else jnp.einsum("bij,bnj->bni", rotation, array - root) + root

    orient = prediction.global_orient
    return prediction.replace(  # type: ignore[attr-defined]
        global_orient=None if orient is None else jnp.einsum("bij,bnjk->bnik", rotation, orient),
        joints=points(prediction.joints),
        keypoints_3d=points(prediction.keypoints_3d),
        vertices=points(prediction.vertices),
    )


def place_as_hmr2(
    prediction: Prediction,
    box_center: jax.Array,
    box_size: jax.Array,
    principal_point: jax.Array,
    focal_length: jax.Array,
) -> jax.Array:
    """Translations (B, 3), metres, by HMR2.0's formula."""
    focal = focal_length.mean(1)
    translation = full_image_translation(prediction.camera, box_center, box_size, principal_point, focal)
    # If pixels are not square, this keeps the pelvis at its position in the image.
    return translation * jnp.ones_like(translation).at[:, :2].set(focal[:, None] / focal_length)
