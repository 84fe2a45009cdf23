"""Calibrated cameras of several views, and points that are triangulated from them."""

import numpy as np
import pytest
from ring import HEIGHT, LENS, WIDTH, cameras, person, qca, see

from benchmarks.multiview.attitudes import refine_attitudes, turned
from benchmarks.multiview.cameras import distort, read_qca, undistort
from benchmarks.multiview.triangulation import linear, triangulate

pytestmark = pytest.mark.slow


def test_a_qualisys_file_gives_its_cameras(tmp_path):
    (tmp_path / "c.qca.txt").write_text(qca(cameras()))
    for found, made in zip(read_qca(tmp_path / "c.qca.txt"), cameras(), strict=True):
        assert (found.name, found.image_size) == (made.name, made.image_size)
        for name in ("intrinsics", "distortion", "rotation", "translation"):
            np.testing.assert_allclose(getattr(found, name), getattr(made, name), atol=1e-9)


def test_a_camera_of_a_qualisys_file_looks_at_what_is_before_it(tmp_path):
    """By hand: at (0, -2, 1) m, looking along y, up is z."""
    text = qca(cameras(1)[:1])
    for name, value in {
        "r11": 1, "r12": 0, "r13": 0, "r21": 0, "r22": 0, "r23": 1, "r31": 0, "r32": -1, "r33": 0,
        "x": 0, "y": -2000, "z": 1000,
    }.items():  # fmt: skip
        before, _, rest = text.partition(f' {name}="')
        text = f'{before} {name}="{value}"{rest.partition(chr(34))[2]}'
    (tmp_path / "c.qca.txt").write_text(text)
    (camera,) = read_qca(tmp_path / "c.qca.txt")
    np.testing.assert_allclose(camera.to_camera(np.array([0.5, 1.0, 1.2])), [0.5, -0.2, 3.0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not xml", "not a Qualisys calibration"),
        ("<calibration/>", "has no cameras"),
        ('<c><camera serial="a"/></c>', "Camera 'a' .* needs a transform"),
        (None, "Camera 'cam0' .* lacks a number"),
    ],
)
def test_a_wrong_calibration_is_told_in_a_sentence(tmp_path, text, message):
    (tmp_path / "c").write_text(text or qca(cameras(1)).replace("focalLengthU", "focus"))
    with pytest.raises(ValueError, match=message):
        read_qca(tmp_path / "c")


def test_distortion_is_browns_and_undone():
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    k1, k2, p1, p2, k3 = LENS
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    expected = [
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    ]
    np.testing.assert_allclose(distort(np.array([x, y]), LENS), expected, atol=1e-15)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    assert np.abs(distort(points, LENS) - points).max() > 0.004
    np.testing.assert_allclose(undistort(distort(points, LENS), LENS), points, atol=1e-12)


def test_rays_of_a_projected_point_lead_to_it():
    points = person()[0]
    for camera in cameras():
        at = camera.to_camera(points)
        np.testing.assert_allclose(camera.rays(camera.project(points)), at[:, :2] / at[:, 2:], atol=1e-12)


def test_a_video_of_another_size_shows_the_image_fitted_and_centred():
    camera = cameras()[0]
    half = camera.shown_at(WIDTH // 2, HEIGHT // 2 + 10)  # half the size, five black rows above and below
    points = person()[0]
    expected = (camera.project(points) + 0.5) / 2 - 0.5 + [0, 5]
    np.testing.assert_allclose(half.project(points), expected, atol=1e-9)


# ---- triangulation


def test_noisy_points_with_one_bad_view_are_found():
    rng = np.random.default_rng(0)
    world = person(20).reshape(-1, 3)
    pixels = see(world, cameras()) + rng.normal(0, 0.5, (4, len(world), 2))
    bad = rng.integers(0, 4, len(world))
    rows = np.arange(len(world))
    pixels[bad, rows] += rng.choice([-40, 40], (len(world), 2))
    found = triangulate(cameras(), pixels, np.ones(pixels.shape[:2]))
    assert np.linalg.norm(found.world - world, axis=1).max() < 0.03  # a pixel is 13 mm
    assert not found.used[bad, rows].any()
    assert (found.used.sum(0) == 3).all()
    assert found.error.max() < 2.5
    poses = np.stack([camera.pose for camera in cameras()])
    rays = np.stack([camera.rays(view) for camera, view in zip(cameras(), pixels, strict=True)])
    plain = linear(poses, rays, np.ones(pixels.shape[:2]))
    assert np.median(np.linalg.norm(plain - world, axis=1)) > 0.05  # what the bad view does otherwise


def test_all_views_are_used_where_they_agree_and_weights_count():
    rng = np.random.default_rng(1)
    world = person(20).reshape(-1, 3)
    pixels = see(world, cameras())
    found = triangulate(cameras(), pixels, np.ones(pixels.shape[:2]))
    np.testing.assert_allclose(found.world, world, atol=1e-6)
    pixels[2] += rng.normal(0, 2, pixels[2].shape)
    poses = np.stack([camera.pose for camera in cameras()])
    rays = np.stack([camera.rays(view) for camera, view in zip(cameras(), pixels, strict=True)])
    weights = np.ones(pixels.shape[:2])
    even = np.linalg.norm(linear(poses, rays, weights) - world, axis=1).mean()
    weights[2] = 0.1
    assert np.linalg.norm(linear(poses, rays, weights) - world, axis=1).mean() < 0.1 * even
    with pytest.raises(ValueError, match="two cameras or more"):
        triangulate(cameras()[:1], pixels[:1], weights[:1])


def test_attitudes_of_a_wrong_calibration_are_found():
    rng = np.random.default_rng(2)
    world = rng.uniform([-0.6, -0.6, -1], [0.6, 0.6, 1], (120, 3))
    pixels = see(world, cameras()) + rng.normal(0, 0.3, (4, 120, 2))
    wrong = [turned(camera, np.radians(rng.uniform(-1, 1, 3))) for camera in cameras()]
    weights = np.ones(pixels.shape[:2])
    found, degrees = refine_attitudes(wrong, pixels, weights)
    before, after = (triangulate(made, pixels, weights) for made in (wrong, found))
    assert np.median(after.error) < 0.5 < 0.3 * np.median(before.error)
    # Turning all cameras alike nearly moves all points alike, so what must come back is their shape.
    shapes = [np.linalg.norm(points - points.mean(0), axis=1) for points in (before.world, after.world, world)]
    assert np.abs(shapes[1] - shapes[2]).mean() < 0.5 * np.abs(shapes[0] - shapes[2]).mean()
    for camera, truth in zip(found, cameras(), strict=True):
        position = -camera.rotation.T @ camera.translation
        np.testing.assert_allclose(position, -truth.rotation.T @ truth.translation, atol=1e-9)
    assert 0.2 < degrees.mean() < 1.8
    with pytest.raises(ValueError, match="three cameras or more"):
        refine_attitudes(wrong[:2], pixels[:2], np.ones((2, 120)))
