"""The camera that took an image: given, written into the file, told by its people, or a default."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hmr_jax.geometry.calibrated import Camera
from hmr_jax.geometry.cameras import NOMINAL_CROP
from hmr_jax.geometry.distortion import Lens, invert, make_lens, shown, straightened

Source = Literal["given", "exif", "people", "default", "hmr2"]
"""Where a camera is from."""
DEFAULT_FIELD_OF_VIEW = 60.0
"""Degrees over the diagonal of an image whose camera is not known: between a phone's main camera and a normal lens."""
DEFAULT_UNCERTAINTY = 0.3
UNCERTAINTY: dict[Source, float | None] = {"given": 0.0, "exif": 0.05, "default": DEFAULT_UNCERTAINTY, "hmr2": None}
"""Relative, of the focal length and so of distances, about one standard deviation; estimates. EXIF: its millimetres are
rounded, and zooming by software is not always in them. Default: the usual lenses, 26 to 50 mm of the 35 mm format, are
that far from it. HMR2.0's lens is much longer than real ones. People tell their own, see `geometry.standing`."""
FOCAL_RANGE = (0.1, 1000.0)
"""Focal lengths in longer sides of the image; outside are numbers in another unit."""
# What no camera has, but numbers in another unit or order do, in longer sides of the image or as a ratio.
_FARTHEST_CENTER = 10.0
_LARGEST_ASPECT = 2.0
_LARGEST_SKEW = 1e-3
_SAME_ASPECT = 0.01
_FIELDS = ("matrix", "intrinsics", "distortion", "fisheye")  # of a camera as a mapping


class ImageCamera(NamedTuple):
    """The camera of an image, px."""

    focal_length: np.ndarray
    """(2,) along x and y."""
    principal_point: np.ndarray
    """(2,)"""
    source: Source
    lens: Lens | None = None
    """How it distorts; None: not at all."""
    uncertainty: float | None = None
    """Relative, of the focal length; None: that of the source."""

    @property
    def relative_uncertainty(self) -> float | None:
        """Of the focal length, about one standard deviation; None: it is not meant to be true."""
        return UNCERTAINTY[self.source] if self.uncertainty is None else self.uncertainty

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) metres in the camera's axes -> (..., 2) px, as the lens shows them."""
        return shown(points[..., :2] / points[..., 2:], self.lens) * self.focal_length + self.principal_point

    def straightened(self, pixels: np.ndarray) -> np.ndarray:
        """(..., N, 2) px -> where the camera without its lens has the same; NaN where the lens shows nothing."""
        if self.lens is None:
            return pixels
        ideal = straightened((pixels - self.principal_point) / self.focal_length, self.lens)
        return ideal * self.focal_length + self.principal_point

    def describe(self) -> dict[str, Any]:
        """As result files have it: with the lens, if it distorts."""
        fields = {name: getattr(self, name) for name in ("focal_length", "principal_point", "source")}
        lens = {} if self.lens is None else {"lens": self.lens.describe()}
        return fields | {"relative_uncertainty": self.relative_uncertainty} | lens


def image_camera(
    image_size: tuple[int, int], intrinsics: Any, exif: float | None = None, crop_focal_length: float | None = None
) -> ImageCamera:
    """The camera of an image: as given, else by EXIF, else the default.

    Args:
        image_size: width and height, px.
        intrinsics: as for `camera_of`; a calibrated `Camera`; {"matrix": as for `camera_of`, "distortion": as for
            `make_lens`, "fisheye": False}, where "intrinsics" is another name of the matrix; an `ImageCamera`; or None.
        exif: focal length in px by `hmr_jax.io.exif`, or None.
        crop_focal_length: as for `camera_of`; with HMR2.0's default EXIF is not used.

    Raises:
        ValueError: as `camera_of` and `make_lens`; the calibration is of images of another aspect; the lens does not
            show the whole image; or a lens is given with HMR2.0's default, which knows none.
    """
    if isinstance(intrinsics, ImageCamera):
        return intrinsics
    lens = None
    if isinstance(intrinsics, Camera):
        intrinsics, lens = _of_calibrated(intrinsics, image_size)
    elif isinstance(intrinsics, Mapping):
        intrinsics, lens = _of_mapping(intrinsics)
    if lens is not None and crop_focal_length is not None:
        raise ValueError("HMR2.0's camera knows no lens distortion: take the camera 'perspective', or give no lens.")
    source: Source = "given"
    if intrinsics is None:
        source = "hmr2" if crop_focal_length is not None else "default" if exif is None else "exif"
        if source == "exif":
            intrinsics = (exif, exif, image_size[0] / 2, image_size[1] / 2)
    camera = ImageCamera(*camera_of(image_size, intrinsics, crop_focal_length), source, lens)
    if lens is not None:
        check_lens(lens, camera.focal_length, camera.principal_point, image_size)
    return camera


def check_lens(lens: Lens, focal_length: np.ndarray, principal_point: np.ndarray, image_size: tuple[int, int]) -> None:
    """Raises ValueError if a lens shows nothing in the middles of the image's sides.

    Args:
        lens: of the camera.
        focal_length: (2,) px.
        principal_point: (2,) px.
        image_size: width and height, px.
    """
    width, height = image_size
    middles = np.array([[0, height / 2], [width - 1, height / 2], [width / 2, 0], [width / 2, height - 1]])
    if not invert((middles - principal_point) / focal_length, *lens)[1].all():
        raise ValueError(
            "Its lens coefficients fold the image before its border, so they are wrong, or of another model: are they "
            "of the fisheye model, or in another order than k1, k2, p1, p2, k3?"
        )


def camera_of(
    image_size: tuple[int, int], intrinsics: Sequence | np.ndarray | None, crop_focal_length: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Focal length (2,) and principal point (2,), px, from intrinsics, or a default for an image of (width, height).

    Args:
        image_size: width and height, px.
        intrinsics: (3, 3) or fx, fy, cx, cy in px of this image; one leading axis of length 1 is ignored.
        crop_focal_length: of HMR2.0's default, in px of a crop of `NOMINAL_CROP`. None: the default is a field of view
            of `DEFAULT_FIELD_OF_VIEW`.

    Raises:
        ValueError: if the intrinsics have another shape or are of no camera that took this image: transposed, with
            skew, normalised by the image's size, or not finite.
    """
    longer = max(image_size)
    if intrinsics is None:
        if crop_focal_length is None:
            focal_length = np.hypot(*image_size) / 2 / np.tan(np.radians(DEFAULT_FIELD_OF_VIEW / 2))
        else:
            focal_length = crop_focal_length / NOMINAL_CROP * longer
        return np.full(2, focal_length, np.float32), np.array(image_size, np.float32) / 2
    try:
        values = np.asarray(intrinsics, np.float64)
    except (TypeError, ValueError):
        raise _refused(intrinsics, "they are no numbers") from None
    if values.shape in ((1, 3, 3), (1, 4)):
        values = values[0]
    if values.shape == (3, 3):
        values = _four_of_matrix(values)
    if values.shape != (4,):
        raise _refused(values, f"they have shape {values.shape}")
    focal, center = values[:2], values[2:]
    width, height = image_size
    if not np.isfinite(values).all() or (focal <= 0).any():
        raise _refused(values, "focal lengths must be positive, and all numbers finite")
    if focal.min() < FOCAL_RANGE[0] * longer or ((center > 0).all() and (center <= 1).all() and longer > 2):
        raise _refused(values, f"for an image of {width}x{height} they are too small for pixels")
    if focal.max() > FOCAL_RANGE[1] * longer or np.abs(center).max() > _FARTHEST_CENTER * longer:
        raise _refused(values, f"for an image of {width}x{height} they are too large for pixels")
    if focal.max() > _LARGEST_ASPECT * focal.min():
        raise _refused(values, "the focal lengths along x and y are too different")
    return focal.astype(np.float32), center.astype(np.float32)


def intrinsics_of_each(intrinsics: Any, count: int) -> list:
    """What `camera_of` takes of each of some images, from intrinsics of all, (3, 3) or (4,), or of each.

    Args:
        intrinsics: also (count, 3, 3), (count, 4), or a list of what `camera_of` takes; None: there are none.
        count: number of images.

    Raises:
        ValueError: they are of another number of images.
    """
    one = isinstance(intrinsics, str | ImageCamera | Camera | Mapping)
    several = list(intrinsics) if np.iterable(intrinsics) and not one else []
    if not several or not all(map(_is_of_one, several)):
        return [intrinsics] * count
    if len(several) not in (1, count):
        raise ValueError(f"{count} images but intrinsics of {len(several)}: give one for all, or one per image.")
    return several if len(several) == count else several * count


def _is_of_one(intrinsics: Any) -> bool:
    """Whether they are a whole camera, and no row of a matrix, if they stand in a list."""
    if intrinsics is None or isinstance(intrinsics, ImageCamera | Camera | Mapping):
        return True
    try:
        values = np.asarray(intrinsics)
    except ValueError:
        return False
    return values.shape == (3, 3) or (values.shape == (4,) and values[0] != 0)  # [K | 0] has rows of four, too


def _of_calibrated(camera: Camera, image_size: tuple[int, int]) -> tuple[np.ndarray, Lens | None]:
    """The matrix of a calibrated camera for images of a size, (3, 3) px, and its lens."""
    width, height = image_size
    if camera.image_size is None:
        return camera.intrinsics, camera.lens
    of_width, of_height = camera.image_size
    if abs(width * of_height / (height * of_width) - 1) > _SAME_ASPECT:
        raise ValueError(
            f"Camera '{camera.name}' was calibrated with images of {of_width}x{of_height}, but this one has "
            f"{width}x{height}: give an image that is not cropped or turned."
        )
    return camera.shown_at(width, height).intrinsics, camera.lens


def _of_mapping(given: Mapping[str, Any]) -> tuple[Any, Lens | None]:
    """Matrix and lens out of {"matrix": ..., "distortion": ...}."""
    matrix = given.get("matrix", given.get("intrinsics"))
    if matrix is None or (unknown := set(given) - set(_FIELDS)):
        found = f"has '{min(map(str, unknown))}'" if matrix is not None else "has no matrix"
        raise ValueError(f"A camera {found}: give {', '.join(_FIELDS)}, where intrinsics is another name of matrix.")
    fisheye = given.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise ValueError(f"fisheye is {fisheye!r:.40}: give true or false.")
    coefficients = given.get("distortion")
    return matrix, None if coefficients is None else make_lens(coefficients, fisheye)


def _four_of_matrix(matrix: np.ndarray) -> np.ndarray:
    """(3, 3) -> fx, fy, cx, cy."""
    if (matrix[2] != (0, 0, 1)).any() and (matrix[:, 2] == (0, 0, 1)).all():
        raise _refused(matrix, "the matrix is transposed")
    if (matrix[2] != (0, 0, 1)).any() or matrix[1, 0] != 0:
        raise _refused(matrix, "the matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    if not abs(matrix[0, 1]) <= _LARGEST_SKEW * abs(matrix[0, 0]):
        raise _refused(matrix, f"the matrix has a skew of {matrix[0, 1]:g}: undistort the image, or set it to 0")
    return matrix[[0, 1, 0, 1], [0, 1, 2, 2]]


def _refused(intrinsics: Any, reason: str) -> ValueError:
    given = f"{intrinsics.tolist() if isinstance(intrinsics, np.ndarray) else intrinsics}"
    shown = given if len(given) < 100 else f"{given[:96]} ..."
    return ValueError(f"Intrinsics {shown}: {reason}; give fx, fy, cx, cy in pixels of the image, or a 3x3 matrix.")
