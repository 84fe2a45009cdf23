"""Rotations as matrices, axis-angle vectors and 6-D vectors, with finite gradients everywhere.

Shapes: `...` any leading axes. Angles are radians; matrices act on column vectors.
"""

import jax
import jax.numpy as jnp

_SMALL = 1e-4  # squared angle below which a series replaces the quotient; its error there is below float32's


def axis_angle_to_matrix(axis_angle: jax.Array) -> jax.Array:
    """Rodrigues' formula: (..., 3) axis times angle -> (..., 3, 3)."""
    squared = jnp.sum(axis_angle**2, -1)[..., None, None]
    small = squared < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    sine = jnp.where(small, 1 - squared / 6 * (1 - squared / 20), jnp.sin(angle) / angle)
    half = jnp.sin(angle / 2) / angle
    cosine = jnp.where(small, 0.5 - squared / 24 * (1 - squared / 30), 2 * half**2)
    x, y, z = jnp.moveaxis(axis_angle, -1, 0)
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*axis_angle.shape, 3)
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    # K^2 = r r^T - |r|^2 I, without a matrix product
    eye = jnp.eye(3, dtype=axis_angle.dtype)
    return eye + sine * cross + cosine * (outer - squared * eye)


def matrix_to_quaternion(matrix: jax.Array) -> jax.Array:
    """(..., 3, 3) rotation -> (..., 4) unit quaternion (w, x, y, z) with w >= 0.

    Four candidates are exact where their own component is large; the largest one is used, so no square root is taken
    near zero (Shepperd 1978).
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    squares = jnp.stack(
        [
            1 + m[0][0] + m[1][1] + m[2][2],
            1 + m[0][0] - m[1][1] - m[2][2],
            1 - m[0][0] + m[1][1] - m[2][2],
            1 - m[0][0] - m[1][1] + m[2][2],
        ],
        -1,
    )  # (..., 4): four times the squared components
    w, x, y, z = (squares[..., i] for i in range(4))
    yz, zx, xy = (m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1])
    syz, szx, sxy = (m[2][1] + m[1][2], m[0][2] + m[2][0], m[1][0] + m[0][1])
    rows = jnp.stack(
        [
            jnp.stack([w, yz, zx, xy], -1),
            jnp.stack([yz, x, sxy, szx], -1),
            jnp.stack([zx, sxy, y, syz], -1),
            jnp.stack([xy, szx, syz, z], -1),
        ],
        -2,
    )  # (..., 4, 4): row i is 4 q_i q
    best = jnp.argmax(squares, -1)[..., None]
    row = jnp.take_along_axis(rows, best[..., None], -2)[..., 0, :]
    quaternion = row / (2 * jnp.sqrt(jnp.take_along_axis(squares, best, -1)))
    return jnp.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_axis_angle(matrix: jax.Array) -> jax.Array:
    """(..., 3, 3) rotation -> (..., 3) axis times angle, angle in [0, pi]."""
    quaternion = matrix_to_quaternion(matrix)
    w, vector = quaternion[..., :1], quaternion[..., 1:]
    squared = jnp.sum(vector**2, -1, keepdims=True)
    small = squared < _SMALL
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    ratio = jnp.where(small, 1.0, 2 * jnp.arctan2(sine, w) / sine)
    safe_w = jnp.where(small, w, 1.0)
    series = 2 / safe_w * (1 - squared / safe_w**2 / 3)
    return jnp.where(small, series, ratio) * vector


def rotation_6d_to_matrix(rotation_6d: jax.Array) -> jax.Array:
    """(..., 6) -> (..., 3, 3): two consecutive triples become the first two columns by Gram-Schmidt (Zhou et al. 2019).

    This is the (2, 3) layout of HMR2.0; SPIN's files interleave the columns, (3, 2).
    """
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = _normalize(first)
    y = _normalize(second - jnp.sum(x * second, -1, keepdims=True) * x)
    return jnp.stack([x, y, jnp.cross(x, y)], -1)


def matrix_to_rotation_6d(matrix: jax.Array) -> jax.Array:
    """(..., 3, 3) -> (..., 6): the first column, then the second."""
    return jnp.concatenate([matrix[..., :, 0], matrix[..., :, 1]], -1)


def nearest_rotation(matrix: jax.Array) -> jax.Array:
    """(..., 3, 3) M -> the rotation R, never a reflection, with the largest sum of R_ij M_ij (Umeyama 1991).

    Of a mean of rotations it is the nearest rotation; of a sum of y x^T, the one that best rotates points x onto y.
    """
    u, _, vt = jnp.linalg.svd(matrix)
    sign = _determinant(u) * _determinant(vt)
    flip = jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign], -1)
    return (u * flip[..., None, :]) @ vt


def _determinant(matrix: jax.Array) -> jax.Array:
    """Of (..., 3, 3), as a triple product: exact to the last bit for rotations, where LU is not."""
    return jnp.sum(matrix[..., 0] * jnp.cross(matrix[..., 1], matrix[..., 2]), -1)


def _normalize(vector: jax.Array) -> jax.Array:
    return vector * jax.lax.rsqrt(jnp.maximum(jnp.sum(vector**2, -1, keepdims=True), 1e-20))
