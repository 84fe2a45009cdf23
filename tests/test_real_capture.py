"""The benchmark on a real person: calibration, landmarks, triangulation, records and scores, without its download."""

import argparse
import zipfile
from types import SimpleNamespace

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

import tiny
from formats.checks import read, source_points

from benchmarks import real_capture
from benchmarks.multiview import demo, scoring, tracking
from benchmarks.multiview.attitudes import refine_attitudes, turned
from benchmarks.multiview.cameras import Camera, distort, read_qca, undistort
from benchmarks.multiview.records import DOUBTFUL, Truth, View, box_of_joints, views_of
from benchmarks.multiview.tracking import JOINTS, Square, follow, track
from benchmarks.multiview.triangulation import linear, triangulate
from data_pipelines.builders.formats.capture import JOINTS as ROWS
from hmr_jax.batch import zeros
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import SMPL_24
from hmr_jax.checkpoints import export
from hmr_jax.geometry.crops import extract_crop
from hmr_jax.models import build_model
from hmr_jax.protocols import get_protocol

pytestmark = pytest.mark.slow

LENS = np.array([-0.05, 0.14, 6e-4, -7e-4, 0.01])
WIDTH, HEIGHT = 240, 320
ORDER = [SMPL_24.index(name) for name in JOINTS]  # of the skeleton's joints


def cameras(count: int = 4) -> list[Camera]:
    """Cameras around the origin, 4 m away, rolled by 0, 10, 20 and so on degrees."""
    made = []
    for number in range(count):
        angle, roll = 2 * np.pi * number / count + 0.3, np.radians(10 * number)
        forward = np.array([np.cos(angle), np.sin(angle), -0.2])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        plain = np.stack([right, np.cross(forward, right), forward])
        turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        rotation = turn @ plain
        intrinsics = np.array([[300, 0, 120.5], [0, 301, 158.0], [0, 0, 1]])
        translation = -rotation @ (-4 * forward)
        made.append(Camera(f"cam{number}", intrinsics, LENS, rotation, translation, (WIDTH, HEIGHT)))
    return made


def person(frames: int = 3) -> np.ndarray:
    """(F, 12, 3) joints of a person who stands at the origin, z up, and sways; metres."""
    joints = np.asarray(load_body_model().joint_regressor @ load_body_model().v_template)[ORDER]
    standing = joints[:, [0, 2, 1]] * [1, -1, 1]
    sway = 0.1 * np.sin(np.arange(frames))[:, None, None] * np.array([1, 0.5, 0])
    return standing - standing.mean(0) + sway


def see(world: np.ndarray, by: list[Camera]) -> np.ndarray:
    """(V, N, 2) px of points (..., 3)."""
    return np.stack([camera.project(world.reshape(-1, 3)) for camera in by])


# ---- cameras


def qca(made: list[Camera]) -> str:
    """Qualisys' text of cameras."""
    rows = []
    for camera in made:
        attitude = np.diag([1, -1, -1]) @ camera.rotation
        x, y, z = 1000 * -camera.rotation.T @ camera.translation
        k1, k2, p1, p2, k3 = camera.distortion
        (fx, _, cx), (_, fy, cy), _ = 64 * camera.intrinsics
        turn = " ".join(f'r{i + 1}{j + 1}="{attitude[i, j]}"' for i in range(3) for j in range(3))
        rows.append(
            f'<camera serial="{camera.name}"><fov_video left="0" top="0" right="{camera.image_size[0] - 1}" '
            f'bottom="{camera.image_size[1] - 1}"/><transform {turn} x="{x}" y="{y}" z="{z}"/>'
            f'<intrinsic focalLengthU="{fx}" focalLengthV="{fy}" centerPointU="{cx}" centerPointV="{cy}" '
            f'radialDistortion1="{k1}" radialDistortion2="{k2}" radialDistortion3="{k3}" '
            f'tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/></camera>'
        )
    return f"<calibration><cameras>{''.join(rows)}</cameras></calibration>"


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


# ---- landmarks


@pytest.mark.parametrize("turn", [0.0, 30.0, -100.0])
def test_points_of_a_crop_are_where_the_image_has_them(turn):
    image = np.zeros((300, 400, 3), np.uint8)
    image[120:123, 210:213] = 255  # centre (211, 121)
    square = Square(np.array([200.0, 150.0]), 128.0, turn)
    crop = extract_crop(image, square.center, square.side, 256, turn).astype(float).mean(2)
    rows, columns = np.indices(crop.shape)
    middle = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(square.to_image(middle + 0.5), [211, 121], atol=0.1)


def test_mirrored_landmarks_change_sides():
    mirrored = tracking._MIRRORED
    assert (mirrored[mirrored] == np.arange(33)).all()
    assert mirrored[0] == 0
    for left, right in ((1, 4), (7, 8), (11, 12), (15, 16), (23, 24), (31, 32)):
        assert mirrored[left] == right


def body_at(center: np.ndarray, degrees: float = 0.0) -> np.ndarray:
    """(33, 3) landmarks of a stick figure that leans clockwise."""
    points = np.tile([0.0, -100], (33, 1))
    points[[11, 12]] = [[20, -60], [-20, -60]]
    points[[23, 24]] = [[15, 0], [-15, 0]]
    points[[27, 28]] = [[15, 100], [-15, 100]]
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([points @ turn.T + center, np.full((33, 1), 0.9)], 1)


def test_the_square_follows_and_turns_with_the_trunk():
    square = follow(body_at(np.array([300.0, 200.0]), 35), Square(np.array([0.0, 0]), 270.0))
    assert square.turn == pytest.approx(35)
    np.testing.assert_allclose(square.center, [300, 200], atol=1e-6)
    assert square.side == pytest.approx(270)  # 1.35 times 200


def test_a_person_is_tracked_through_a_video_and_not_lost_at_a_bad_frame():
    centers = np.array([[100 + 10.0 * frame, 200] for frame in range(6)])
    looks = []

    def network(frame, square):
        looks.append(square)
        return body_at(centers[frame], 5 * frame), 0.1 if frame == 3 else 1.0

    found = track(network, range(6), np.array([60.0, 100, 140, 300]))
    assert found.shape == (6, 12, 3)
    np.testing.assert_allclose(
        found[:, JOINTS.index("left_shoulder"), :2], [body_at(c, 5 * n)[11, :2] for n, c in enumerate(centers)]
    )
    np.testing.assert_allclose(found[:, 0, 2], [0.9, 0.9, 0.9, 0.09, 0.9, 0.9])
    np.testing.assert_allclose(looks[0].center, [100, 200])
    np.testing.assert_allclose(looks[-2].center, centers[2], atol=1e-6)  # frame 3 moved nothing
    np.testing.assert_allclose(looks[-1].center, centers[4], atol=1e-6)


# ---- records and scores


def test_doubtful_joints_are_not_labelled_and_boxes_hold_head_and_feet(tmp_path):
    world = person(1)
    error = np.full((1, 12), 5.0)
    error[0, 3] = DOUBTFUL + 1
    views = views_of(Truth(np.array([7]), world, error), cameras(), tmp_path)
    assert [view.camera for view in views] == ["cam0", "cam1", "cam2", "cam3"]
    assert views[1].image == tmp_path / "images" / "cam1" / "0007.jpg"
    np.testing.assert_allclose(views[2].confidence, [0.8] * 3 + [0] + [0.8] * 8)
    np.testing.assert_allclose(views[0].joints, cameras()[0].to_camera(world[0]))
    np.testing.assert_allclose(box_of_joints(np.array([[100.0, 200], [200, 400]])), [96, 156, 204, 410])


def fake_views(moments: int = 2) -> list[View]:
    truth = Truth(np.arange(moments), person(moments), np.zeros((moments, 12)))
    return views_of(truth, cameras()[:2], real_capture.Path("nowhere"))


def fake_people(views: list[View], off: np.ndarray) -> list[SimpleNamespace]:
    """Predictions whose 12 joints are off (12, 3) metres, and whose image points are exact."""
    found = []
    for view in views:
        joints, points = np.zeros((24, 3), np.float32), np.zeros((44, 2))
        joints[ORDER] = view.joints + np.array([1, 2, 3]) + off
        points[[ROWS[f"openpose_{name}"] for name in JOINTS]] = view.pixels
        found.append(SimpleNamespace(joints=joints, keypoints_image=points))
    return found


def aligned_error(points: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance after the best similarity without reflection (Umeyama 1991)."""
    points, truth = points - points.mean(0), truth - truth.mean(0)
    left, values, right = np.linalg.svd(points.T @ truth)
    sign = np.array([1, 1, np.linalg.det(left @ right)])
    scale = (values * sign).sum() / (points**2).sum()
    return np.linalg.norm(scale * points @ (left * sign) @ right - truth, axis=1).mean()


def test_the_protocol_on_known_numbers():
    protocol, body = get_protocol("capture-12"), load_body_model()
    assert protocol.joint_names == JOINTS
    assert [ROWS[name] for name in JOINTS] == list(protocol.keypoints)
    views = fake_views()
    off = np.zeros((12, 3))
    rows = scoring.score_views(protocol, body, views, fake_people(views, off))
    assert [row.camera for row in rows] == ["cam0", "cam1", "all"]
    for row in rows:
        assert row.mpjpe == pytest.approx(0, abs=1e-3)
        assert row.pa_mpjpe == pytest.approx(0, abs=1e-3)
        assert (row.pck, row.near, row.near_limbs) == (100, 1, 1)

    off[JOINTS.index("left_wrist")] = [0, 0.3, 0.4]  # one joint by half a metre
    *_, row = scoring.score_views(protocol, body, views, fake_people(views, off))
    assert row.mpjpe == pytest.approx(500 / 12, rel=1e-4)
    expected = np.mean([aligned_error(view.joints + off, view.joints) for view in views])
    assert row.pa_mpjpe == pytest.approx(1000 * expected, rel=1e-4)
    assert row.pck == pytest.approx(1100 / 12)

    off[:] = 0
    off[JOINTS.index("left_hip")] = [0.2, 0, 0]  # moves the root by 0.1 m: ten joints, and each hip
    *_, row = scoring.score_views(protocol, body, views, fake_people(views, off))
    assert row.mpjpe == pytest.approx(100, rel=1e-4)
    assert row.pck == 100


def test_views_without_a_labelled_hip_do_not_count_and_image_errors_are_in_boxes():
    protocol, body = get_protocol("capture-12"), load_body_model()
    views = fake_views()
    views[0].confidence[JOINTS.index("left_hip")] = 0
    found = fake_people(views, np.zeros((12, 3)))
    side = (views[3].box[2:] - views[3].box[:2]).max()
    found[3].keypoints_image[ROWS["openpose_left_knee"]] += [0.11 * side, 0]
    first, second, both = scoring.score_views(protocol, body, views, found)
    assert (first.count, second.count, both.count) == (1, 2, 3)
    assert second.near == pytest.approx(23 / 24)
    assert second.near_limbs == pytest.approx(15 / 16)


# ---- the demo and the whole


def test_only_what_is_needed_is_unpacked(tmp_path):
    wheel = tmp_path / "demo.whl"
    names = [
        demo.INSIDE + name for name in (demo.CALIBRATION, "videos/cam01.mp4", "Config.toml", "videos/../../evil.mp4")
    ]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (*names, "pose2sim.dist-info/licenses/LICENSE", "Pose2Sim/pose.py"):
            archive.writestr(name, name)
    demo.unpack(wheel, tmp_path / "deep" / "out")
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert made == ["deep/out/LICENSE", f"deep/out/{demo.CALIBRATION}", "deep/out/videos/cam01.mp4", "demo.whl"]


def test_a_folder_without_a_capture_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no calibration"):
        demo.open_capture(tmp_path)
    (tmp_path / "calibration").mkdir()
    (tmp_path / demo.CALIBRATION).write_text(qca(cameras()))
    with pytest.raises(FileNotFoundError, match=r"cam0\.mp4 is missing"):
        demo.open_capture(tmp_path)


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    """A folder like the demo's, with videos of noise, and the joints that the network would find in them."""
    folder = tmp_path / "demo"
    (folder / "calibration").mkdir(parents=True)
    (folder / demo.CALIBRATION).write_text(qca(cameras()))
    (folder / "videos").mkdir()
    for camera in cameras():
        (folder / "videos" / f"{camera.name}.mp4").write_bytes(b"")

    def frames(_):
        rng = np.random.default_rng(0)
        return iter(rng.integers(0, 256, (7, HEIGHT, WIDTH, 3), np.uint8))

    world = person(7)
    joints = np.concatenate([see(world, cameras()).reshape(4, 7, 12, 2), np.ones((4, 7, 12, 1))], -1)
    monkeypatch.setattr(demo, "read_video", frames)
    monkeypatch.setattr(real_capture, "read_video", frames)
    monkeypatch.setattr(real_capture, "find_joints", lambda *_: joints)
    return folder, world


def test_the_whole_benchmark_on_a_small_capture(small_demo, tmp_path, capsys):
    folder, world = small_demo
    config = tiny.config(tmp_path)
    params = build_model(config.model).init(jax.random.key(0), zeros(1, 32))["params"]
    export(tmp_path / "model", config, params)
    np.savez(tmp_path / "other.npz", frames=np.array([0, 2]), joints_world=world[[0, 2]] + [0.03, 0, 0.04])
    out = tmp_path / "out"
    files = {"checkpoint": tmp_path / "model", "demo": folder, "compare": tmp_path / "other.npz", "out": out}
    real_capture.run(argparse.Namespace(every=3, as_calibrated=False, **files))
    said = capsys.readouterr().out
    assert "reprojection error, px: median 0.0, 90 % 0.0" in said
    assert "2 moments, mm: 50.0, with mid-hips at the origin 0.0" in said
    assert said.count("eval.py, crops as stored") == said.count("Predictor, upright crops") == 5

    records = read(out / "data", "mlb_pitch", "test")
    assert len(records) == 12  # frames 0, 3 and 6 in four cameras
    camera, rows = cameras()[1], [ROWS[name] for name in JOINTS]
    record = next(one for one in records if one["key"] == "test-images/cam1/0003.jpg-person")
    np.testing.assert_allclose(record["keypoints_3d"][rows, :3], camera.to_camera(world[3]), atol=1e-4)
    seen = source_points(record, record["keypoints_2d"][rows, :2])
    np.testing.assert_allclose(seen, camera.project(world[3]), atol=0.01)


def test_frames_must_be_a_positive_number():
    with pytest.raises(ValueError, match="--every 0"):
        real_capture.run(argparse.Namespace(every=0))
