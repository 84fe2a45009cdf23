"""What lenses do to an image: OpenCV's models, forwards and backwards, for arrays of JAX or NumPy.

Points are x / z and y / z in camera axes (x right, y down, z forward), without a unit. An ideal point is where a
pinhole would have it; a distorted one is where the lens shows it. Coefficients are in OpenCV's order:

- Brown's model (Brown 1966) with radial, tangential, rational and thin-prism parts: k1, k2, p1, p2 and, as far as they
  are given, k3, k4, k5, k6, s1, s2, s3, s4;
- the fisheye model (Kannala and Brandt 2006): k1, k2, k3, k4, of the angle to the optical axis.

Shapes: N points, C coefficients, `...` any leading axes, such as cameras.
"""

from typing import Any, NamedTuple

import numpy as np

Array = Any  # of JAX or NumPy
COUNTS = (4, 5, 8, 12)
"""Numbers of coefficients of Brown's model. OpenCV's 14, with a tilted sensor, are taken if the tilt is 0."""
FARTHEST = 10.0
"""Ideal radius up to which `monotonic_radius` looks: 84 degrees from the optical axis."""
_LARGEST = 1e6  # coefficient
_SAMPLES = 2048  # of the radius
_STEPS = 30  # of Newton's method; a few are enough but near the border


class Lens(NamedTuple):
    """How a lens distorts."""

    coefficients: np.ndarray
    """(C,) in OpenCV's order."""
    fisheye: bool = False
    """Whether they are of the fisheye model."""

    def describe(self) -> dict[str, Any]:
        """As result files have it."""
        return {"model": "fisheye" if self.fisheye else "brown", "coefficients": self.coefficients}


def make_lens(coefficients: Any, fisheye: bool = False) -> Lens | None:
    """A lens from numbers in OpenCV's order; None if it distorts nothing.

    Args:
        coefficients: of Brown's model 4, 5, 8, 12 or 14, of which the last two must be 0; of the fisheye model 4. Axes
            of length 1 are ignored.
        fisheye: which model it is.

    Raises:
        ValueError: there is another number of them, or they are no finite numbers.
    """
    try:
        values = np.asarray(coefficients, np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    values = values.reshape(-1) if values.size == max(values.shape, default=1) else np.full(1, np.nan)
    if not (np.abs(values) < _LARGEST).all():
        shown = " ".join(str(coefficients).split())
        raise ValueError(f"Lens coefficients {shown:.100}: give a list of finite numbers below a million.")
    if len(values) == 14 and not fisheye:
        if values[12:].any():
            raise ValueError("The lens has a tilted sensor (tauX, tauY), which is not supported: undistort the images.")
        values = values[:12]
    if len(values) not in ((4,) if fisheye else COUNTS):
        wanted = "4 of the fisheye model" if fisheye else "4, 5, 8, 12 or 14 in OpenCV's order, k1, k2, p1, p2, k3 ..."
        raise ValueError(f"The lens has {len(values)} coefficients: give {wanted}.")
    return Lens(values, fisheye) if fisheye or values.any() else None


def distort(points: Array, coefficients: Array, fisheye: bool = False) -> Array:
    """Where a lens shows points.

    Args:
        points: (..., N, 2) ideal.
        coefficients: (C,), or (..., C) for each of the leading axes of the points.
        fisheye: which model the coefficients are of.

    Returns:
        (..., N, 2) distorted. Beyond `monotonic_radius` the formulas mean nothing, and points may come back into the
        image.
    """
    xp = points.__array_namespace__()
    x, y = points[..., 0], points[..., 1]
    scale, _ = _radial(x * x + y * y, coefficients, fisheye)
    if fisheye:
        return points * scale[..., None]
    r2, c = x * x + y * y, _named(coefficients)
    return xp.stack(
        [
            x * scale + 2 * c["p1"] * x * y + c["p2"] * (r2 + 2 * x * x) + r2 * (c["s1"] + r2 * c["s2"]),
            y * scale + 2 * c["p2"] * x * y + c["p1"] * (r2 + 2 * y * y) + r2 * (c["s3"] + r2 * c["s4"]),
        ],
        -1,
    )


def distortion_jacobian(points: Array, coefficients: Array, fisheye: bool = False) -> Array:
    """Derivatives (..., N, 2, 2) of `distort`: rows are the distorted x and y, columns the ideal ones."""
    xp = points.__array_namespace__()
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    scale, slope = _radial(r2, coefficients, fisheye)
    xx, xy, yy = scale + 2 * slope * x * x, 2 * slope * x * y, scale + 2 * slope * y * y
    if fisheye:
        return xp.stack([xp.stack([xx, xy], -1), xp.stack([xy, yy], -1)], -2)
    c = _named(coefficients)
    across = 2 * c["p1"] * x + 2 * c["p2"] * y
    prism_x, prism_y = 2 * (c["s1"] + 2 * r2 * c["s2"]), 2 * (c["s3"] + 2 * r2 * c["s4"])  # times x or y
    rows = [
        [xx + 2 * c["p1"] * y + 6 * c["p2"] * x + prism_x * x, xy + across + prism_x * y],
        [xy + across + prism_y * x, yy + 2 * c["p2"] * x + 6 * c["p1"] * y + prism_y * y],
    ]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def monotonic_radius(coefficients: Array, fisheye: bool = False) -> Array:
    """The ideal radius up to which what is farther out is also shown farther out, at most `FARTHEST`.

    Args:
        coefficients: (..., C).
        fisheye: which model they are of.

    Returns:
        (...), of the radial part, to a hundredth or so.
    """
    xp = coefficients.__array_namespace__()
    radius = xp.linspace(0.0, FARTHEST, _SAMPLES)
    radius = xp.broadcast_to(radius, (*coefficients.shape[:-1], _SAMPLES))
    scale, slope = _radial(radius**2, coefficients, fisheye)
    falls = ~(scale + 2 * slope * radius**2 > 0)  # also where it is no number
    falls = falls | xp.concat([falls[..., :1], xp.diff(scale * radius) <= 0], axis=-1)  # over a pole between samples
    first = xp.argmax(falls, -1)
    return xp.where(falls.any(-1), (first - 1) * (FARTHEST / (_SAMPLES - 1)), FARTHEST)


def invert(points: Array, coefficients: Array, fisheye: bool = False) -> tuple[Array, Array]:
    """Ideal points from distorted ones, by Newton's method.

    Args:
        points: (..., N, 2) distorted.
        coefficients: (C,) or (..., C).
        fisheye: which model they are of.

    Returns:
        (..., N, 2) ideal points, and whether each is one that the lens shows there (..., N): the others, outside the
        range in which the lens is monotonic, are the origin.
    """
    xp = points.__array_namespace__()
    limit = monotonic_radius(coefficients, fisheye)
    limit = limit[..., None] if limit.ndim else limit
    away = xp.sqrt((points**2).sum(-1))
    start = xp.minimum(away, 0.9 * limit) / xp.maximum(away, 1e-12)
    ideal = xp.where(xp.isfinite(points), points, 0.0) * xp.where(xp.isfinite(start), start, 0.0)[..., None]
    for _ in range(_STEPS):
        off = points - distort(ideal, coefficients, fisheye)
        jacobian = distortion_jacobian(ideal, coefficients, fisheye)
        a, b, c, d = (jacobian[..., i, j] for i in range(2) for j in range(2))
        det = a * d - b * c
        det = xp.where(xp.abs(det) > 1e-9, det, 1e-9)
        step = xp.stack([d * off[..., 0] - b * off[..., 1], a * off[..., 1] - c * off[..., 0]], -1) / det[..., None]
        length = xp.sqrt((step**2).sum(-1))
        longest = 0.25 + 0.5 * xp.sqrt((ideal**2).sum(-1))
        step = step * xp.minimum(1.0, longest / xp.maximum(length, 1e-12))[..., None]
        moved = ideal + xp.where(xp.isfinite(step), step, 0.0)
        out = xp.sqrt((moved**2).sum(-1))
        ideal = moved * xp.minimum(1.0, limit / xp.maximum(out, 1e-12))[..., None]  # never beyond the border
    off = xp.sqrt(((distort(ideal, coefficients, fisheye) - points) ** 2).sum(-1))
    precise = 1e3 * float(xp.finfo(ideal.dtype).eps)
    inside = off <= precise * xp.maximum(1.0, away)
    return xp.where(inside[..., None], ideal, 0.0), inside


def shown(points: np.ndarray, lens: Lens | None) -> np.ndarray:
    """Where a lens shows ideal points (..., 2); without a lens they stay.

    What is beyond the range in which the lens is monotonic is moved as what is at its border.
    """
    if lens is None:
        return points
    out = np.linalg.norm(points, axis=-1, keepdims=True)
    share = np.minimum(1.0, monotonic_radius(lens.coefficients, lens.fisheye) / np.maximum(out, 1e-12))
    return distort(points * share, *lens) / share


def straightened(points: np.ndarray, lens: Lens | None) -> np.ndarray:
    """Ideal points (..., N, 2) from distorted ones, NaN where the lens shows nothing; without a lens they stay."""
    if lens is None:
        return points
    ideal, inside = invert(points, *lens)
    return np.where(inside[..., None], ideal, np.nan)


def undistort(points: np.ndarray, coefficients: np.ndarray, fisheye: bool = False) -> np.ndarray:
    """Ideal points (..., N, 2) from distorted ones, of NumPy; `invert` is for JAX and for points that may be outside.

    Raises:
        ValueError: a point is outside the range in which the lens is monotonic.
    """
    ideal, inside = invert(points, coefficients, fisheye)
    if not inside.all():
        outside = points[~inside][0]
        raise ValueError(
            f"The lens model has no inverse at ({outside[0]:.3g}, {outside[1]:.3g}) of the image plane, "
            f"{int((~inside).sum())} of {inside.size} points: it was fitted to a narrower field of view, so use fewer "
            "coefficients or leave out what is so near to the border."
        )
    return ideal


def _named(coefficients: Array) -> dict[str, Any]:
    """Brown's coefficients by name, to be multiplied with points (..., N); those that are not given are 0."""
    names = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4")
    column = (lambda i: coefficients[..., i, None]) if coefficients.ndim > 1 else (lambda i: coefficients[i])
    count = coefficients.shape[-1]
    return {name: column(i) if i < count else 0.0 for i, name in enumerate(names)}


def _radial(r2: Array, coefficients: Array, fisheye: bool) -> tuple[Array, Array]:
    """By how much the radius grows, and the derivative of that by the squared radius; both shaped as r2."""
    xp = r2.__array_namespace__()
    if not fisheye:
        c = _named(coefficients)
        above = 1 + r2 * (c["k1"] + r2 * (c["k2"] + r2 * c["k3"]))
        above_slope = c["k1"] + r2 * (2 * c["k2"] + 3 * r2 * c["k3"])
        if coefficients.shape[-1] <= 5:
            return above, above_slope
        below = 1 + r2 * (c["k4"] + r2 * (c["k5"] + r2 * c["k6"]))
        below_slope = c["k4"] + r2 * (2 * c["k5"] + 3 * r2 * c["k6"])
        return above / below, (above_slope * below - above * below_slope) / below**2
    k = [coefficients[..., i, None] if coefficients.ndim > 1 else coefficients[i] for i in range(4)]
    small = r2 < 1e-8
    safe = xp.where(small, 1.0, r2)
    radius = xp.sqrt(safe)
    angle = xp.arctan(radius)
    t2 = angle**2
    bent = angle * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))
    bent_slope = 1 + t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * (7 * k[2] + t2 * 9 * k[3])))
    scale = bent / radius
    slope = (bent_slope / (1 + safe) - scale) / (2 * safe)
    near = k[0] - 1 / 3  # the series of the quotient
    return xp.where(small, 1 + near * r2, scale), xp.where(small, near, slope)
