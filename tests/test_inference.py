"""From images and boxes to people in the camera of the whole image."""

import dataclasses
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from tiny import random_parameters

from hmr_jax.checkpoints import export
from hmr_jax.config import Config, DataConfig, DecoderConfig, EncoderConfig, ModelConfig
from hmr_jax.depth import DepthMap, crop_depth
from hmr_jax.detection import Detections
from hmr_jax.geometry.boxes import square_box
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.inference import Predictor
from hmr_jax.inference import predictor as inference
from hmr_jax.models.deforhmr import DeforHMR

ENCODER = EncoderConfig(image_size=(64, 48), dim=32, depth=1, num_heads=2)
DECODER = DecoderConfig(dim=32, depth=2, num_heads=2, head_dim=16, mlp_dim=32, offset_groups=2)
CONFIG = Config(model=ModelConfig(encoder=ENCODER, decoder=DECODER), data=DataConfig(crop_size=64))
BOXES = [np.array([[20.0, 10, 70, 90], [0, 0, 40, 110]]), np.array([[60.0, 30, 160, 120]])]


@pytest.fixture(scope="module")
def predictor():
    return Predictor(CONFIG, random_parameters(CONFIG), batch_size=2)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, shape, np.uint8) for shape in ((120, 100, 3), (150, 200, 3))]


def test_upright_crops_equal_opencvs(reference):
    case = reference("crops")
    for (x, y, side, scale, degrees, flip), patch in zip(case["boxes"], case["patches"], strict=True):
        if degrees == 0 and flip == 0:
            crop = extract_crop(case["image"], np.array([x, y]), side * scale, 256)
            assert np.abs(crop.astype(float) - patch).mean() < 1


@pytest.mark.parametrize("center", [(100.0, 80.0), (5.0, 140.0)])
def test_a_shrunk_crop_is_sampled_from_the_blurred_image(images, center):
    image, side, size = images[1], 150.0, 32
    sigma = (side / size / 2 - 1) / 2
    blurred = gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest", truncate=4)
    steps = (np.arange(size) - size / 2) * side / size
    grid = np.meshgrid(center[1] + steps, center[0] + steps, indexing="ij")
    expected = np.stack([map_coordinates(blurred[..., c], grid, order=1, mode="grid-constant") for c in range(3)], -1)
    assert np.abs(extract_crop(image, np.array(center), side, size) - expected).max() < 0.51


def test_a_crop_outside_the_image_is_black(images):
    assert not extract_crop(images[0], np.array([-300.0, 40]), 100, 32).any()


def test_boxes_are_enlarged_and_grown_to_what_the_encoder_sees():
    center, side = square_box(np.array([10.0, 20, 40, 120]))
    np.testing.assert_allclose([*center, side], [25, 70, 120])
    assert square_box(np.array([0.0, 0, 90, 50]), enlarge=1.0)[1] == pytest.approx(120)  # 90 / (192 / 256)


def test_each_box_gives_a_person_whatever_shares_its_batch(predictor, images):
    people = predictor(images, BOXES)
    assert [person.image_index for person in people] == [0, 0, 1]
    alone = predictor(images[0], BOXES[0][1])[0]
    np.testing.assert_array_equal(alone.crop, people[1].crop)
    np.testing.assert_allclose(alone.vertices, people[1].vertices, atol=1e-5)
    np.testing.assert_allclose(alone.translation, people[1].translation, rtol=1e-4)
    assert np.abs(people[0].vertices - people[1].vertices).max() > 1e-3
    assert predictor._step._cache_size() == 1
    assert predictor(images, [np.zeros((0, 4)), np.zeros((0, 4))]) == []


def test_shapes_of_a_prediction(predictor, images):
    person = predictor(images[0], BOXES[0])[0]
    shapes = {
        "global_orient": (1, 3, 3), "body_pose": (23, 3, 3), "betas": (10,), "camera": (3,), "translation": (3,),
        "joints": (24, 3), "keypoints_3d": (44, 3), "keypoints_2d": (44, 2), "keypoints_image": (44, 2),
        "vertices": (len(predictor.body.v_template), 3), "crop": (64, 64, 3), "sampling_points": (2, 2, 12, 2),
        "focal_length": (2,), "principal_point": (2,), "box_center": (2,), "box": (4,),
    }  # fmt: skip
    assert {name: getattr(person, name).shape for name in shapes} == shapes


@pytest.mark.parametrize("camera", ["perspective", "hmr2"])
@pytest.mark.parametrize("intrinsics", [None, (3000.0, 3000, 60, 40), (3000.0, 2900, 10, 70)])
def test_the_placed_body_projects_to_where_the_crop_has_it(predictor, images, intrinsics, camera):
    if intrinsics is None and camera == "perspective":
        intrinsics = (2000.0, 2000, 50, 30)  # the default is too near for a comparison with the crop's far camera
    for person in Predictor(CONFIG, predictor._params, 2, camera=camera)(images, BOXES, intrinsics):
        in_image = person.box_center + person.box_size * person.keypoints_2d
        # Both cameras are far away, so only perspective on the body itself differs.
        np.testing.assert_allclose(person.keypoints_image, in_image, atol=0.03 * person.box_size)
        placed = person.keypoints_3d + person.translation
        again = placed[:, :2] / placed[:, 2:] * person.focal_length + person.principal_point
        near = 0.01 if camera == "hmr2" else 0.03 * person.box_size
        np.testing.assert_allclose(again, person.keypoints_image, atol=near)


@pytest.mark.parametrize("kind", ["matrices", "numbers", "one of them", "one for all", "a leading axis"])
def test_intrinsics_are_of_all_images_or_of_each(predictor, images, kind):
    first, second = np.diag([700.0, 710, 1]), np.diag([600.0, 610, 1])
    first[:2, 2] = second[:2, 2] = 50, 60
    four = [[700.0, 710, 50, 60], [600.0, 610, 50, 60]]
    given = {
        "matrices": np.stack([first, second]), "numbers": np.array(four), "one of them": [first, None],
        "one for all": first, "a leading axis": first[None],
    }[kind]  # fmt: skip
    last = {"one of them": None, "one for all": first, "a leading axis": first}.get(kind, second)
    people = predictor(images, BOXES, given)
    assert [person.image_index for person in people] == [0, 0, 1]
    alone = predictor(images[0], BOXES[0], first) + predictor(images[1], BOXES[1], last)
    for together, one in zip(people, alone, strict=True):
        np.testing.assert_array_equal(together.focal_length, one.focal_length)
        np.testing.assert_allclose(together.translation, one.translation, rtol=1e-5)
    with pytest.raises(ValueError, match="2 images but intrinsics of 3: give one for all, or one per image"):
        predictor(images, BOXES, [first] * 3)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, np.nan, 50), "finite"),
        ((50, 10, 10, 50), "right > left"),
        ((100, 0, 150, 50), "outside its image of 100x120"),
        ((10, 10, 50), r"expected \(n, 4\)"),
        ((10, 10, 50, 80, 0.9), r"shape \(1, 5\), expected .*leave scores, classes and other columns out"),
        ((10, 10, 50, 80, 0.9, 0), r"shape \(1, 6\)"),
        ((0.1, 0.1, 0.5, 0.9), "give pixels, not shares of the image"),
        ((0, 0, 1, 1), "give pixels, not shares of the image"),
        ((10, 10, 10.01, 10.01), "less than 2 pixels"),
        ((-5e6, -5e6, 5e6, 5e6), "10 times as large as its image of 100x120"),
        ((-1e300, 0, 1e300, 100), "10 times as large"),
    ],
    ids=str,
)
def test_a_bad_box_is_named(predictor, images, box, message):
    with pytest.raises(ValueError, match=message):
        predictor([images[0]], [np.array([box])])


@pytest.mark.parametrize("columns", [5, 6, 8])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_rows_of_other_columns_are_never_cut_into_other_boxes(predictor, images, columns, count):
    rows = np.tile([10.0, 10, 50, 80, 0.9, 0, 30, 40][:columns], (count, 1))
    for boxes in (rows, rows.tolist()):
        with pytest.raises(ValueError, match=rf"boxes of image 0 are not a list .* have shape \({count}, {columns}\)"):
            predictor(images[0], boxes)
    with pytest.raises(ValueError, match="shape \\(8,\\)"):
        predictor(images[0], np.tile(BOXES[0][0], 2))


def test_a_crop_costs_no_more_the_larger_the_square_is(images):
    tracemalloc.start()
    for side in (1e4, 2e8, 1e15, 1e300):
        crop = extract_crop(images[1], np.array([100.0, 80.0]), side, 64)
        assert crop.reshape(-1, 3).any(1).sum() <= 4
        cut, has = crop_depth(DepthMap(np.ones((150, 200), np.float32)), np.array([100.0, 80.0]), side, 64)
        assert not has
        assert not cut.any()
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["pil", "jax", "grey", "grey pil", "one channel", "a batch of jax"])
def test_images_of_every_kind_are_the_same(predictor, images, kind):
    grey = images[0][..., 0]
    rgb = images[0] if kind in ("pil", "jax", "a batch of jax") else np.stack([grey] * 3, -1)
    given = {
        "pil": Image.fromarray(images[0]), "jax": jnp.asarray(images[0]), "grey": grey,
        "grey pil": Image.fromarray(grey), "one channel": grey[..., None],
        "a batch of jax": jnp.asarray(images[0])[None],
    }[kind]  # fmt: skip
    for several in (given,) if kind == "a batch of jax" else (given, [given]):
        boxes = BOXES[0] if several is given and kind != "a batch of jax" else [BOXES[0]]
        people = predictor(several, boxes)
        assert len(people) == 2
        for person, expected in zip(people, predictor(rgb, BOXES[0]), strict=True):
            np.testing.assert_array_equal(person.crop, expected.crop)
    assert len(predictor(given, "whole")) == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((30, 40, 4), np.uint8), np.zeros((3, 30, 40), np.uint8), np.zeros((0, 40, 3), np.uint8),
        np.zeros((30, 40), np.uint16), np.zeros(30, np.uint8), np.zeros((30, 40, 3), bool), b"a.jpg", 3, [3],
        Image.fromarray(np.full((4, 4), np.nan, np.float32)),
    ],
    ids=["RGBA", "channels first", "empty", "uint16", "one axis", "bool", "bytes", "number", "numbers", "not finite"],
)  # fmt: skip
def test_what_is_no_image_is_refused(predictor, image):
    for boxes in ("whole", None, np.array([[1, 2, 10, 20]])):
        with pytest.raises(ValueError, match=r"^Image"):
            predictor(image, boxes)


def test_boxes_that_a_detector_finds_too_small_are_left_out(predictor, images, monkeypatch):
    boxes = np.array([[10.0, 10, 11, 11], *BOXES[0]])
    monkeypatch.setattr(predictor, "detector", lambda image: Detections(boxes, np.ones(3)))
    np.testing.assert_array_equal(predictor.find_boxes(images)[0], BOXES[0])
    assert len(predictor(images[0])) == 2


@pytest.fixture(scope="module")
def alone(predictor):
    """Three images, boxes of each, and the prediction of each box by itself."""
    rng = np.random.default_rng(2)
    shapes = ((120, 100, 3), (90, 160, 3), (60, 60, 3))
    images = [np.kron(rng.integers(0, 256, (h // 10, w // 10, 3)), np.ones((10, 10, 1))) for h, w, _ in shapes]
    images = [image.astype(np.uint8) for image in images]
    boxes = [
        np.array([[20.0, 10, 70, 90], [0, 0, 40, 110]]),
        np.array([[60.0, 30, 150, 80]]),
        np.array([[-9, 0, 50, 99]]),
    ]
    single = Predictor(CONFIG, predictor._params, batch_size=1)
    return images, boxes, [[single(image, box)[0] for box in own] for image, own in zip(images, boxes, strict=True)]


@pytest.fixture(scope="module")
def by_batch_size(predictor):
    return {2: predictor, 3: Predictor(CONFIG, predictor._params, batch_size=3)}


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([2, 3]),
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), max_size=3)), max_size=4),
)
def test_a_prediction_depends_on_its_image_and_box_alone(alone, by_batch_size, batch_size, asked):
    images, boxes, expected = alone
    asked = [(i, [k % len(boxes[i]) for k in chosen]) for i, chosen in asked]
    given_boxes = [boxes[i][chosen] for i, chosen in asked]
    people = by_batch_size[batch_size]([images[i] for i, _ in asked], given_boxes)
    wanted = [(number, expected[i][k]) for number, (i, chosen) in enumerate(asked) for k in chosen]
    assert [person.image_index for person in people] == [number for number, _ in wanted]
    for person, (_, one) in zip(people, wanted, strict=True):
        np.testing.assert_array_equal(person.crop, one.crop)
        np.testing.assert_array_equal(person.box, one.box)
        np.testing.assert_allclose(person.vertices, one.vertices, atol=1e-5)
        np.testing.assert_allclose(person.translation, one.translation, rtol=1e-4)


def test_a_users_check_of_ranks_stops_no_prediction(predictor, images):
    with jax.numpy_rank_promotion("raise"):
        assert len(predictor(images, BOXES)) == 3


@pytest.mark.parametrize("enlarge", [0, -1.0, np.nan, 1e9])
def test_an_impossible_enlargement_is_refused(predictor, images, enlarge):
    with pytest.raises(ValueError, match="enlarge is"):
        predictor(images[0], BOXES[0], enlarge=enlarge)


def test_bad_images_and_counts_are_refused(predictor, images):
    with pytest.raises(ValueError, match="uint8"):
        predictor([images[0].astype(float)], [BOXES[0]])
    with pytest.raises(ValueError, match="one array of boxes per image"):
        predictor(images, [BOXES[0]])


def test_the_whole_image_can_be_one_person(predictor, images):
    person = predictor(images[0], "whole")[0]
    np.testing.assert_array_equal(person.box, [0, 0, 100, 120])
    assert person.box_size == pytest.approx(100 / 0.75)
    assert len(predictor(images, "whole")) == 2
    with pytest.raises(ValueError, match="None to find the people"):
        predictor(images, "all")


def test_without_boxes_the_detector_finds_the_people(predictor, images, monkeypatch):
    def detector(image):
        boxes = BOXES[0] if len(image) == 120 else np.zeros((0, 4))
        return Detections(boxes, np.ones(len(boxes)))

    monkeypatch.setattr(predictor, "detector", detector)
    people = predictor(images)
    assert [person.image_index for person in people] == [0, 0]
    np.testing.assert_array_equal([person.box for person in people], BOXES[0])
    assert predictor(images[1]) == []


def test_a_folder_is_enough(predictor, images, tmp_path):
    export(tmp_path / "model", CONFIG, predictor._params)
    loaded = Predictor.from_checkpoint(tmp_path / "model")
    assert loaded.config == CONFIG
    half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), predictor._params)
    jax.tree.map(np.testing.assert_array_equal, loaded._params, half)
    assert loaded.checkpoint == {"name": "model", "step": None}


def test_a_missing_checkpoint_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "SHIPPED_MODEL", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no built-in model"):
        Predictor.from_checkpoint()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Predictor.from_checkpoint(tmp_path)


def test_an_encoder_alone_predicts_no_bodies():
    with pytest.raises(ValueError, match="predicts no bodies"):
        Predictor(Config(model=ModelConfig(name="dense")), {})


# Depth


class SeesDepth(DeforHMR):
    """Moves the camera by the depth that it is shown."""

    def __call__(self, batch, train=False, vertices=None):
        prediction = super().__call__({"image": batch["image"]}, train, vertices)
        seen = batch["has_pseudo_depth"] * (1 + batch["pseudo_depth"].astype(float).mean((1, 2)))
        return dataclasses.replace(prediction, camera=prediction.camera.at[:, 0].set(1 + seen))


@pytest.fixture
def deep(predictor, monkeypatch):
    """A predictor whose network takes depth."""
    monkeypatch.setattr(inference, "needs_depth", lambda config: True)
    monkeypatch.setattr(
        inference, "build_model", lambda config: SeesDepth(config, predictor.model.body, predictor.model.dtype)
    )
    return Predictor(CONFIG, random_parameters(CONFIG), batch_size=2)


def test_depth_is_cut_like_the_image_and_shown_to_the_network(deep, images):
    rng = np.random.default_rng(0)
    maps = [DepthMap(rng.uniform(1, 2, image.shape[:2]).astype(np.float32)) for image in images]
    people = deep(images, BOXES, depth=[maps[0], None])
    for person in people:
        levels, has = crop_depth(maps[0], person.box_center, person.box_size, 64)
        expected = 2 + levels.mean() if person.image_index == 0 else 1
        assert has
        np.testing.assert_allclose(person.camera[0], expected, rtol=1e-5)
    (alone,) = deep(images[0], BOXES[0][:1], depth=maps[0])
    np.testing.assert_allclose(alone.camera, people[0].camera, rtol=1e-5)


def test_without_depth_the_network_goes_on_and_says_so(deep, images):
    with pytest.warns(UserWarning, match="No depth given"):
        people = deep(images, BOXES)
    assert all(person.camera[0] == 1 for person in people)


def test_depth_that_does_not_fit_is_refused(deep, predictor, images):
    good = DepthMap(np.ones(images[0].shape[:2], np.float32))
    with pytest.raises(ValueError, match="depth map of image 1 is 100x120 but its image 200x150"):
        deep(images, BOXES, depth=[good, good])
    with pytest.raises(ValueError, match="2 images but depth maps of 1"):
        deep(images, BOXES, depth=good)
    with pytest.raises(ValueError, match="network, deforhmr, takes no depth: leave the depth out"):
        predictor(images, BOXES, depth=[good, None])
