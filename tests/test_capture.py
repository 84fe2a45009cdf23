"""One body for each moment of several calibrated cameras: inputs, fitting, files, and the command."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import video_clips
from calibration_files import WRITERS
from ring import HEIGHT, WIDTH, cameras
from scipy.spatial.transform import Rotation

from hmr_commands import program
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import KEYPOINTS_44, OPENPOSE_25
from hmr_jax.geometry.triangulation import triangulate
from hmr_jax.video.capture import pipeline, predict_capture
from hmr_jax.video.capture.bodies import bone_of, fit_bodies
from hmr_jax.video.capture.result import upright
from hmr_jax.video.capture.views import View, match_inputs, read_openpose_folder, read_view, same_rate, write_view
from hmr_jax.video.posing import Posing

BODY = load_body_model()
FRAMES = 6
NAMED = [KEYPOINTS_44.index(f"openpose_{name}") for name in OPENPOSE_25 if name not in ("neck", "mid_hip")]
BETAS = np.array([1.0, -0.8, 0.5, 0, 0, 0, 0, 0, 0, 0])
MARKERS = {"openpose_left_knee": 0.04, "openpose_right_elbow": -0.03, "openpose_left_ear": 0.05}  # metres along x


@functools.cache
def walk() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (F, 24, 3), translations (F, 3) and landmarks (F, 44, 3) of somebody who stands, z up."""
    rng = np.random.default_rng(3)
    rotations = 0.15 * rng.normal(size=(1, 24, 3)) + 0.05 * rng.normal(size=(FRAMES, 24, 3))
    stand = Rotation.from_euler("x", 90, degrees=True)
    turns = Rotation.from_euler("z", 4.0 * np.arange(FRAMES)[:, None], degrees=True)
    rotations[:, 0] = (turns * stand).as_rotvec()
    points = Posing(BODY).points(np.tile(BETAS, (FRAMES, 1)), rotations)
    translation = -points.joints[:, 0] + np.linspace(-0.1, 0.1, FRAMES)[:, None] * [1, 0.5, 0]
    landmarks = points.keypoints + translation[:, None]
    axes = [Rotation.from_rotvec(rotations[:, 0])]
    for joint, parent in enumerate(BODY.parents[1:], 1):
        axes.append(axes[parent] * Rotation.from_rotvec(rotations[:, joint]))
    for name, off in MARKERS.items():
        landmarks[:, KEYPOINTS_44.index(name)] += axes[bone_of(name)].apply([off, 0, 0])
    return rotations, translation, landmarks


def seen(noise: float = 0.0, missing: float = 0.0) -> np.ndarray:
    """(V, F, 44, 3) px and confidence of the landmarks in the ring's cameras."""
    rng = np.random.default_rng(4)
    made = np.zeros((4, FRAMES, 44, 3))
    for number, camera in enumerate(cameras()):
        made[number, :, NAMED, :2] = np.moveaxis(camera.project(walk()[2][:, NAMED]), 1, 0)
    made[..., :2] += noise * rng.normal(size=made[..., :2].shape)
    made[:, :, NAMED, 2] = np.where(rng.random((4, FRAMES, len(NAMED))) < missing, 0.0, 0.9)
    made[made[..., 2] == 0] = 0
    return made


# ---- inputs


def test_inputs_belong_to_the_cameras_that_they_name():
    made = cameras()
    found = match_inputs(made, ["walk_cam2.mp4", "a/cam0.mp4", "take 1 CAM1 x", "cam3=other.npz"])
    assert {name: str(path) for name, path in found.items()} == {
        "cam0": "a/cam0.mp4", "cam1": "take 1 CAM1 x", "cam2": "walk_cam2.mp4", "cam3": "other.npz",
    }  # fmt: skip
    assert list(match_inputs(made, ["cam3.mp4", "cam1.mp4"])) == ["cam1", "cam3"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["front.mp4"], "belongs to no one camera.* it names none. Say it by NAME=front.mp4"),
        (["cam1_cam2.mp4"], "names cam1, cam2, which are several"),
        (["cam10.mp4"], "names none"),
        (["cam1.mp4", "x_cam1.mp4"], "both belong to camera cam1"),
    ],
)
def test_inputs_that_name_no_camera_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        match_inputs(cameras(), inputs)


def openpose(folder: Path, frames: list[list[np.ndarray]], first: int = 0) -> Path:
    """Writes people (25, 3) of frames as OpenPose does."""
    folder.mkdir(parents=True)
    for number, people in enumerate(frames, first):
        told = [{"pose_keypoints_2d": person.ravel().tolist()} for person in people]
        file = folder / f"clip1_{number:012d}_keypoints.json"
        file.write_text(json.dumps({"version": 1.3, "people": told}))
    return folder


def test_of_several_people_the_one_is_followed_who_is_seen_best_first(tmp_path):
    def somebody(x: float, confidence: float) -> np.ndarray:
        return np.column_stack([x + np.arange(25.0), np.arange(25.0), np.full(25, confidence)])

    frames = [[somebody(10, 0.5), somebody(100, 0.9)], [somebody(95, 0.3), somebody(12, 0.9)], [], [somebody(90, 0.2)]]
    found = read_openpose_folder(openpose(tmp_path / "a", frames, first=7))
    nose = found[:, KEYPOINTS_44.index("openpose_nose")]
    assert nose[:, 0].tolist() == [100, 95, 0, 90]
    assert nose[:, 2].tolist() == [0.9, 0.3, 0, 0.2]
    next(iter((tmp_path / "a").glob("*08_keypoints.json"))).unlink()
    with pytest.raises(ValueError, match="has no frame 8, and 1 are missing"):
        read_openpose_folder(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="has no JSON files of OpenPose"):
        read_openpose_folder(tmp_path / "b")


def test_a_view_is_read_as_it_was_written(tmp_path):
    view = View("cam0", seen()[0], (WIDTH, HEIGHT), 50.0)
    write_view(tmp_path / "cam0.npz", view)
    found = read_view("cam0", tmp_path / "cam0.npz")
    np.testing.assert_array_equal(found.keypoints, view.keypoints)
    assert (found.image_size, found.rate) == ((WIDTH, HEIGHT), 50.0)
    np.savez(tmp_path / "bare.npz", keypoints=np.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="and the N names of them"):
        read_view("cam0", tmp_path / "bare.npz")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match="keypoints are npz files or folders"):
        read_view("cam0", tmp_path / "x.csv")
    assert same_rate([found, View("cam1", view.keypoints)]) == 50.0
    with pytest.raises(ValueError, match=r"different frame rates \(cam0 50, cam1 25 a second\)"):
        same_rate([found, View("cam1", view.keypoints, rate=25.0)])


def test_captures_that_cannot_be_meant_are_refused(tmp_path):
    made, paths = cameras(), {}
    for camera, keypoints in zip(made, seen(), strict=True):
        paths[camera.name] = tmp_path / f"{camera.name}.npz"
        write_view(paths[camera.name], View(camera.name, keypoints, (WIDTH, HEIGHT)))
    with pytest.raises(ValueError, match="needs two cameras or more with inputs, not 1"):
        predict_capture(made, [paths["cam0"]], tmp_path)
    write_view(paths["cam1"], View("cam1", seen()[1], (HEIGHT, WIDTH)))
    with pytest.raises(ValueError, match=r"'cam1' was calibrated with images of 240x320, but its video has 320x240"):
        predict_capture(made, paths, tmp_path)
    write_view(paths["cam1"], View("cam1", np.zeros((FRAMES, 44, 3))))
    with pytest.raises(ValueError, match="No moment has 6 keypoints that two cameras see"):
        predict_capture(made, [paths["cam0"], paths["cam1"]], tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no"):
        predict_capture(made, {"cam0": paths["cam0"], "cam1": tmp_path / "cam1.json"}, tmp_path)


# ---- fitting


def test_keypoints_are_on_the_bones_of_which_they_are_markers():
    names = ("left_knee", "right_wrist", "openpose_nose", "left_hip", "openpose_right_big_toe", "right_shoulder")
    from hmr_jax.body.joints import SMPL_24

    bones = [SMPL_24[bone_of(name)] for name in names]
    assert bones == ["left_hip", "right_elbow", "head", "pelvis", "right_ankle", "right_collar"]


@pytest.mark.slow
def test_bodies_are_those_that_were_seen_though_landmarks_lie_beside_their_joints():
    keypoints, (rotations, translation, landmarks) = seen(noise=0.3, missing=0.1), walk()
    has = keypoints[..., 2]
    points = triangulate(cameras(), np.where(has[..., None] > 0, keypoints[..., :2], np.nan), has)
    bodies = fit_bodies(BODY, cameras(), keypoints, points)
    assert bodies.posed.all()
    found = Posing(BODY).points(np.tile(bodies.betas, (FRAMES, 1)), bodies.rotations)
    true = Posing(BODY).points(np.tile(BETAS, (FRAMES, 1)), rotations)
    off = np.linalg.norm(found.joints + bodies.translation[:, None] - true.joints - translation[:, None], axis=-1)
    limbs = [4, 5, 7, 8, 16, 17, 18, 19, 20, 21]
    assert np.median(off[:, limbs]) < 0.015  # a pixel is 13 mm
    np.testing.assert_allclose(bodies.keypoints, found.keypoints + bodies.translation[:, None], atol=1e-3)
    away = np.linalg.norm(bodies.markers - landmarks, axis=-1)[:, NAMED]
    assert np.median(away) < 0.01
    for name, marker in list(MARKERS.items())[1:]:  # a knee's may also be a leg that is not straight
        assert bodies.offsets[KEYPOINTS_44.index(name)][0] == pytest.approx(marker, abs=0.012)


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_upright_axes_are_a_rotation_with_y_down(up):
    turn = upright(up)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    np.testing.assert_allclose(turn @ axis, [0, -1, 0], atol=1e-12)


# ---- the command


@pytest.mark.slow
def test_the_command_writes_bodies_of_folders_and_files(tmp_path, capsys):
    calibration = WRITERS["pose2sim"](cameras(), tmp_path)
    order = [KEYPOINTS_44.index(f"openpose_{name}") for name in OPENPOSE_25]
    inputs = []
    for camera, keypoints in zip(cameras()[:2], seen(0.2), strict=False):
        inputs.append(openpose(tmp_path / f"op_{camera.name}", [[frame[order]] for frame in keypoints]))
    for camera, keypoints in zip(cameras()[2:], seen(0.2)[2:], strict=True):
        inputs.append(tmp_path / f"{camera.name}.npz")
        write_view(inputs[-1], View(camera.name, keypoints, rate=25.0))
    output = tmp_path / "out"
    program.main(["capture", str(calibration), *map(str, inputs), "--output", str(output), "--refine-cameras"])
    said = capsys.readouterr()
    files = [output / f"capture.{kind}" for kind in ("npz", "glb", "bvh", "json")]
    assert said.out.split() == [str(file) for file in files]
    assert "6 of 6 frames have a body; up is z" in said.err
    about = json.loads(files[3].read_text())
    assert about["reprojection"]["bodies"]["median"] < 1.0
    assert [camera["name"] for camera in about["cameras"]] == ["cam0", "cam1", "cam2", "cam3"]
    assert max(camera["turned_degrees"] for camera in about["cameras"]) < 0.2
    assert about["cameras"][0]["lens"]["model"] == "brown"
    assert about["rate"] == 25
    for limb in about["limbs_mm"].values():
        assert limb["bodies"]["deviation"] < 0.1
        assert abs(limb["bodies"]["mean"] - limb["keypoints"]["mean"]) < 60
    with np.load(files[0]) as arrays:
        assert arrays["poses"].shape == (FRAMES, 72)
        shown = Posing(BODY).points(np.tile(arrays["betas"], (FRAMES, 1)), arrays["poses"].reshape(FRAMES, 24, 3))
        np.testing.assert_allclose(shown.keypoints + arrays["trans"][:, None], arrays["body_keypoints"], atol=1e-3)
        np.testing.assert_allclose(arrays["keypoints_world"][:, NAMED], walk()[2][:, NAMED], atol=0.03)
        assert arrays["mocap_framerate"] == 25
    lines = files[2].read_text().splitlines()
    row = [float(number) for number in lines[lines.index("MOTION") + 3].split()]
    assert abs(row[1]) < 60  # centimetres: hips near the world's origin, Y up
    with pytest.raises(SystemExit):
        program.main(["capture", str(tmp_path / "none.toml"), str(inputs[0])])
    assert "There is no calibration file" in capsys.readouterr().err


@pytest.mark.slow
def test_videos_are_followed_once_and_bodies_drawn_over_them(tmp_path, monkeypatch):
    """The network is replaced by one that knows where the person is."""
    made, truth, calls = cameras(), seen(0.2), []
    paths = {}
    for camera in made:
        frames = [np.full((HEIGHT, WIDTH, 3), 60 + 20 * number, np.uint8) for number in range(FRAMES)]
        paths[camera.name] = video_clips.write(tmp_path / f"{camera.name}.mp4", frames)

    from hmr_jax.body.joints import BLAZEPOSE_33

    def track(network, find, frames):
        view = truth[len(calls)]
        calls.append(view)
        for frame, _ in zip(view, frames, strict=True):
            landmarks = np.zeros((33, 3))
            for row, name in enumerate(BLAZEPOSE_33):
                known = f"openpose_{name.replace('foot_index', 'big_toe')}"
                if known in KEYPOINTS_44:
                    landmarks[row] = frame[KEYPOINTS_44.index(known)]
            yield landmarks

    monkeypatch.setattr(pipeline, "LandmarkNetwork", lambda: None)
    monkeypatch.setattr(pipeline, "track", track)
    output = tmp_path / "out"
    capture = predict_capture(made, paths, output, detector=lambda image: None)
    assert len(calls) == 4
    assert capture.rate == video_clips.RATE
    assert sorted(path.name for path in (output / "keypoints").iterdir()) == [f"cam{i}.npz" for i in range(4)]
    again = predict_capture(made, paths, output, detector=lambda image: None)
    assert len(calls) == 4
    np.testing.assert_allclose(again.bodies.translation, capture.bodies.translation)
    from PIL import Image

    from hmr_jax.video.capture.overlay import MOMENTS, write_overlay

    (sheet,) = write_overlay(capture, output)
    image = np.asarray(Image.open(sheet)).astype(int)
    assert image.shape == (4 * 480 + 3 * 6, MOMENTS * 360 + 3 * 6, 3)
    assert (np.ptp(image[:480, :360], -1) > 15).mean() > 0.01  # a body has colours, frames are grey
