"""HMR2.0's adversarial prior as an option of training: a second network, a second optimiser, natural poses."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from data_pipelines.loading.natural_bodies import MotionCapture, with_natural_bodies
from data_pipelines.sources import make_source
from data_pipelines.synthetic.poses import NaturalPoses
from hmr_jax import checkpoints, cli
from hmr_jax.body import load_body_model
from hmr_jax.config import CheckpointConfig, DataConfig, LossConfig, OptimConfig
from hmr_jax.io.orbax_arrays import read_item
from hmr_jax.training.loop import train
from hmr_jax.training.optimizer import learning_rate, make_optimizer

pytestmark = pytest.mark.slow

LOSS = LossConfig(adversarial=0.5)
BODIES = NaturalPoses(load_body_model(), 0)


def source(step):
    return with_natural_bodies(tiny.source(), BODIES)(step)


def test_both_networks_learn_and_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    every = CheckpointConfig(every=2)
    whole = train(tiny.config(tmp_path / "whole", steps=4, loss=LOSS, checkpoint=every), source)
    parts = tiny.config(tmp_path / "parts", steps=4, loss=LOSS, checkpoint=every)
    stopped = train(parts, lambda step: (batch for batch, _ in zip(source(step), range(4), strict=False)))
    (stopped / "checkpoints" / "4").rename(tmp_path / "away")
    train(parts, source)
    states = [read_item(run / "checkpoints" / "4" / "train") for run in (whole, stopped)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    before = read_item(whole / "checkpoints" / "2" / "train")["critic"]["params"]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, states[0]["critic"]["params"])
    assert moved["all_out"]["kernel"]
    assert moved["joint_0"]["kernel"]
    assert set(checkpoints.load_for_inference(whole)[1]) == {"encoder", "decoder", "head"}


def test_accumulation_changes_nothing_but_rounding(tmp_path):
    optim = tiny.config(tmp_path).optim
    runs = [
        train(
            tiny.config(tmp_path, name=str(parts), steps=2, loss=LOSS, optim=replace(optim, accumulate=parts)), source
        )
        for parts in (1, 2)
    ]
    one, two = (read_item(run / "checkpoints" / "2" / "train")["critic"]["params"] for run in runs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one, two)


def test_models_without_pose_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"loss\.adversarial judges pose and shape"):
        train(tiny.d2a_config(tmp_path, loss=LOSS), tiny.d2a_source())


def test_natural_bodies_depend_on_the_examples_number_alone(tmp_path):
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.3, (60, 156))
    (tmp_path / "CMU" / "01").mkdir(parents=True)
    file = tmp_path / "CMU" / "01" / "walk_poses.npz"
    np.savez(file, poses=poses, betas=np.arange(16.0), mocap_framerate=np.array(120.0), gender=np.array("male"))
    np.savez(tmp_path / "CMU" / "01" / "shape.npz", betas=np.arange(16.0), gender=np.array("male"))
    for bodies in (BODIES, MotionCapture(tmp_path, 0)):
        together, alone = bodies(np.arange(8)), bodies(np.array([5]))
        assert together["natural_pose"].shape == (8, 23, 3)
        for name, rows in together.items():
            np.testing.assert_array_equal(rows[5], alone[name][0])
            assert rows.dtype == np.float32
    drawn = MotionCapture(tmp_path, 0)(np.arange(200))
    kept = poses[::12, 3:66].reshape(-1, 21, 3).astype(np.float32)  # 10 of the 120 frames a second
    assert {row.tobytes() for row in drawn["natural_pose"][:, :21]} == {row.tobytes() for row in kept}
    np.testing.assert_array_equal(drawn["natural_betas"][0], np.arange(10))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"poses": np.zeros((5, 72, 1)), "betas": np.zeros(10)}, "holds poses of shape"),
        ({"poses": np.zeros((5, 63)), "betas": np.zeros(10)}, "holds poses of shape"),
        ({"poses": np.full((5, 156), 90.0), "betas": np.zeros(10)}, "in radians"),
        ({"poses": np.full((5, 156), np.nan), "betas": np.zeros(10)}, "are not finite"),
        ({"poses": np.zeros((5, 156)), "betas": np.full(10, np.inf)}, "are not finite"),
        ({"poses": np.zeros((5, 156)), "mocap_framerate": np.array(0.0)}, "are not finite"),
        ({"poses": np.zeros((5, 156)), "mocap_framerate": np.array([])}, "that are no numbers"),
        ({"poses": np.array([["a"] * 156]), "betas": np.zeros(10)}, "that are no numbers"),
        ({"poses": np.zeros((0, 156)), "betas": np.zeros(10)}, "holds poses of shape"),
    ],
)
def test_motion_of_another_form_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ValueError, match=f"odd.npz.*{message}|{message}.*"):
        MotionCapture(tmp_path, 0)


def test_no_motion_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no motion in"):
        MotionCapture(tmp_path, 0)


def test_the_sources_of_training_add_natural_bodies_where_they_are_asked_for(tmp_path):
    data = DataConfig(source="synthetic", crop_size=32)
    config = tiny.config(tmp_path, data=data, loss=LOSS, batch_size=4)
    assert "natural_pose" in next(iter(make_source(config, "train")(0)))
    assert "natural_pose" not in next(iter(make_source(config, "validation", examples=4)(0)))
    assert "natural_pose" not in next(iter(make_source(replace(config, loss=LossConfig()), "train")(0)))


def test_hmr2s_recipe_is_that_of_its_code():
    config = cli.load_config("hmr2")
    assert config.loss.adversarial == 0.0005
    assert [float(learning_rate(config)(step)) for step in (0, 1, 500_000, 999_999)] == pytest.approx([1e-5] * 4)
    # One step of AdamW with decay on everything and without clipping, by hand.
    params = {"head": {"bias": np.array([2.0]), "kernel": np.array([[3.0]])}}
    gradients = jax.tree.map(lambda x: 1e4 * np.ones_like(x), params)
    optimizer = make_optimizer(replace(config, optim=replace(config.optim, weight_decay=0.1)))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    assert float(updates["head"]["bias"][0]) == pytest.approx(-1e-5 * (1 + 0.1 * 2.0), rel=1e-4)
    assert float(updates["head"]["kernel"][0, 0]) == pytest.approx(-1e-5 * (1 + 0.1 * 3.0), rel=1e-4)


def test_the_default_optimiser_is_unchanged():
    optim = OptimConfig()
    assert (optim.schedule, optim.decay_all, optim.clip_norm) == ("cosine", False, 1.0)
