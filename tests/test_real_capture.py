"""The benchmark on a real person: calibration, landmarks, triangulation, records and scores, without its download."""

import argparse
import zipfile
from types import SimpleNamespace

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

import tiny
from calibration_files import qca
from formats.checks import read, source_points
from ring import HEIGHT, ORDER, WIDTH, cameras, person, see

from benchmarks import real_capture
from benchmarks.multiview import demo, scoring
from benchmarks.multiview.joints import JOINTS
from benchmarks.multiview.records import DOUBTFUL, Truth, View, box_of_joints, views_of
from data_pipelines.builders.formats.capture import JOINTS as ROWS
from hmr_jax.batch import zeros
from hmr_jax.body import load_body_model
from hmr_jax.checkpoints import export
from hmr_jax.models import build_model
from hmr_jax.protocols import get_protocol

pytestmark = pytest.mark.slow

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


def test_a_body_that_is_a_quarter_too_far_away_shows_in_the_distances():
    views = fake_views()
    hips = [ROWS["openpose_left_hip"], ROWS["openpose_right_hip"]]
    found = []
    for view in views:
        keypoints, middle = (
            np.zeros((44, 3)),
            view.joints[[JOINTS.index("left_hip"), JOINTS.index("right_hip")]].mean(0),
        )
        keypoints[hips] = [[0.1, 0, 0], [-0.1, 0, 0]]
        found.append(SimpleNamespace(keypoints_3d=keypoints, translation=1.25 * middle))
    np.testing.assert_allclose(scoring.distance_ratios(views, found), 1.25)


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
