"""Similarity (Procrustes) alignment of point sets, batched.

The best rotation is the leading eigenvector of Horn's symmetric 4x4 matrix (Horn 1987, "Closed-form solution of
absolute orientation using unit quaternions"), found by Jacobi's cyclic rotations in a fixed number of sweeps: plain
arithmetic on whole batches, as exact as LAPACK's SVD and many times faster, and never a reflection. Where several
rotations are equally good (planar or mirrored points, points on a line), it returns one of them.

Shapes: B batch, N points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Jacobi's method converges quadratically: four sweeps of three rotations reach float32's precision, six float64's. One
# more sweep for safety. Keys are the item sizes of the types.
_NUM_ROTATIONS = {4: 15, 8: 21}


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + translation, one for each sample."""

    scale: jax.Array
    """(B,)."""
    rotation: jax.Array
    """(B, 3, 3), determinant 1."""
    translation: jax.Array
    """(B, 3)."""

    def __call__(self, points: jax.Array) -> jax.Array:
        """(B, N, 3) -> (B, N, 3)."""
        linear = self.scale[:, None, None] * self.rotation
        columns = [points[..., axis] for axis in range(3)]
        # Written out: XLA's CPU back end is several times slower with small matrix products.
        rows = [
            sum(linear[:, row, axis, None] * columns[axis] for axis in range(3)) + self.translation[:, row, None]
            for row in range(3)
        ]
        return jnp.stack(rows, -1)


class Moments(NamedTuple):
    """What a similarity transform depends on: means, covariance and extent of two point sets; (B,) each."""

    source_mean: list[jax.Array]
    target_mean: list[jax.Array]
    covariance: list[list[jax.Array]]
    extent: jax.Array


def fit_similarity(source: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> Similarity:
    """The similarity transform without reflection that maps each source onto its target in the least-squares sense.

    A source without extent is mapped onto the target's mean.

    Args:
        source: (B, N, 3).
        target: (B, N, 3).
        weights: (B, N) the share of each point; None: equal shares. Points whose weight is not above 0 may hold
            anything.
    """
    return _solve(_moments(source, target, weights))


def fit_similarities(*pairs: tuple[jax.Array, jax.Array, jax.Array | None]) -> list[Similarity]:
    """`fit_similarity` of several (source, target, weights) of one batch size, with one solver for all of them."""
    every = [_moments(*pair) for pair in pairs]
    together = _solve(jax.tree.map(lambda *parts: jnp.concatenate(parts), *every))
    return [jax.tree.map(lambda part: jnp.split(part, len(pairs))[i], together) for i in range(len(pairs))]  # noqa: B023


def row_sums(values: jax.Array) -> jax.Array:
    """(B, N) -> (B,) sums, by a product with ones: XLA's CPU back end takes 40 times as long for a plain sum."""
    return jnp.dot(values, jnp.ones(values.shape[1], values.dtype), precision="highest")


@jax.custom_jvp
def _sums(*values: jax.Array) -> tuple[jax.Array, ...]:
    """(B, N) each -> (B,) sums, in one pass over their inputs: much faster than one by one."""
    zeros = tuple(jnp.zeros((), array.dtype) for array in values)
    return jax.lax.reduce(values, zeros, lambda left, right: tuple(map(jnp.add, left, right)), (1,))


@_sums.defjvp
def _sums_jvp(
    values: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    return _sums(*values), tuple(tangent.sum(1) for tangent in tangents)


@jax.jit
def _moments(source: jax.Array, target: jax.Array, weights: jax.Array | None) -> Moments:
    dtype = jnp.result_type(source, target)
    if weights is None:
        first, total = jnp.zeros(len(source), int), jnp.full(len(source), source.shape[1], dtype)
    else:
        counted = weights > 0
        source, target = (jnp.where(counted[..., None], points, 0) for points in (source, target))
        weights = jnp.where(counted, weights, 0).astype(dtype)
        first, total = jnp.argmax(weights, 1), jnp.maximum(weights.sum(1), jnp.finfo(dtype).tiny)
    # One pass over the points. Coordinates are relative to one point, so that far from the origin none lose precision.
    origins = [jnp.take_along_axis(points, first[:, None, None], 1) for points in (source, target)]  # (B, 1, 3)
    x, y = (
        [points[..., axis] - origin[..., axis] for axis in range(3)]
        for points, origin in zip((source, target), origins, strict=True)
    )  # (B, N) each
    products = [x[i] * y[j] for i in range(3) for j in range(3)]
    summands = (*x, *y, *products, x[0] ** 2 + x[1] ** 2 + x[2] ** 2)
    weighted = summands if weights is None else [values * weights for values in summands]
    averages = [values / total for values in _sums(*weighted)]
    x_mean, y_mean, extent = averages[:3], averages[3:6], averages[15] - sum(mean**2 for mean in averages[:3])
    covariance = [[averages[6 + 3 * i + j] - x_mean[i] * y_mean[j] for j in range(3)] for i in range(3)]
    x_mean, y_mean = (
        [mean + origin[:, 0, axis] for axis, mean in enumerate(means)]
        for means, origin in zip((x_mean, y_mean), origins, strict=True)
    )
    return Moments(x_mean, y_mean, covariance, extent)


@jax.jit
def _solve(moments: Moments) -> Similarity:
    rotation, correlation = _best_rotation(moments.covariance)
    scale = correlation / jnp.maximum(moments.extent, 1e-12)
    source_mean, target_mean = jnp.stack(moments.source_mean, -1), jnp.stack(moments.target_mean, -1)
    shift = target_mean - scale[:, None] * jnp.sum(rotation * source_mean[:, None], -1)
    return Similarity(scale, rotation, shift)


def similarity_align(source: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Scales, rotates (no reflection) and translates each source onto its target: see `fit_similarity`.

    Args:
        source: (B, N, 3).
        target: (B, N, 3).
        weights: (B, N) or None.

    Returns:
        (B, N, 3) the aligned source.
    """
    return fit_similarity(source, target, weights)(source)


def _best_rotation(covariance: list[list[jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """Nine (B,) sums of x_i y_j -> rotations (B, 3, 3) that maximise the sum of y . R x, and that sum (B,)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = covariance
    horn = [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]
    matrix = jnp.stack([jnp.stack(row) for row in horn])  # (4, 4, B)
    size = jnp.abs(matrix).sum((0, 1))
    identity = jnp.broadcast_to(jnp.eye(4, dtype=matrix.dtype)[..., None], matrix.shape)
    state = matrix / jnp.where(size == 0, 1, size), identity
    matrix, vectors = jax.lax.fori_loop(0, _NUM_ROTATIONS[matrix.dtype.itemsize], _rotate_pairs, state)
    values = jnp.stack([matrix[i, i] for i in range(4)])
    best = jnp.argmax(values, 0)
    w, x, y, z = jnp.take_along_axis(vectors, best[None, None], 0)[0]
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2), values.max(0) * size


def _rotate_pairs(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Jacobi rotations that zero the entries (0, 1) and (2, 3) of symmetric matrices, applied to `vectors` as well.

    Both are (4, 4, B). The axes are then permuted so that the next two entries are at these indices: three calls cover
    all six entries.
    """
    matrix, vectors = state
    off = jnp.stack([matrix[0, 1], matrix[2, 3]])  # (2, B)
    gap = jnp.stack([matrix[1, 1] - matrix[0, 0], matrix[3, 3] - matrix[2, 2]])
    # Tangent of the smaller of the two angles that zero the entry; 0 where it is zero already.
    square = gap * gap + 4 * off * off
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    denominator = jnp.where(gap >= 0, gap + root, gap - root)
    tangent = 2 * off / jnp.where(denominator == 0, 1, denominator)
    cosine = (1 / jnp.sqrt(1 + tangent * tangent))[:, None]
    sine = tangent[:, None] * cosine

    def rotate(rows: jax.Array) -> jax.Array:
        first, second = rows[0::2], rows[1::2]
        first, second = cosine * first - sine * second, sine * first + cosine * second
        return jnp.stack([first[0], second[1], second[0], first[1]])

    return rotate(jnp.swapaxes(rotate(matrix), 0, 1)), rotate(vectors)
