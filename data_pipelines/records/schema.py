"""The record: one person in one image, the only contract between data sets and training.

A record is a dict of NumPy values under the names of `FIELDS`; on disk it is a tf.Example in an ArrayRecord file that
TFDS manages. This module defines the schema, makes records from arrays and finds what is wrong with one. Importing it
does not import TensorFlow.

Pixels: whole numbers are pixel centres, (0, 0) is the centre of the top left pixel. Metres, camera axes: x right, y
down, z forward. Rotations are axis-angle.

Shapes: H and W of the stored image.
"""

import io
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

Record = dict[str, Any]
DepthKind = Literal["none", "metric", "inverse"]

DEPTH_STEP = {"metric": 1e-3, "inverse": 1 / 65535}
"""What one grey level of a stored depth map means: metric: a millimetre (so at most 65.5 m); inverse: a relative
inverse depth in (0, 1], larger is nearer. Level 0 means that nothing was seen."""


class Field(NamedTuple):
    """Shape and type of one value of a record; dtype "bytes" and "str" are both stored as bytes."""

    shape: tuple[int, ...]
    dtype: str


FIELDS: dict[str, Field] = {
    "key": Field((), "str"),  # unique in its data set; names the record in messages
    "dataset": Field((), "str"),
    "topology": Field((), "str"),  # of the body that smpl/* belongs to; "" where there are no body parameters
    "gender": Field((), "str"),  # n, m or f
    "image/encoded": Field((), "bytes"),  # JPEG of the person's surroundings
    "image/height": Field((), "int64"),
    "image/width": Field((), "int64"),
    "image/source_box": Field((4,), "float32"),  # left, top, right, bottom in the original image
    "box/center": Field((2,), "float32"),  # px of the stored image
    "box/size": Field((), "float32"),
    "keypoints_2d": Field((44, 3), "float32"),  # px of the stored image, confidence; 0 = absent
    "keypoints_3d": Field((44, 4), "float32"),  # metres, confidence; absolute where depth/kind is metric
    "smpl/global_orient": Field((3,), "float32"),
    "smpl/body_pose": Field((69,), "float32"),
    "smpl/betas": Field((10,), "float32"),
    "smpl/translation": Field((3,), "float32"),
    "smpl/has_pose": Field((), "float32"),
    "smpl/has_betas": Field((), "float32"),
    "smpl/has_translation": Field((), "float32"),
    "camera/intrinsics": Field((3, 3), "float32"),  # of the stored image
    "camera/has_intrinsics": Field((), "float32"),
    "mask/encoded": Field((), "bytes"),  # PNG of the image's size, not 0 on the person; empty: absent
    "depth/encoded": Field((), "bytes"),  # 16-bit PNG of the image's size, see DEPTH_STEP; empty: absent
    "depth/kind": Field((), "str"),  # none, metric or inverse
    "box/extent": Field((2,), "float32"),  # width and height before it became a square, px; 0: unknown
    "image/source_size": Field((2,), "float32"),  # width and height of the original image, px; 0: unknown
    "doubt": Field((), "str"),  # why the labels of a test split's record may be wrong; empty: no doubt
}
ADDED = ("box/extent", "image/source_size", "doubt")
"""Fields that data sets built by earlier versions lack; they read as zeros and as empty."""


def features() -> Any:
    """The schema as a `tfds.features.FeaturesDict`; slashes become nesting. Imports TFDS."""
    import tensorflow_datasets as tfds

    def feature(field: Field) -> Any:
        if field.dtype in ("bytes", "str"):
            return tfds.features.Text()
        return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype))

    return tfds.features.FeaturesDict(nest({name: feature(field) for name, field in FIELDS.items()}))


def nest(record: Mapping[str, Any]) -> dict[str, Any]:
    """{"image/height": x} -> {"image": {"height": x}}, the form in which a TFDS builder yields a record."""
    nested: dict[str, Any] = {}
    for name, value in record.items():
        group, _, leaf = name.rpartition("/")
        (nested.setdefault(group, {}) if group else nested)[leaf] = value
    return nested


def encode(
    image: np.ndarray | bytes,
    *,
    key: str,
    dataset: str,
    box_center: np.ndarray,
    box_size: float,
    keypoints_2d: np.ndarray,
    keypoints_3d: np.ndarray | None = None,
    pose: np.ndarray | None = None,
    betas: np.ndarray | None = None,
    translation: np.ndarray | None = None,
    topology: str = "",
    gender: Literal["n", "m", "f"] = "n",
    intrinsics: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    depth_kind: DepthKind = "metric",
    source_box: np.ndarray | None = None,
    quality: int = 90,
    box_extent: np.ndarray | None = None,
    doubt: str = "",
    source_size: np.ndarray | None = None,
) -> Record:
    """Makes a record; what is None is stored as absent.

    Args:
        image: (H, W, 3) uint8, or the contents of a JPEG file, which are stored as they are.
        key: unique name in the data set.
        dataset: name of the data set.
        box_center: (2,) centre of the person's box, px of `image`.
        box_size: side of the square box, px; usually 1.2 times the person's extent.
        keypoints_2d: (44, 3) px of `image` and confidence.
        keypoints_3d: (44, 4) metres, camera axes, and confidence; absolute if `depth` is metric.
        pose: (24, 3) or (72,) axis-angle; the first is the global orientation in camera axes.
        betas: (10,) shape.
        translation: (3,) metres, SMPL's translation in camera axes.
        topology: of the body that pose, betas belong to: "smpl", "hmr-default".
        gender: of the body: neutral, male or female.
        intrinsics: (3, 3) px of `image`.
        mask: (H, W), not 0 on the person.
        depth: (H, W) float; metres, or relative inverse depth in (0, 1]; 0 = nothing seen.
        depth_kind: what `depth` holds.
        source_box: (4,) where `image` lies in the original image; None: it is the original image.
        quality: of the JPEG.
        box_extent: (2,) width and height of the box that became the square one, px of `image`.
        doubt: why the labels may be wrong, for people that a test split must not leave out.
        source_size: (2,) width and height of the original image, px.
    """
    if isinstance(image, bytes):
        width, height = Image.open(io.BytesIO(image)).size
    else:
        height, width = image.shape[:2]
        image = _compress(image, "JPEG", quality=quality)
    full_pose = np.zeros(72) if pose is None else np.reshape(pose, 72)
    return {
        "key": key,
        "dataset": dataset,
        "topology": topology,
        "gender": gender,
        "image/encoded": image,
        "image/height": height,
        "image/width": width,
        "image/source_box": _array("image/source_box", (0, 0, width, height) if source_box is None else source_box),
        "box/center": _array("box/center", box_center),
        "box/size": np.float32(box_size),
        "keypoints_2d": _array("keypoints_2d", keypoints_2d),
        "keypoints_3d": _array("keypoints_3d", keypoints_3d),
        "smpl/global_orient": _array("smpl/global_orient", full_pose[:3]),
        "smpl/body_pose": _array("smpl/body_pose", full_pose[3:]),
        "smpl/betas": _array("smpl/betas", betas),
        "smpl/translation": _array("smpl/translation", translation),
        "smpl/has_pose": np.float32(pose is not None),
        "smpl/has_betas": np.float32(betas is not None),
        "smpl/has_translation": np.float32(translation is not None),
        "camera/intrinsics": _array("camera/intrinsics", intrinsics),
        "camera/has_intrinsics": np.float32(intrinsics is not None),
        "mask/encoded": b"" if mask is None else _compress(np.asarray(mask) > 0, "PNG", compress_level=1),
        "depth/encoded": b"" if depth is None else encode_depth(depth, depth_kind),
        "depth/kind": "none" if depth is None else depth_kind,
        "box/extent": _array("box/extent", box_extent),
        "image/source_size": _array("image/source_size", source_size),
        "doubt": doubt,
    }


def encode_depth(depth: np.ndarray, kind: DepthKind) -> bytes:
    """(H, W) float -> 16-bit PNG in units of `DEPTH_STEP`; depth beyond 16 bits saturates.

    NaN and negative depth count as not seen.
    """
    levels = np.clip(np.rint(np.nan_to_num(depth) / DEPTH_STEP[kind]), 0, 65535).astype(np.uint16)
    return _compress(levels, "PNG", compress_level=1)


def decode_mask(encoded: bytes) -> np.ndarray:
    """PNG -> (H, W) uint8, 1 on the person."""
    return (np.asarray(Image.open(io.BytesIO(encoded)).convert("L")) > 0).view(np.uint8)


def decode_depth(encoded: bytes, kind: str) -> np.ndarray:
    """16-bit PNG -> (H, W) float32, metres or relative inverse depth; 0 = nothing seen."""
    return np.asarray(Image.open(io.BytesIO(encoded)), np.float32) * np.float32(DEPTH_STEP[kind])


def _array(name: str, value: Any) -> np.ndarray:
    shape, dtype = FIELDS[name]
    return np.zeros(shape, dtype) if value is None else np.asarray(value, dtype).reshape(shape)


def _compress(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
