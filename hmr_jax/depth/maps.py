"""Pseudo-depth: maps of estimated depth on disk and in memory, and their normalised crops, which networks take.

Files hold a map of the size of their image: NAME.npz with "depth" and, if it is not inverse, "kind"; NAME.npy; or a
16-bit NAME.png. Depth networks are at best right up to scale and shift, so each crop is normalised by itself: inverse
depth, scaled so that its 2nd percentile becomes 0 and its 98th 1. Unknown depth is 0 everywhere.

Shapes: H, W the image, S side of the crop.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from hmr_jax.io import atomic, npy
from hmr_jax.io.research_files import plain_arrays

Kind = Literal["inverse", "metric"]
KINDS: tuple[Kind, ...] = ("inverse", "metric")
SUFFIXES = (".npz", ".npy", ".png")
"""Of depth files, in the order in which they are tried."""
PERCENTILES = (2, 98)
KNOWN = 0.01
"""A crop of which less than this share has known depth counts as having none."""
SAMPLED = 128
"""Number of rows and columns, at least, from which the percentiles are computed."""
_HALF_MAX = 65504.0  # of float16


@dataclass(frozen=True)
class DepthMap:
    """The depth of an image."""

    values: np.ndarray
    """(H, W) float32, not negative; 0: unknown. `from_values` ensures this."""
    kind: Kind = "inverse"
    """"inverse": larger is nearer, in any unit; "metric": metres."""

    @classmethod
    def from_values(cls, values: np.ndarray, kind: str = "inverse", name: str = "The depth map") -> "DepthMap":
        """Makes a map from any real numbers; those that are not finite, or negative, become unknown.

        Args:
            values: (H, W) real numbers; a first or last axis of length 1 is removed.
            kind: "inverse" or "metric".
            name: of the map, for messages.

        Raises:
            ValueError: if the values are not a map of real numbers, or the kind is unknown.
        """
        kinds = {one: one for one in KINDS}
        if kind not in kinds:
            raise ValueError(f"{name} is of the unknown kind '{kind}': use {' or '.join(KINDS)}.")
        values = np.asarray(values)
        if values.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds {values.dtype} and not real numbers.")
        shape = values.shape
        if values.ndim == 3 and 1 in (shape[0], shape[2]):
            values = values[0] if shape[0] == 1 else values[..., 0]
        if values.ndim != 2 or not values.size:
            raise ValueError(f"{name} has the shape {shape}; expected (height, width) of its image.")
        with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is not finite either
            values = values.astype(np.float32)
            return cls(np.where(np.isfinite(values) & (values > 0), values, np.float32(0)), kinds[kind])

    def check_size(self, image_size: tuple[int, int], name: str = "The depth map") -> None:
        """Raises ValueError unless the map has the (width, height) of its image."""
        height, width = self.values.shape
        if (width, height) != image_size:
            raise ValueError(
                f"{name} is {width}x{height} but its image {image_size[0]}x{image_size[1]}: "
                "a depth map has the size of its image."
            )


def normalize(values: np.ndarray, kind: str) -> tuple[np.ndarray, bool]:
    """Normalised inverse depth of a crop, and whether it has any.

    Args:
        values: (S, S) of a `DepthMap`, 0 where unknown or outside the image.
        kind: of the map.

    Returns:
        (S, S) float32 in [0, 1]: 1 at the 98th percentile of the known values and nearer; 0 at the 2nd, farther, and
        where depth is unknown. And False if less than `KNOWN` of it is known, or all is equally far.
    """
    known = values > 0
    nothing = np.zeros(values.shape, np.float32), False
    if known.mean() < KNOWN:
        return nothing
    inverse = values.astype(np.float64)
    if kind == "metric":
        inverse = 1 / np.where(known, inverse, 1)
    step = max(1, len(values) // SAMPLED)
    sample = inverse[::step, ::step][known[::step, ::step]]
    far, near = np.percentile(sample, PERCENTILES) if len(sample) else (0, 0)
    if not near - far > 1e-6 * near:
        return nothing
    scaled = np.clip((inverse - far) / (near - far), 0, 1)
    return np.where(known, scaled, 0).astype(np.float32), True


def to_levels(scaled: np.ndarray) -> np.ndarray:
    """[0, 1] -> uint8, the type in batches."""
    return np.rint(255 * scaled).astype(np.uint8)


def crop_depth(depth: DepthMap | None, center: np.ndarray, side: float, size: int) -> tuple[np.ndarray, bool]:
    """The normalised depth of the square that `geometry.crops.extract_crop` cuts out of the image, by nearest pixels.

    Args:
        depth: of the whole image; None: there is none.
        center: (2,) of the square, px.
        side: of the square, px.
        size: S.

    Returns:
        (S, S) uint8, near = 255, and whether there is any depth.
    """
    if depth is None:
        return np.zeros((size, size), np.uint8), False
    steps = (np.arange(size) - size / 2) * (side / size)
    cut = np.zeros((size, size), np.float32)
    (rows, y), (columns, x) = (_inside(center[axis] + steps, depth.values.shape[1 - axis]) for axis in (1, 0))
    cut[np.ix_(rows, columns)] = depth.values[np.ix_(y, x)]
    scaled, has = normalize(cut, depth.kind)
    return to_levels(scaled), has


def _inside(positions: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the positions that round to a pixel of the image, and these pixels."""
    nearest = np.rint(positions)
    inside = np.flatnonzero((nearest >= 0) & (nearest < length))
    return inside, nearest[inside].astype(int)


def read_depth(path: str | Path, kind: Kind = "inverse") -> DepthMap:
    """Reads a depth file.

    Args:
        path: .npz, .npy or 16-bit .png.
        kind: of a file that does not state it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds no depth map; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no depth file {path}.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} is not a depth file: it must be {', '.join(SUFFIXES[:-1])} or 16-bit {SUFFIXES[-1]}.")
    try:
        values, stated = _read_png(path) if path.suffix.lower() == ".png" else _read_numpy(path)
    except _NoDepth as error:
        raise ValueError(f"{path} {error}") from None
    # Each format raises its own errors for damaged bytes.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a depth map, it is damaged or cut off: {_short(error)}") from error
    return DepthMap.from_values(values, stated or kind, str(path))


class _NoDepth(Exception):
    """A readable file without a depth map; the message follows the file's name."""


def _read_numpy(path: Path) -> tuple[np.ndarray, str | None]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
        file.seek(0)
        if not zipped:
            return npy.read_data(file, npy.read_header(file)), None
        arrays = plain_arrays(file)
    if "depth" not in arrays:
        raise _NoDepth(f"holds {', '.join(arrays)}; expected 'depth' and, if metric, 'kind'.")
    return arrays["depth"], str(arrays["kind"]) if "kind" in arrays else None


def _read_png(path: Path) -> tuple[np.ndarray, None]:
    with Image.open(path, formats=["PNG"]) as image:
        if not image.mode.startswith("I"):
            raise _NoDepth(f"is a PNG of mode {image.mode}; depth needs one grey channel of 16 bits.")
        return np.asarray(image), None


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200].rstrip(".") + "."


def write_depth(path: str | Path, depth: DepthMap, source: str) -> None:
    """Writes an .npz file that `read_depth` reads: float16, inverse depth as a share of its largest value.

    Args:
        path: of the file; it appears there only when it is complete.
        depth: the map.
        source: its origin, stored in the file.
    """
    path, values = Path(path), depth.values
    if depth.kind == "inverse":
        values = values / max(float(values.max()), np.finfo(np.float32).tiny)
    half = np.minimum(values, _HALF_MAX).astype(np.float16)
    half[(half == 0) & (values > 0)] = np.finfo(np.float16).smallest_subnormal  # far, but not unknown
    arrays = {"depth": half, "kind": np.array(depth.kind), "source": np.array(source)}
    atomic.write_npz(path, arrays)
