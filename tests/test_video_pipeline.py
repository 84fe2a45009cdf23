"""From a video to the files of its people, with a predictor that finds rectangles, and once with the real one."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("av")

import av
import video_clips as clips

from hmr_jax.video import passes, predict_video
from hmr_jax.video.frames import read_frames


def run(path, tmp_path, predictor=None, **options):
    return predict_video(predictor or clips.FakePredictor(), path, tmp_path / "out", **options)


def test_two_people_who_cross_become_two_files_a_summary_and_an_overlay(tmp_path):
    path = clips.clip(tmp_path / "walk.mp4", 24, people=2, sound="aac")
    result = run(path, tmp_path, detect_every=2)
    out = tmp_path / "out"
    people = [f"walk_person_{number}.{kind}" for number in (0, 1) for kind in ("bvh", "glb", "npz")]
    names = ["walk_overlay.mp4", *people, "walk_video.json"]
    assert sorted(file.name for file in out.iterdir()) == names
    assert sorted(file.name for file in result.files) == names
    summary = json.loads((out / "walk_video.json").read_text())
    assert summary["video"]["frames"] == 24
    assert summary["camera"]["focal_length"] == [200, 200]
    assert [person["file"] for person in summary["people"]] == people[2::3]
    for number in range(2):
        with np.load(out / people[2::3][number]) as file:
            arrays = dict(file)
        assert arrays["poses"].shape == (24, 72)
        assert arrays["betas"].shape == (10,)
        assert arrays["trans"].shape == (24, 3)
        assert arrays["frames"].tolist() == list(range(24))
        np.testing.assert_allclose(arrays["times"], np.arange(24) / 24, atol=1e-3)
        assert not arrays["interpolated"].any()
        assert arrays["mocap_framerate"] == 24
        assert "frame_betas" not in arrays
    middle = np.array([(person.motion.boxes[:, 0] + person.motion.boxes[:, 2]) / 2 for person in result.people])
    heights = [person.motion.boxes[:, 3].mean() for person in result.people]
    order = np.argsort(heights)  # the second rectangle stands 4 px lower
    assert (np.diff(middle[order[0]]) > 0).mean() > 0.9
    assert (np.diff(middle[order[1]]) < 0).mean() > 0.9
    with av.open(str(out / "walk_overlay.mp4")) as container:
        assert len(container.streams.audio) == 1
    assert len(list(read_frames(out / "walk_overlay.mp4"))) == 24


def test_results_have_the_lens_that_was_given(tmp_path):
    lens = [-0.2, 0.05, 0.001, 0, 0]
    intrinsics = {"matrix": [200, 200, 80, 60], "distortion": lens}
    run(clips.clip(tmp_path / "a.mp4", 8), tmp_path, intrinsics=intrinsics)
    camera = json.loads((tmp_path / "out" / "a_video.json").read_text())["camera"]
    assert camera["lens"] == {"model": "brown", "coefficients": lens}
    with np.load(tmp_path / "out" / "a_person_0.npz") as file:
        assert file["lens_model"] == "brown"
        np.testing.assert_allclose(file["lens_coefficients"], lens)


def test_smoothed_bodies_have_one_shape_and_stay_where_they_were_seen(tmp_path):
    result = run(clips.clip(tmp_path / "a.mp4"), tmp_path, kinds=("npz", "glb", "bvh"))
    motion, before = result.people[0].motion, result.people[0].unsmoothed
    assert np.ptp(motion.betas, 0).max() == 0
    means = (track.keypoints_image.mean(0) for track in (motion, before))
    np.testing.assert_allclose(*means, atol=0.1 * np.ptp(before.keypoints_image))
    assert np.abs(np.diff(motion.keypoints_image, 2, 0)).mean() < np.abs(np.diff(before.keypoints_image, 2, 0)).mean()


def test_tracks_are_refined_as_a_whole_where_keypoints_are_seen_and_frames_where_nothing_is_smoothed(tmp_path):
    path, predictor = clips.clip(tmp_path / "a.mp4", 12), clips.FakePredictor(keypoints=True)
    whole = run(path, tmp_path, predictor, kinds=("npz",)).people[0].motion
    assert predictor.refined is False
    assert whole.moved.shape == (12,)
    with np.load(tmp_path / "out" / "a_person_0.npz") as file:
        np.testing.assert_array_equal(file["moved"], whole.moved)
    assert run(path, tmp_path, predictor, kinds=("npz",), smooth=False).people[0].motion.moved is None
    assert predictor.refined is True
    predictor.refine = False
    assert run(path, tmp_path, predictor, kinds=("npz",)).people[0].motion.moved is None
    assert predictor.refined is False


def test_a_person_has_a_json_file_on_request(tmp_path):
    result = run(clips.clip(tmp_path / "a.mp4"), tmp_path, kinds=("npz", "track"))
    assert [path.name for path in result.files] == ["a_person_0.npz", "a_person_0.json", "a_video.json"]
    track = json.loads((tmp_path / "out" / "a_person_0.json").read_text())
    with np.load(tmp_path / "out" / "a_person_0.npz") as file:
        for name in ("poses", "trans", "world_trans", "keypoints_image", "joints"):
            np.testing.assert_allclose(track[name], file[name], rtol=1e-5, atol=1e-6)
    assert len(track["joint_names"]) == 24
    assert track["video"]["file"] == "a.mp4"


def test_motions_are_also_in_level_axes(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", people=2)
    result = run(path, tmp_path, kinds=("npz",), up=(0, -1, 0))
    world = json.loads((tmp_path / "out" / "a_video.json").read_text())["shots"][0]["world"]
    assert world["source"] == "given"
    np.testing.assert_allclose(world["rotation"], np.diag([1, -1, -1]), atol=1e-6)
    for number, person in enumerate(result.people):
        with np.load(tmp_path / "out" / f"a_person_{number}.npz") as file:
            root = file["joints"][:, 0]
            moved = (root + file["trans"]) @ np.array(world["rotation"]).T + world["translation"]
            np.testing.assert_allclose(file["world_trans"] + root, moved, atol=1e-4)
            np.testing.assert_allclose(file["world_rotation"], person.world.rotation)
    assert run(path, tmp_path, kinds=("json",)).people[0].world.source == "people"
    with pytest.raises(ValueError, match="give three numbers"):
        run(path, tmp_path, kinds=("json",), up=(0, 0, 0))


def test_without_smoothing_predictions_stay_as_they_are(tmp_path):
    result = run(clips.clip(tmp_path / "a.mp4", 12), tmp_path, kinds=("npz", "glb", "bvh"), smooth=False)
    motion = result.people[0].motion
    np.testing.assert_array_equal(motion.rotations, result.people[0].unsmoothed.rotations)
    with np.load(tmp_path / "out" / "a_person_0.npz") as file:
        assert file["frame_betas"].shape == (12, 10)


def test_frames_without_the_person_are_interpolated_and_flagged(tmp_path):
    images = [clips.draw(frame, people=0 if 10 <= frame < 20 else 1) for frame in range(30)]
    path = clips.write(tmp_path / "a.mp4", images)
    predictor = clips.FakePredictor()
    result = run(path, tmp_path, predictor, kinds=("npz", "glb", "bvh"), detect_every=1)
    (person,) = result.people
    assert np.flatnonzero(~person.motion.predicted).tolist() == list(range(10, 20))
    assert np.isfinite(person.motion.rotations).all()
    assert predictor.predicted == 20


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "PART", 8)
    path = clips.clip(tmp_path / "a.mp4", 30)
    whole = run(path, tmp_path / "whole", kinds=("npz", "glb", "bvh"))
    with pytest.raises(KeyboardInterrupt):
        run(path, tmp_path, clips.FakePredictor(fails_at=20), kinds=("npz", "glb", "bvh"))
    again = clips.FakePredictor()
    result = run(path, tmp_path, again, kinds=("npz", "glb", "bvh"))
    assert again.searched == 0
    assert again.predicted == 14
    np.testing.assert_allclose(result.people[0].motion.rotations, whole.people[0].motion.rotations)
    assert not list((tmp_path / "out").glob(".*"))


def test_other_options_do_not_go_on_with_old_work(tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "PART", 8)
    path = clips.clip(tmp_path / "a.mp4", 20)
    with pytest.raises(KeyboardInterrupt):
        run(path, tmp_path, clips.FakePredictor(fails_at=17), kinds=("npz", "glb", "bvh"))
    again = clips.FakePredictor()
    run(path, tmp_path, again, kinds=("npz", "glb", "bvh"), detect_every=5)
    assert (again.searched, again.predicted) == (4, 20)


def test_a_video_without_people_gives_an_empty_result_and_a_warning(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", 6, people=0)
    with pytest.warns(UserWarning, match=r"No people were found in a\.mp4"):
        result = run(path, tmp_path)
    assert result.people == []
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a_video.json"]
    assert json.loads((tmp_path / "out" / "a_video.json").read_text())["people"] == []


def test_one_frame_is_enough(tmp_path):
    result = run(clips.clip(tmp_path / "a.mp4", 1), tmp_path)
    assert result.people[0].motion.rotations.shape == (1, 24, 3)
    assert np.isfinite(result.people[0].motion.translation).all()


def test_irregular_times_are_kept(tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.1, 12))
    times -= times[0]
    path = clips.clip(tmp_path / "a.mp4", 12, times=times.tolist())
    result = run(path, tmp_path)
    np.testing.assert_allclose(result.people[0].motion.times, times, atol=1e-4)
    drawn = [frame.time for frame in read_frames(tmp_path / "out" / "a_overlay.mp4")]
    np.testing.assert_allclose(drawn, times, atol=1e-3)


def test_results_of_an_earlier_run_are_replaced(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", 8, people=2)
    run(path, tmp_path)
    run(clips.clip(path, 8), tmp_path, kinds=("npz", "glb", "bvh"))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a_person_0.bvh", "a_person_0.glb", "a_person_0.npz", "a_video.json",
    ]  # fmt: skip


def test_given_boxes_are_taken_as_they_are(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", 12)
    predictor = clips.FakePredictor()
    boxes = [clips.person_box(frame)[None] for frame in range(12)]
    result = run(path, tmp_path, predictor, boxes=boxes, kinds=("npz", "glb", "bvh"))
    assert predictor.searched == 0
    np.testing.assert_allclose(result.people[0].motion.boxes, np.concatenate(boxes), atol=1e-3)
    sparse = {frame: boxes[frame] for frame in (0, 5, 11)}
    result = run(path, tmp_path, boxes=sparse, kinds=("npz", "glb", "bvh"))
    np.testing.assert_allclose(result.people[0].motion.boxes, np.concatenate(boxes), atol=1e-3)


def test_boxes_of_another_number_of_frames_are_refused(tmp_path):
    path = clips.clip(tmp_path / "a.mp4", 5)
    with pytest.raises(ValueError, match="5 frames, but there are boxes for 3"):
        run(path, tmp_path, boxes=[clips.person_box(0)[None]] * 3)
    with pytest.raises(ValueError, match="5 frames, but there are boxes for frame 5"):
        run(path, tmp_path, boxes={2: clips.person_box(0)[None], 5: clips.person_box(0)[None]})


@pytest.mark.parametrize(("options", "message"), [
    ({"boxes": "whole"}, "give (n, 4)"), ({"boxes": [[[1, 2, 3]]]}, "are not a list"), ({"detect_every": 0}, "1 or"),
    ({"intrinsics": [1, 2]}, "Intrinsics"), ({"smoothing": 0.0}, "smoothing"),
])  # fmt: skip
def test_wrong_arguments_are_refused(tmp_path, options, message):
    path = clips.clip(tmp_path / "a.mp4", 2)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(path, tmp_path, **options)


@pytest.mark.slow
def test_the_shipped_model_follows_a_real_person(tmp_path):
    from skimage import data

    from hmr_jax.inference import Predictor

    photo = data.astronaut()
    images = [np.ascontiguousarray(photo[:320, 40 + 2 * i : 360 + 2 * i]) for i in range(6)]
    path = clips.write(tmp_path / "a.mp4", images)
    result = run(path, tmp_path, Predictor.from_checkpoint())
    (person,) = result.people
    assert person.motion.predicted.all()
    assert len(person.motion.frames) == 6
    nose = [184, 125] - np.arange(6)[:, None] * [2, 0]
    np.testing.assert_allclose(person.motion.keypoints_image[:, 0], nose, atol=45)
    assert len(list(read_frames(tmp_path / "out" / "a_overlay.mp4"))) == 6
