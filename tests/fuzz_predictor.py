"""Fuzzes `Predictor` with small networks: lists of images, boxes, intrinsics, factors on the boxes, and depth maps.

    python tests/fuzz_predictor.py --minutes 10

The answer is an error of one sentence, or one person for each box in the order of images and boxes. Numbers are
finite, of the promised shapes, and do not depend on the batch, the other people or earlier calls. Bodies equal an
explicit skinning, and their places a least-squares fit, both by NumPy. tests/test_fuzz_predictor.py runs a bounded
number of the same examples.
"""

import functools
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny
from fuzz_inputs import JUNK, anything, number
from fuzz_loop import answer, run_for_minutes
from numpy_body import posed_body

from hmr_jax.batch import zeros
from hmr_jax.depth import DepthMap
from hmr_jax.detection.detections import Detections
from hmr_jax.geometry.boxes import square_box
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.inference import PersonPrediction, Predictor
from hmr_jax.models import build_model
from hmr_jax.models.parameters import STATISTICS, init_shapes

SIZES = (1, 2, 7, 8, 30, 33, 64, 100, 200)
ENLARGE = (1.0, 1.2, 1.2, 0.5, 3.0, 10.0, 0, -1, 11, float("nan"), float("inf"), "1.2", None, [1.2], np.float32(1.1))
SHAPES = {
    "translation": (3,), "global_orient": (1, 3, 3), "body_pose": (23, 3, 3), "betas": (10,), "camera": (3,),
    "joints": (24, 3), "keypoints_3d": (44, 3), "keypoints_2d": (44, 2), "keypoints_image": (44, 2),
    "vertices": (6890, 3), "box": (4,), "box_center": (2,), "focal_length": (2,), "principal_point": (2,),
}  # fmt: skip


class _Found:
    """Finds two boxes in every image; one of them is too small to be used."""

    def __call__(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, 0.5, 0.5], [0.1 * width, 0.2 * height, 0.9 * width + 2, height + 1]], np.float32)
        return Detections(boxes, np.array([0.9, 0.8], np.float32))


@functools.cache
def predictor(kind: str, batch_size: int) -> Predictor:
    config = tiny.d2a_config("unused") if kind == "depth" else tiny.config("unused")
    params = tiny.random_parameters(config)
    statistics = init_shapes(build_model(config.model), jax.random.key(0), zeros(1, config.data.crop_size))
    params[STATISTICS] = jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.full(leaf.shape, path[-1].key == "var", np.float32), statistics.get(STATISTICS, {})
    )
    made = Predictor(config, params, batch_size, camera="hmr2" if kind == "hmr2" else "perspective")
    made.detector = _Found()
    return made


def image(rng: random.Random) -> Any:
    """An image of noise, grey or RGB, in one of the kinds and memory layouts that users have."""
    noise = np.random.default_rng(rng.randrange(2**32))
    shape = rng.choice(SIZES), rng.choice(SIZES), *rng.choice(((), (3,), (3,), (3,), (1,)))
    array = noise.integers(0, 256, shape, np.uint8)
    layout = rng.randrange(9)
    if layout == 0:
        array = array[::-1, ::-1]
    elif layout == 1:
        array = np.asfortranarray(array)
    elif layout == 2:
        array.flags.writeable = False
    elif layout == 3:
        return jnp.asarray(array)
    elif layout == 4 and shape[2:] != (1,):
        return Image.fromarray(array)
    elif layout == 5:
        array = np.repeat(array, 2, 1)[:, ::2]
    if rng.random() < 0.03:
        return rng.choice((array.astype(np.float32), array[..., None], array[:0], *JUNK[:8]))
    return array


def box(rng: random.Random, width: int, height: int) -> list[float]:
    left, top = rng.uniform(-0.5, 0.9) * width, rng.uniform(-0.5, 0.9) * height
    sides = rng.uniform(0.1, 1.5) * width + 2, rng.uniform(0.1, 1.5) * height + 2
    if rng.random() < 0.05:
        sides = (number(rng), number(rng))
    return [left, top, left + sides[0], top + sides[1]]


def size_of(one: Any) -> tuple[int, int]:
    """Width and height of an image, or any for what is none."""
    if isinstance(one, Image.Image):
        return one.size
    shape = getattr(one, "shape", ())
    return (shape[1], shape[0]) if len(shape) >= 2 and min(shape[:2]) else (10, 10)


def boxes_of(rng: random.Random, images: list[Any]) -> Any:
    """Boxes for some images: given, to be found, or whole images."""
    kind = rng.random()
    if kind < 0.1:
        return rng.choice((None, "whole", "whole", "all", *JUNK[4:9]))
    several: list[Any] = []
    for one in images:
        rows: Any = [box(rng, *size_of(one)) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        if rng.random() < 0.04:
            rows = anything(rng)
        elif len(rows) == 1 and rng.random() < 0.3:
            rows = rows[0]
        elif rows and rng.random() < 0.6:
            rows = np.array(rows, np.float64)
            rows = rows.astype(rng.choice((np.float32, np.float64, np.int64)) if (abs(rows) < 1e9).all() else float)
        several.append(rows)
    if rng.random() < 0.03:
        several.append([])
    return np.array(several) if kind < 0.2 and len({np.shape(rows) for rows in several}) == 1 else several


def intrinsics_of(rng: random.Random, images: list[Any]) -> Any:
    def one(width: int, height: int) -> Any:
        focal = rng.uniform(0.5, 3) * max(width, height)
        four = [focal, focal * rng.uniform(0.9, 1.1), rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height]
        if rng.random() < 0.05:
            four[rng.randrange(4)] = number(rng)
        matrix = np.array([[four[0], 0, four[2]], [0, four[1], four[3]], [0, 0, 1]])
        return rng.choice((four, matrix, matrix.tolist(), np.array(four), None))

    kind = rng.random()
    if kind < 0.3:
        return None
    if kind < 0.35:
        return rng.choice((*JUNK[:9], anything(rng)))
    return one(*size_of(images[0])) if kind < 0.5 else [one(*size_of(image)) for image in images]


def depths_of(rng: random.Random, images: list[Any]) -> Any:
    def one(width: int, height: int) -> DepthMap | None:
        if rng.random() < 0.04:
            width += 1
        values = np.random.default_rng(rng.randrange(2**32)).normal(2, 1, (height, width))
        return rng.choice((None, DepthMap.from_values(values, rng.choice(("inverse", "metric")))))

    if rng.random() < 0.2:
        return None
    if rng.random() < 0.05:
        return rng.choice((*JUNK[:9], np.ones((10, 10)), [np.ones((10, 10))]))
    return [one(*size_of(image)) for image in images]


def check_people(rng: random.Random, kind: str) -> None:
    """Predicts for a random call, checks the people, and compares them with each predicted by itself."""
    images: Any = [image(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    boxes, intrinsics, depth = boxes_of(rng, images), None, None
    if images:
        intrinsics = intrinsics_of(rng, images)
        depth = depths_of(rng, images) if kind == "depth" or rng.random() < 0.02 else None
    enlarge = 1.2 if rng.random() < 0.7 else rng.choice(ENLARGE)
    given, single = images, len(images) == 1 and rng.random() < 0.4
    if single:
        given = images[0]
        boxes = boxes[0] if isinstance(boxes, list) and len(boxes) == 1 else boxes
        depth = depth[0] if isinstance(depth, list) and len(depth) == 1 else depth
    if rng.random() < 0.02:
        given, images = rng.choice(JUNK), []
    before = [np.array(one) for one in images if hasattr(one, "shape") or isinstance(one, Image.Image)]
    people = predictor(kind, rng.choice((1, 3)))(given, boxes, intrinsics, enlarge, depth)
    after = [np.array(one) for one in images if hasattr(one, "shape") or isinstance(one, Image.Image)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    wanted = boxes_in_order(images, [boxes] if single and not isinstance(boxes, str | None) else boxes)
    assert [person.image_index for person in people] == [index for index, _ in wanted]
    for person, (_, row) in zip(people, wanted, strict=True):
        np.testing.assert_array_equal(person.box, row.astype(np.float32))
        check_person(person, images[person.image_index], kind, 1.0 if isinstance(boxes, str) else enlarge)
    if people:
        number_of_it = rng.randrange(len(people))
        person, row = people[number_of_it], wanted[number_of_it][1]
        alone = intrinsics if _is_one(intrinsics, len(images)) else intrinsics[person.image_index]
        map_alone = depth[person.image_index] if isinstance(depth, list) else depth
        with np.errstate(all="ignore"):
            again = predictor(kind, 1)(
                [images[person.image_index]], [row], [alone] if alone is not None else None,
                1.0 if isinstance(boxes, str) else enlarge, [map_alone] if kind == "depth" else None,
            )  # fmt: skip
        check_same(again[0], person)


def _is_one(intrinsics: Any, count: int) -> bool:
    """Whether intrinsics are those of all images."""
    if intrinsics is None:
        return True
    shapes = [np.shape(one) if one is not None else (4,) for one in intrinsics] if np.iterable(intrinsics) else []
    return len(shapes) != count or not all(shape in ((4,), (3, 3)) for shape in shapes)


def boxes_in_order(images: list[Any], boxes: Any) -> list[tuple[int, np.ndarray]]:
    """The image and the numbers of each box, of which each must be one person's."""
    wanted: list[tuple[int, np.ndarray]] = []
    for index, one in enumerate(images):
        width, height = size_of(one)
        if boxes is None:
            rows = _Found()(np.empty((height, width))).boxes[1:]
            rows = rows[(rows[:, 2:] - rows[:, :2]).min(1) >= 2]
        else:
            rows = np.array([0, 0, width, height]) if isinstance(boxes, str) else np.array(boxes[index], np.float64)
        wanted += [(index, row) for row in rows.reshape(-1, 4)]
    return wanted


def check_person(person: PersonPrediction, given: Any, kind: str, enlarge: float) -> None:
    """Shapes, finite numbers, and what follows from others of them, computed again by NumPy."""
    fields = {name: np.asarray(getattr(person, name), np.float64) for name in SHAPES}
    for name, shape in SHAPES.items():
        assert fields[name].shape == shape, (name, fields[name].shape)
        assert np.isfinite(fields[name]).all(), name
    if kind == "depth":
        for extra in (person.sigma, person.silhouette):
            assert extra is not None
            assert np.isfinite(extra).all()
    rotations = np.concatenate([fields["global_orient"], fields["body_pose"]])
    np.testing.assert_allclose(rotations @ rotations.swapaxes(1, 2), np.tile(np.eye(3), (24, 1, 1)), atol=1e-4)
    assert (np.linalg.det(rotations) > 0).all()
    if kind != "depth":  # D2A-HMR predicts the vertices themselves
        vertices, joints = posed_body(predictor(kind, 1).body, fields["betas"], rotations)
        np.testing.assert_allclose(fields["vertices"], vertices, atol=2e-4)
        np.testing.assert_allclose(fields["joints"], joints, atol=2e-4)

    center, side = square_box(fields["box"], float(enlarge))
    np.testing.assert_allclose(fields["box_center"], center, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(person.box_size, side, rtol=1e-5)
    array = np.asarray(given.convert("RGB") if isinstance(given, Image.Image) else given)
    array = np.broadcast_to(array[..., None] if array.ndim == 2 else array, (*array.shape[:2], 3))
    wanted = extract_crop(array, person.box_center, person.box_size, 32)
    np.testing.assert_array_equal(person.crop, wanted)

    seen = fields["keypoints_image"]
    placed = fields["keypoints_3d"] + fields["translation"]
    if kind == "hmr2":  # its formula does not keep a body of a random network away from the camera
        if placed[:, 2].min() < 0.1:
            return
        shown = placed[:, :2] / placed[:, 2:] * fields["focal_length"] + fields["principal_point"]
        np.testing.assert_allclose(shown, seen, rtol=1e-3, atol=1e-3 * side)
        return
    assert placed[:, 2].min() > 0.09
    inside = np.abs((seen - fields["box_center"]) / side).max(1) < 0.5
    fitted, condition = fit(fields, np.where(inside, 1, 0.01))
    if placed[:, 2].min() > 0.11 and condition < 1e4:  # no point was held away from the camera
        np.testing.assert_allclose(fields["translation"], fitted, rtol=2e-2, atol=1e-2 * abs(fitted[2]))


def fit(fields: dict[str, np.ndarray], weights: np.ndarray) -> tuple[np.ndarray, float]:
    """The translation with which the keypoints project to where they are seen, and the condition of the problem."""
    rays = (fields["keypoints_image"] - fields["principal_point"]) / fields["focal_length"]
    points, rows, values = fields["keypoints_3d"], [], []
    for ray, point, weight in zip(rays, points, np.sqrt(weights), strict=True):
        for axis in (0, 1):
            row = [0.0, 0.0, -ray[axis]]
            row[axis] = 1.0
            rows.append(weight * np.array(row))
            values.append(weight * (ray[axis] * point[2] - point[axis]))
    solved = np.linalg.lstsq(np.array(rows), np.array(values))
    return solved[0], float(solved[3][0] / solved[3][-1])


def check_same(one: PersonPrediction, other: PersonPrediction) -> None:
    """The same numbers, but for the order of the sums in batches of two sizes."""
    for name in SHAPES:
        a, b = (np.asarray(getattr(person, name), np.float64) for person in (one, other))
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * (1 + np.abs(b).max()), err_msg=name)
    np.testing.assert_array_equal(one.crop, other.crop)


KINDS = ("perspective", "hmr2", "depth")


def one(kind: str, seed: int) -> bool:
    """Checks an example; returns whether there was a result rather than an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No depth given")
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return not answer(kind, seed, lambda: check_people(random.Random(seed), kind))[1]


def main() -> None:
    run_for_minutes(__doc__, KINDS, one)


if __name__ == "__main__":
    main()
