"""Similarity (Procrustes) alignment of point sets, batched.

The best rotation is the leading eigenvector of Horn's symmetric 4x4 matrix (Horn 1987, "Closed-form solution of
absolute orientation using unit quaternions"), found by Jacobi's cyclic rotations in a fixed number of sweeps: plain
arithmetic on whole batches, as exact as LAPACK's SVD and many times faster, and never a reflection. Where several
rotations are equally good (a flat or mirrored body, points on a line), it returns one of them.

Letters: B batch, N points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_PAIRS = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))  # all off-diagonal entries, commuting ones together
_UPPER = [(i, j) for i in range(4) for j in range(i, 4)]
# Where an entry of the symmetric matrix is found in the list of its upper triangle.
_ENTRY = {pair: at for at, (i, j) in enumerate(_UPPER) for pair in ((i, j), (j, i))}
# Jacobi's method converges quadratically: four sweeps reach float32's precision, six float64's; one in reserve.
_SWEEPS = {4: 5, 8: 7}


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


def fit_similarity(source: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> Similarity:
    """The similarity transform without reflection that maps each source onto its target in the least-squares sense.

    A source without extent is mapped onto the target's mean.

    Args:
        source: (B, N, 3).
        target: (B, N, 3).
        weights: (B, N) not negative, the share of each point; None: all alike.
    """
    return _fit(source, target, weights)


@jax.jit
def _fit(source: jax.Array, target: jax.Array, weights: jax.Array | None) -> Similarity:
    dtype = jnp.result_type(source, target)
    if weights is None:
        shares = jnp.full((len(source), 1), 1 / source.shape[1], dtype)
    else:
        shares = weights / jnp.maximum(weights.sum(1, keepdims=True), jnp.finfo(dtype).tiny)
    x, y = ([points[..., axis] for axis in range(3)] for points in (source, target))  # (B, N) each
    x_mean, y_mean = ([(values * shares).sum(1) for values in axes] for axes in (x, y))  # (B,) each
    x, y = (
        [values - mean[:, None] for values, mean in zip(axes, means, strict=True)]
        for axes, means in ((x, x_mean), (y, y_mean))
    )
    covariance = [[(x[i] * y[j] * shares).sum(1) for j in range(3)] for i in range(3)]
    extent = sum((values**2 * shares).sum(1) for values in x)
    rotation, correlation = _best_rotation(covariance)
    scale = correlation / jnp.maximum(extent, 1e-12)
    means = jnp.stack(x_mean, -1), jnp.stack(y_mean, -1)
    shift = means[1] - scale[:, None] * jnp.sum(rotation * means[0][:, None], -1)
    return Similarity(scale, rotation, shift)


def similarity_align(source: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Scales, rotates (no reflection) and shifts each source onto its target: see `fit_similarity`.

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
    upper = [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [xx - yy - zz, xy + yx, zx + xz],
        [yy - xx - zz, yz + zy],
        [zz - xx - yy],
    ]
    size = sum(jnp.abs(entry) for row in upper for entry in row)
    matrix = {(i, i + j): upper[i][j] / jnp.where(size == 0, 1, size) for i in range(4) for j in range(4 - i)}
    values, vectors = _eigen_symmetric(matrix)
    best = jnp.argmax(values, 0)
    w, x, y, z = jnp.take_along_axis(vectors, best[None, None], 1)[:, 0]
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2), values.max(0) * size


def _eigen_symmetric(upper: dict[tuple[int, int], jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Upper triangle of 4x4 matrices, (B,) each -> eigenvalues (4, B) and eigenvectors (4, 4, B) as columns."""
    start = jnp.stack([upper[key] for key in sorted(upper)])  # (10, B)
    identity = jnp.broadcast_to(jnp.eye(4, dtype=start.dtype)[..., None], (4, 4, start.shape[1]))
    entries, vectors = jax.lax.fori_loop(0, _SWEEPS[start.dtype.itemsize], _sweep, (start, identity))
    return jnp.stack([entries[_ENTRY[i, i]] for i in range(4)]), vectors


def _sweep(_, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Makes each off-diagonal entry (10, B) zero once; what is turned into the others gets smaller each time."""
    entries, vectors = list(state[0]), [list(row) for row in state[1]]
    for p, q in _PAIRS:
        pp, qq, pq = _ENTRY[p, p], _ENTRY[q, q], _ENTRY[p, q]
        off, gap = entries[pq], entries[qq] - entries[pp]
        # tan of the angle that makes the entry zero, the smaller of the two; 0 where it is zero already
        square = gap * gap + 4 * off * off
        root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        denominator = jnp.where(gap >= 0, gap + root, gap - root)
        tangent = 2 * off / jnp.where(denominator == 0, 1, denominator)
        cosine = 1 / jnp.sqrt(1 + tangent * tangent)
        sine = tangent * cosine
        entries[pp], entries[qq] = entries[pp] - tangent * off, entries[qq] + tangent * off
        entries[pq] = jnp.zeros_like(off)
        for r in {0, 1, 2, 3} - {p, q}:
            rp, rq = _ENTRY[r, p], _ENTRY[r, q]
            entries[rp], entries[rq] = _turn(cosine, sine, entries[rp], entries[rq])
        for row in vectors:
            row[p], row[q] = _turn(cosine, sine, row[p], row[q])
    return jnp.stack(entries), jnp.stack([jnp.stack(row) for row in vectors])


def _turn(cosine: jax.Array, sine: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    return cosine * first - sine * second, sine * first + cosine * second
