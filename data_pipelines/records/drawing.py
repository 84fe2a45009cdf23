"""Draws a record: its keypoints on the image, and next to them the body that its labels describe.

The body has the record's translation and camera. Where these are absent (HMR2.0's data), the camera has HMR2.0's focal
length, and the translation is the one with which the body's keypoints project best onto the 2-D ones.

Shapes: K keypoints.
"""

import jax
import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from data_pipelines.records import Record
from data_pipelines.records.reader import Person
from hmr_jax.body import skin
from hmr_jax.body.genders import Gender
from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.body.labelled import LabelledBodies, load_labelled_bodies
from hmr_jax.rendering.contact_sheet import caption
from hmr_jax.rendering.overlay import draw_bodies
from hmr_jax.rendering.plots import draw_points

SIDE = 320
"""Of a panel, px."""
FOCAL = 5000 / 256
"""Focal length in units of the box where the camera is not known (HMR2.0)."""
_skin = jax.jit(skin)
COLORS = tuple(
    (255, 170, 60) if "right" in name else (90, 190, 255) if "left" in name else (120, 230, 140)
    for name in KEYPOINTS_44
)
"""Right orange, left blue, middle green: swapped sides show."""


def draw_record(record: Record, person: Person, body: str = "") -> np.ndarray:
    """(SIDE, 2 SIDE, 3) uint8: keypoints, and the body.

    Args:
        record: the record.
        person: what it decodes to.
        body: source of the SMPL bodies, see `LabelledBodies`; "": the built-in one, for labels of it.
    """
    image = person.image
    keypoints = record["keypoints_2d"]
    factor = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = np.zeros((SIDE, SIDE, 3), np.uint8)
    small[: size[1], : size[0]] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    points = np.where(keypoints[:, 2:] > 0, (keypoints[:, :2] + 0.5) * factor - 0.5, np.nan)
    box = [(record["box/center"] + 0.5 + side * record["box/size"] / 2) * factor for side in (-1, 1)]
    left = _frame(draw_points(small, points, COLORS, radius=3), box)
    right, reason = small, ""
    if not record["smpl/has_pose"]:
        reason = "no pose"
    elif body or record["topology"] == "hmr-default":
        right = _with_body(record, small, factor, load_labelled_bodies(body or "default"))
    else:
        reason = f"a '{record['topology']}' body: give --body"
    return np.concatenate([left, caption(right, reason) if reason else right], 1)


def _with_body(record: Record, image: np.ndarray, factor: float, bodies: LabelledBodies) -> np.ndarray:
    gender: Gender = record["gender"]
    pose = np.concatenate([record["smpl/global_orient"], record["smpl/body_pose"]])[None]
    betas = record["smpl/betas"][None]
    if record["camera/has_intrinsics"]:
        intrinsics = record["camera/intrinsics"].astype(np.float64)
    else:
        focal = FOCAL * record["box/size"]
        intrinsics = np.array([[focal, 0, record["box/center"][0]], [0, focal, record["box/center"][1]], [0, 0, 1]])
    if record["smpl/has_translation"]:
        translation = record["smpl/translation"]
    else:
        translation = fit_translation(bodies.keypoints(gender, pose, betas)[0], record["keypoints_2d"], intrinsics)
    rotations = Rotation.from_rotvec(pose.reshape(24, 3)).as_matrix()[None].astype(np.float32)
    model = bodies.model(gender)
    vertices = np.asarray(_skin(model, betas, rotations).vertices)[0] + translation
    if vertices[:, 2].min() < 0.1:
        return caption(image, "behind the camera")
    scaled = intrinsics.copy()
    scaled[:2] *= factor
    scaled[:2, 2] = (intrinsics[:2, 2] + 0.5) * factor - 0.5
    return draw_bodies(image, [vertices], model.faces, scaled, opacity=0.75)


def fit_translation(keypoints_3d: np.ndarray, keypoints_2d: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(3,) translation, metres, with which 3-D keypoints project best onto 2-D ones: linear least squares.

    (x - cx) (Z + tz) = fx (X + tx), and alike for y, is linear in the translation.

    Args:
        keypoints_3d: (K, 3) metres.
        keypoints_2d: (K, 3) px and confidence.
        intrinsics: (3, 3) px.
    """
    seen = keypoints_2d[:, 2] > 0
    if seen.sum() < 3:
        return np.array([0, 0, 10.0])
    ray = (keypoints_2d[seen, :2] - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]  # (k, 2)
    known = keypoints_3d[seen]
    rows, right = [], []
    for axis in range(2):
        coefficients = np.zeros((len(ray), 3))
        coefficients[:, axis], coefficients[:, 2] = 1, -ray[:, axis]
        rows.append(coefficients)
        right.append(ray[:, axis] * known[:, 2] - known[:, axis])
    return np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]


def _frame(image: np.ndarray, corners: list[np.ndarray]) -> np.ndarray:
    """A thin white box on a copy of an image."""
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).rectangle([*corners[0].tolist(), *corners[1].tolist()], outline=(255, 255, 255))
    return np.asarray(canvas)
