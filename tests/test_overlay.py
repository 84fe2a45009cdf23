"""Bodies over photos, and their side and top views."""

import numpy as np
import pytest
from PIL import Image

from hmr_jax.body import load_body_model
from hmr_jax.geometry.intrinsics import image_camera
from hmr_jax.inference import PersonPrediction
from hmr_jax.inference.origin import Origin
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.results import write_results
from hmr_jax.rendering import overlay
from hmr_jax.rendering.contact_sheet import caption, contact_sheet
from hmr_jax.rendering.overlay import PANEL, SIDE, TOP, draw_bodies, three_views
from hmr_jax.rendering.plots import draw_points, draw_sampling

INTRINSICS = np.array([[400.0, 0, 60], [0, 400, 80], [0, 0, 1]])
PHOTO = np.full((160, 120, 3), (10, 200, 30), np.uint8)


@pytest.fixture(scope="module")
def standing():
    """The built-in body upright, facing the camera, 6 m away: (V, 3) and faces."""
    body = load_body_model()
    return body.v_template * np.array([1, -1, -1]) + np.array([0, 0, 6.0]), body.faces


def span(mask):
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_the_body_covers_what_its_vertices_project_to(standing):
    vertices, faces = standing
    drawn = (draw_bodies(PHOTO, [vertices], faces, INTRINSICS) != PHOTO).any(-1)
    points = vertices[:, :2] / vertices[:, 2:] * 400 + [60, 80]
    expected = np.stack([points.min(0), points.max(0)], 1)[::-1].ravel()
    np.testing.assert_allclose(span(drawn), expected, atol=1.0)


def test_opacity_lets_the_photo_through(standing):
    vertices, faces = standing
    solid, half = (draw_bodies(PHOTO, [vertices], faces, INTRINSICS, opacity) for opacity in (1.0, 0.5))
    np.testing.assert_allclose(half, (solid.astype(float) + PHOTO) / 2, atol=1)


def test_the_nearer_body_hides_the_farther_in_any_order(standing):
    vertices, faces = standing
    step = np.array([0, 0, 1.0])
    near, far = vertices - step, vertices + step
    colors = np.array([[1.0, 0, 0], [0, 0, 1]])
    first = draw_bodies(PHOTO, [near, far], faces, INTRINSICS, 1.0, colors)
    second = draw_bodies(PHOTO, [far, near], faces, INTRINSICS, 1.0, colors[::-1])
    np.testing.assert_array_equal(first, second)
    assert first[80, 60, 0] > 0
    assert first[80, 60, 2] == 0


def test_no_body_leaves_the_photo_alone(standing):
    np.testing.assert_array_equal(draw_bodies(PHOTO, [], standing[1], INTRINSICS), PHOTO)
    assert three_views(PHOTO, [], standing[1], INTRINSICS).shape == PHOTO.shape


@pytest.fixture(scope="module")
def panels(standing):
    """What is drawn in the side and the top view of the body 9 m away."""
    vertices, faces = standing
    views = three_views(PHOTO, [vertices + np.array([0, 0, 3])], faces, INTRINSICS)[:, 120:].astype(int)
    drawn = (np.abs(views - PANEL) > 12).any(-1)
    drawn[:24] = False  # captions
    return drawn[:, :64], drawn[:, 64:]  # the narrowest panel is 0.4 of the photo's height


def test_side_and_top_views_show_the_same_body_at_the_same_scale(standing, panels):
    width, height, depth = np.ptp(standing[0], 0) * 400 / 9
    top, bottom, left, right = span(panels[0])
    np.testing.assert_allclose([bottom - top, right - left], [height, depth], atol=3)
    top, bottom, left, right = span(panels[1])
    np.testing.assert_allclose([bottom - top, right - left], [depth, width], atol=3)


def test_the_side_views_rows_are_the_photos(standing, panels):
    vertices, faces = standing
    front = (draw_bodies(PHOTO, [vertices + np.array([0, 0, 3])], faces, INTRINSICS) != PHOTO).any(-1)
    np.testing.assert_allclose(span(panels[0])[:2], span(front)[:2], atol=1)


def test_who_bows_to_the_camera_bows_to_the_right_in_the_side_view(standing):
    bowing = standing[0] + np.array([0, 0, 3])
    bowing[:, 2] += 0.5 * bowing[:, 1]  # y points down: the head comes nearer
    side = three_views(PHOTO, [bowing], standing[1], INTRINSICS)[24:, 120:184].astype(int)
    rows, columns = np.nonzero((np.abs(side - PANEL) > 12).any(-1))
    upper = rows < np.median(rows)
    assert columns[upper].mean() > columns[~upper].mean() + 5


def test_the_views_axes_turn_and_do_not_mirror():
    toward_camera, up, right = np.array([0, 0, -1.0]), np.array([0, -1.0, 0]), np.array([1.0, 0, 0])
    np.testing.assert_array_equal(SIDE @ toward_camera, right)
    np.testing.assert_array_equal(SIDE @ up, up)
    np.testing.assert_array_equal(TOP @ toward_camera, -up)
    np.testing.assert_array_equal(TOP @ right, right)
    np.testing.assert_allclose([np.linalg.det(SIDE), np.linalg.det(TOP)], 1)


def test_large_photos_are_shrunk_with_their_camera(standing):
    vertices, faces = standing
    large = np.repeat(np.repeat(PHOTO, 4, 0), 4, 1)
    intrinsics = np.diag([4.0, 4, 1]) @ INTRINSICS
    intrinsics[:2, 2] = (INTRINSICS[:2, 2] + 0.5) * 4 - 0.5
    small = three_views(PHOTO, [vertices], faces, INTRINSICS)
    shrunk = three_views(large, [vertices], faces, intrinsics, max_side=160)
    assert np.abs(small.astype(int) - shrunk).mean() < 0.5


def test_keypoints_shrink_with_the_photo():
    large = np.zeros((400, 400, 3), np.uint8)
    front = three_views(large, [], np.zeros((0, 3), int), np.eye(3), [np.array([[300.0, 200]])], max_side=100)
    rows, columns = np.nonzero(front[40:, 40:].any(-1))
    np.testing.assert_allclose([columns.mean() + 40, rows.mean() + 40], [74.625, 49.625], atol=0.5)


# Errors that the network expects


PLACES, SIGMA = np.array([[0.1, 0.05, 6], [-0.5, 0.6, 5], [0, 0, -6]]), np.array([0.15, 0.0, 0.1])


def errors_alone(scale=1, **options):
    """The front view of `PLACES` on black, with the error drawn around each."""
    black, camera = np.zeros((160 * scale, 120 * scale, 3), np.uint8), np.diag([scale, scale, 1]) @ INTRINSICS
    camera[:2, 2] = (INTRINSICS[:2, 2] + 0.5) * scale - 0.5
    front = three_views(black, [], np.zeros((0, 3), int), camera, errors=[(PLACES, SIGMA)], **options).astype(int)
    return front * (np.arange(len(front)) > 30)[:, None, None]  # without the caption


@pytest.mark.parametrize(("scale", "options"), [(1, {}), (4, {"max_side": 160})])
def test_an_expected_error_is_a_clear_ring_of_its_radius_around_its_keypoint(scale, options):
    front = errors_alone(scale, **options)
    red, green = (front[..., a] > front[..., b] + 5 for a, b in ((0, 1), (1, 0)))
    x, y, radius = 400 * 0.1 / 6 + 60, 400 * 0.05 / 6 + 80, 400 * 0.15 / 6
    np.testing.assert_allclose(span(red), [y - radius, y + radius, x - radius, x + radius], atol=1)
    x, y = -400 * 0.5 / 5 + 60, 400 * 0.6 / 5 + 80
    np.testing.assert_allclose(span(green), [y - 1.5, y + 1.5, x - 1.5, x + 1.5], atol=1)
    rows, columns = np.mgrid[:160, :120]
    distance = np.hypot(columns - 66.7, rows - 83.3)
    assert red[distance < 1].all()
    assert not front[(distance > 3) & (distance < radius - 1.5)].any()
    assert not front[~green & ~red].any()  # what is behind the camera is nowhere
    ring = red & (np.abs(distance - radius) < 1.5)
    sectors = np.floor(8 * np.arctan2(rows - 83.3, columns - 66.7) / np.pi)
    assert set(sectors[ring]) == set(range(-8, 8))  # closed


def test_photos_of_models_that_expect_errors_show_them(standing, tmp_path):
    vertices, faces = standing
    numbers = {name: np.zeros(3) for name in PersonPrediction.__dataclass_fields__ if name not in ("sigma", "gates")}
    numbers |= {
        "translation": np.array([0, 0, 6.0]), "vertices": vertices - [0, 0, 6.0], "crop": np.zeros((8, 8, 3), np.uint8),
        "keypoints_3d": np.tile([-0.6, 0, 0], (44, 1)), "keypoints_2d": np.zeros((44, 2)),
        "global_orient": np.eye(3)[None], "body_pose": np.tile(np.eye(3), (23, 1, 1)),
        "sampling_points": None, "silhouette": None,
    }  # fmt: skip
    origin = Origin({}, "hmr-default", faces, 5000.0, 1.0)
    camera = image_camera((PHOTO.shape[1], PHOTO.shape[0]), (400, 400, 60, 80))
    photo = Photo(tmp_path / "a.png", PHOTO, camera)
    views = {}
    for name, sigma in (("sure", np.full(44, 0.01)), ("unsure", np.full(44, 0.15)), ("silent", None)):
        write_results(origin, [PersonPrediction(**numbers, sigma=sigma)], photo, tmp_path, name)
        views[name] = np.asarray(Image.open(tmp_path / f"{name}_overlay.png")).astype(int)
    changed = {name: (views[name] != views["silent"]).any(-1)[24:] for name in ("sure", "unsure")}  # under the captions
    left, right = span(changed["unsure"])[2:]
    np.testing.assert_allclose([left, right], [60 - 40 - 10, 60 - 40 + 10], atol=1)
    np.testing.assert_allclose(span(changed["sure"])[2:], [60 - 40 - 1.5, 60 - 40 + 1.5], atol=1)
    assert not changed["unsure"][:, PHOTO.shape[1] :].any()  # on the photo, not in the other views


def test_points_are_drawn_where_they_are():
    black = np.zeros((40, 60, 3), np.uint8)
    drawn = draw_points(black, np.array([[10.0, 20], [np.nan, 5], [50, 30]]), [(255, 255, 255)], 2)
    assert (drawn[20, 10] == 255).all()
    assert (drawn[30, 50] == 255).all()
    assert drawn.any(-1).sum() < 60
    assert (draw_points(black, np.array([[10.0, 20], [50, 20]]), bones=[(0, 1)])[20, 30] > 0).all()


def test_sampling_points_are_drawn_in_one_panel_per_layer():
    points = np.zeros((4, 2, 3, 2))
    points[1] = 0.25
    crop = np.zeros((64, 64, 3), np.uint8)
    image = draw_sampling(crop, points, side=256)
    assert image.shape == (2 * 256 + 6, 3 * 256 + 12, 3)
    center, quarter = slice(128, 132), slice(192, 196)  # pixels 32 and 48 of 64 hold crop coordinates 0 and 0.25
    second = image[:256, 262:518]
    assert image[center, center].max() > 200
    assert second[quarter, quarter].max() > 200
    assert second[center, center].max() == 0
    assert draw_sampling(crop, points[[0, 0, 0]], side=256).shape == (256, 256, 3)  # one panel for all


def test_a_contact_sheet_keeps_every_image():
    images = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(images, 2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert [sheet[0, 0, 0], sheet[0, 12, 0], sheet[8, 0, 0], sheet[8, 12, 0]] == [10, 20, 30, 255]
    assert caption(np.zeros((40, 80, 3), np.uint8), "front")[:20, :60].any()


def test_gaps_in_depth_between_people_are_shortened_along_their_lines_of_sight():
    rng = np.random.default_rng(0)
    body = rng.uniform(-0.5, 0.5, (20, 3))
    places = np.array([[0.0, 0.0, 5.0], [8.0, 2.0, 40.0], [0.5, 0.1, 6.2]])
    near, far, between = overlay._closer([body + place for place in places])
    np.testing.assert_allclose(near, body + places[0])
    np.testing.assert_allclose(between, body + places[2])  # its gap is small
    assert far[:, 2].min() - between[:, 2].max() == pytest.approx(overlay.GAP)
    middle, before = far.mean(0), (body + places[1]).mean(0)
    np.testing.assert_allclose(middle[:2] / middle[2], before[:2] / before[2])
    np.testing.assert_allclose(far - middle, body - body.mean(0), atol=1e-12)
