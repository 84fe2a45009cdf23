"""Synthetic people: labels agree with images, the prior is anatomical, the source keeps the batch contract."""

import itertools
import multiprocessing
import threading
import time
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_pipelines.loading.echoing import mirrored
from data_pipelines.random_streams import Draws
from data_pipelines.synthetic import source as source_module
from data_pipelines.synthetic.kernels import rotation_vectors
from data_pipelines.synthetic.people import SyntheticPeople
from data_pipelines.synthetic.poses import JOINT, STANCES, PosePrior
from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import batch as contract
from hmr_jax.body import load_body_model, skin
from hmr_jax.body.joints import OPENPOSE_25_FROM_45, SMPL_24, SMPL_24_FLIP
from hmr_jax.config import AugmentConfig, Config, DataConfig
from hmr_jax.rendering import project_points, rasterize

SIZE = 96


@pytest.fixture(scope="module")
def people():
    return SyntheticPeople(size=SIZE, seed=1, augment=AugmentConfig())


@pytest.fixture(scope="module")
def drawn(people):
    return people.batch(range(40))


@pytest.fixture(scope="module")
def bodies(drawn):
    body = load_body_model("default")
    rotations = Rotation.from_rotvec(drawn["pose"].reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    return body, skin(body, drawn["betas"], rotations.astype(np.float32), drawn["translation"])


@pytest.fixture(scope="module")
def poses():
    body = load_body_model("default")
    prior = PosePrior(np.asarray(body.joint_regressor) @ np.asarray(body.v_template), body.parents)
    return prior.sample(Draws(0, np.arange(3000), "pose"))


def test_an_example_is_the_same_in_every_batch(people, drawn):
    for batch, row in ((people.batch([7]), 0), (people.batch([900, 7, 3]), 1)):
        for name in drawn:
            np.testing.assert_array_equal(batch[name][row], drawn[name][7], err_msg=name)


def test_examples_and_seeds_differ(drawn):
    other = SyntheticPeople(size=SIZE, seed=2).batch([0])
    assert np.abs(other["pose"][0] - drawn["pose"][0]).max() > 0.1
    assert len(np.unique(drawn["betas"][:, 0])) == 40


def test_draws_are_those_of_numpys_philox():
    indices, counter = np.array([0, 5, 2**40 + 3]), np.array([0, 0, 0, 1], np.uint64)
    generators = [
        np.random.Generator(np.random.Philox(key=np.array([9, i], np.uint64), counter=counter)) for i in indices
    ]
    draws = Draws(9, indices, "camera")
    for shape in ((3,), (600,), (2, 2)):
        expected = np.stack([generator.random(shape) for generator in generators])
        np.testing.assert_array_equal(draws.uniform(shape=shape), expected)
    parts = Draws(9, indices, "camera").split(2, 4).uniform(shape=(4,))
    np.testing.assert_array_equal(parts, Draws(9, indices, "camera").uniform(shape=(8,)).reshape(6, 4))


def test_rotation_vectors_are_scipys():
    vectors = np.random.default_rng(0).normal(size=(500, 3))
    vectors *= np.linspace(0, np.pi, 500)[:, None] / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(
        rotation_vectors(Rotation.from_rotvec(vectors).as_matrix())[:-1], vectors[:-1], atol=1e-9
    )


def test_keypoints_are_those_of_the_body_model(drawn, bodies):
    body, output = bodies
    vertices, joints = np.asarray(output.vertices), np.asarray(output.joints)
    points = np.concatenate([joints, vertices[:, body.landmarks]], 1)[:, list(OPENPOSE_25_FROM_45)]
    points = np.concatenate([points, np.asarray(body.regressors["j19"]) @ vertices], 1)
    np.testing.assert_allclose(drawn["keypoints_3d"][..., :3], points, atol=1e-5)
    pixels = np.einsum("bij,bkj->bki", drawn["intrinsics"], points / points[..., 2:])[..., :2]
    np.testing.assert_allclose(drawn["keypoints_2d"][..., :2], pixels, atol=0.01)
    assert (drawn["keypoints_2d"][..., 2] == 1).all()


def test_boxes_are_tight_boxes_enlarged(drawn, bodies):
    vertices = np.asarray(bodies[1].vertices)
    for i in range(len(vertices)):
        plane = project_points(vertices[i], drawn["intrinsics"][i])[:, :2]
        low, high = plane.min(0), plane.max(0)
        np.testing.assert_allclose(drawn["box_center"][i], (low + high) / 2, atol=0.05)
        np.testing.assert_allclose(drawn["box_size"][i], 1.2 * (high - low).max(), rtol=1e-4)


def test_dense_labels_agree_with_each_other_and_with_the_body(drawn, bodies):
    body, output = bodies
    np.testing.assert_array_equal(drawn["mask"] > 0, drawn["depth"] > 0)
    np.testing.assert_array_equal(drawn["mask"] > 0, drawn["parts"] > 0)
    owners = np.asarray(body.skinning_weights).argmax(1)
    for i in range(8):
        raster = rasterize(
            project_points(np.asarray(output.vertices[i]), drawn["intrinsics"][i]), body.faces, SIZE, SIZE
        )
        both = (raster.face_index >= 0) & (drawn["mask"][i] > 0)
        assert both.sum() > 0.8 * drawn["mask"][i].sum()  # clothes stand out a little, occluders hide
        error = np.abs(drawn["depth"][i] - 1 / np.maximum(raster.inverse_depth, 1e-6))[both]
        assert np.median(error) < 0.03
        owner = 1 + owners[body.faces[raster.face_index, 0]]
        assert (owner == drawn["parts"][i])[both].mean() > 0.85


def test_visible_points_lie_in_the_image_and_not_behind_an_occluder(drawn):
    pixel = np.floor(drawn["keypoints_2d"][..., :2]).astype(int)
    inside = ((pixel >= 0) & (pixel < SIZE)).all(-1)
    assert not drawn["visible"][~inside].any()
    assert 0.3 < drawn["visible"][inside].mean() < 0.95
    example, point = np.nonzero(drawn["visible"])
    column, row = pixel[example, point].T
    torso = np.isin(point, [1, 8, 39, 40, 41])  # well inside the silhouette, so only the person can be there
    assert drawn["mask"][example, row, column][torso].all()


def test_the_margin_leaves_the_whole_person_in_the_image():
    wide = SyntheticPeople(size=SIZE, seed=4, margin=1.5).batch(range(8))
    np.testing.assert_allclose(wide["box_size"], SIZE / 1.5, rtol=1e-4)
    np.testing.assert_allclose(wide["box_center"], SIZE / 2, atol=0.01)


def test_knees_and_elbows_bend_one_way_and_limits_hold(poses):
    def twist_free(name: str, axes: str) -> np.ndarray:
        return Rotation.from_rotvec(poses.pose[:, JOINT[name]]).as_euler(axes, degrees=True)

    for side, sign in (("left", -1), ("right", 1)):
        knee, elbow = twist_free(f"{side}_knee", "XYZ"), twist_free(f"{side}_elbow", "YXZ")
        assert knee[:, 0].min() > -1
        assert knee[:, 0].max() < 146
        assert np.abs(knee[:, 1:]).max() < 20
        assert (sign * elbow[:, 0]).min() > -1
        assert (sign * elbow[:, 0]).max() < 146
        hip = twist_free(f"{side}_hip", "XZY")
        assert -126 < hip[:, 0].min() < hip[:, 0].max() < 26
    spine = np.linalg.norm(poses.pose[:, [3, 6, 9]], axis=-1)
    assert np.rad2deg(spine.max()) < 50


def test_left_and_right_are_alike(poses):
    mirrored = poses.pose[:, SMPL_24_FLIP] * np.array([1, -1, -1])
    spread = poses.pose.std(0)
    assert (np.abs(poses.pose.mean(0) - mirrored.mean(0)) < 0.12 * spread + 0.02).all()


def test_stances_come_as_often_as_the_table_says_and_the_upright_stand(poses):
    weights = np.array([stance.weight for stance in STANCES.values()])
    share = np.bincount(poses.stance, minlength=len(weights)) / len(poses.stance)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.03)
    up = Rotation.from_rotvec(poses.pose[:, 0]).as_matrix()[:, 1, 1]
    lying = np.array([stance.lying for stance in STANCES.values()])[poses.stance]
    assert np.abs(up[lying]).max() < 0.35
    assert up[poses.stance == list(STANCES).index("stand")].min() > 0.9


def test_people_are_seen_from_all_around(people):
    # The pelvis's front axis in camera axes: x to the right, z away.
    pose = np.concatenate([people.batch(range(k, k + 32))["pose"][:, 0] for k in (100, 200, 300)])
    front = Rotation.from_rotvec(pose).as_matrix()[:, :, 2]
    quadrant = np.floor(np.arctan2(front[:, 0], front[:, 2]) / (np.pi / 2)).astype(int)
    assert (np.bincount(quadrant + 2, minlength=4) > 10).all()


CONFIG = Config(
    batch_size=6,
    data=DataConfig(source="synthetic", crop_size=64, dense=("mask", "depth", "parts"), dense_size=16, workers=1),
)


def test_batches_keep_the_contract():
    source = synthetic_source(CONFIG, "train")
    batches = source(0)
    batch = next(batches)
    contract.check(batch)
    batches.close()
    assert set(batch) == set(contract.REQUIRED) | {
        f"{has}{n}" for n in ("mask", "depth", "parts") for has in ("", "has_")
    }
    assert (batch["valid"] == 1).all()
    pixels = SyntheticPeople(size=64, augment=CONFIG.data.augment).batch(range(6))["keypoints_2d"][..., :2]
    np.testing.assert_allclose(batch["keypoints_2d"][..., :2], (pixels - 0.5) / 64 - 0.5, atol=1e-6)
    assert (batch["depth"][batch["mask"] == 0] == 0).all()
    assert np.abs(batch["depth"]).max() < 2.5
    bare = synthetic_source(replace(CONFIG, data=replace(CONFIG.data, dense=())), "train")(0)
    assert set(next(bare)) == set(contract.REQUIRED)
    bare.close()


def test_a_restart_continues_with_the_same_examples():
    source = synthetic_source(CONFIG, "train")
    running, resumed = source(0), source(1)
    next(running)
    second, again = next(running), next(resumed)
    for name in second:
        np.testing.assert_array_equal(second[name], again[name], err_msg=name)
    np.testing.assert_array_equal(second["index"], np.arange(6, 12))
    running.close()
    resumed.close()


def test_hosts_share_a_batch_and_splits_share_nothing():
    def first(split: str, shard=(0, 1)):
        batches = synthetic_source(CONFIG, split, shard=shard)(0)
        batch = next(batches)
        batches.close()
        return batch

    whole, parts = first("train"), [first("train", (k, 2)) for k in range(2)]
    for name in whole:
        np.testing.assert_array_equal(whole[name], np.concatenate([p[name] for p in parts]), err_msg=name)
    assert np.abs(first("validation")["betas"] - first("test")["betas"]).max() > 0.1
    with pytest.raises(ValueError, match="multiple"):
        synthetic_source(CONFIG, "train", shard=(0, 4))


def test_a_finite_split_ends_with_padding():
    batches = list(synthetic_source(CONFIG, "validation", examples=8)(0))
    assert [b["valid"].sum() for b in batches] == [6, 2]
    contract.check(batches[1])


def test_errors_reach_the_reader_and_threads_end(monkeypatch):
    def broken(self, indices):
        raise RuntimeError("no light in the studio")

    with monkeypatch.context() as patch:
        patch.setattr(SyntheticPeople, "batch", broken)
        with pytest.raises(RuntimeError, match="no light"):
            next(synthetic_source(CONFIG, "train")(0))
    before = threading.active_count()
    batches = synthetic_source(CONFIG, "train")(0)
    next(batches)
    assert threading.active_count() > before
    del batches
    deadline = time.time() + 10
    while threading.active_count() > before and time.time() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_processes_make_the_same_batches_as_threads():
    with_processes = replace(CONFIG, data=replace(CONFIG.data, processes=2))
    threads, processes = synthetic_source(CONFIG, "train")(3), synthetic_source(with_processes, "train")(3)
    for _ in range(4):
        one, other = next(threads), next(processes)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    threads.close()
    processes.close()


def test_a_killed_process_is_reported():
    batches = synthetic_source(replace(CONFIG, data=replace(CONFIG.data, processes=1)), "train")(0)
    next(batches)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(OSError, match=r"lower --data\.processes"):
        deque(batches)  # some were made before


def test_people_come_again_mixed_and_mirrored(monkeypatch):
    monkeypatch.setattr(source_module, "ECHO_POOL", 18)  # three batches of six
    again = replace(CONFIG, data=replace(CONFIG.data, uses=3))
    batches = synthetic_source(again, "train")(0)
    shown = list(itertools.islice(batches, 12))
    batches.close()
    index = np.stack([batch["index"] for batch in shown])
    for use in range(3):
        np.testing.assert_array_equal(np.sort(index[3 * use : 3 * use + 3].ravel()), np.arange(18))
    assert (index[3:6] != index[:3]).any()
    assert (index[6:9] != index[3:6]).any()
    np.testing.assert_array_equal(index[9:12].ravel(), np.arange(18, 36))

    first = {name: np.concatenate([batch[name] for batch in shown[:3]]) for name in shown[0]}
    for batch, image in ((shown[4], mirrored), (shown[7], dict)):
        contract.check(batch)
        expected = image({name: first[name][batch["index"]] for name in first})
        for name in batch:
            np.testing.assert_array_equal(batch[name], expected[name], err_msg=name)
    for start in (1, 5, 8, 10):  # in each use, and in the next pool
        resumed = synthetic_source(again, "train")(start)
        for batch in shown[start : start + 2]:
            for name, array in next(resumed).items():
                np.testing.assert_array_equal(array, batch[name], err_msg=name)
        resumed.close()


def test_a_mirrored_batch_shows_its_mirrored_labels(bodies):
    batches = synthetic_source(CONFIG, "train")(0)
    batch = next(batches)
    batches.close()
    other = mirrored(batch)
    contract.check(other)
    back = mirrored(other)
    for name in batch:
        np.testing.assert_allclose(back[name], batch[name], atol=1e-6, err_msg=name)
    body, _ = bodies
    rotations = Rotation.from_rotvec(other["pose"].reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    output = skin(body, other["betas"], rotations.astype(np.float32))
    vertices, joints = np.asarray(output.vertices), np.asarray(output.joints)
    points = np.concatenate([joints, vertices[:, body.landmarks]], 1)[:, list(OPENPOSE_25_FROM_45)]
    labels = other["keypoints_3d"][:, :25, :3]
    shift = (points - labels).mean(1, keepdims=True)
    np.testing.assert_allclose(points - shift, labels, atol=0.004)  # the body is symmetric to a millimetre
    left_hand = other["keypoints_2d"][:, 7, :2]  # of OpenPose's 25: 7 is the left wrist, 4 the right one
    expected = batch["keypoints_2d"][:, 4, :2] * [-1, 1] - [1 / 64, 0]
    np.testing.assert_allclose(left_hand, expected, atol=1e-6)
    left, right = 1 + SMPL_24.index("left_knee"), 1 + SMPL_24.index("right_knee")
    np.testing.assert_array_equal((other["parts"] == left).sum((1, 2)), (batch["parts"] == right).sum((1, 2)))
