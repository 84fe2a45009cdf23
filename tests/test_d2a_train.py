"""D2A-HMR trains, is saved, evaluated and resumed like any model; what a sample lacks is left out, never NaN."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from hmr_jax import checkpoint
from hmr_jax.batch import zeros
from hmr_jax.config import OptimConfig
from hmr_jax.models import build_model
from hmr_jax.models.variables import STATISTICS, init_weights
from hmr_jax.optim import split_params
from hmr_jax.steps import init_state, make_train_step
from hmr_jax.train import train

QUICK = {"xla_backend_optimization_level": 0}  # programs that run a few times only


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile(compiler_options=QUICK)


@pytest.fixture(scope="module")
def step():
    """A compiled training step of the non-parametric head, its first state and frozen weights."""
    config = tiny.d2a_config("unused", optim=OptimConfig(learning_rate=1e-3, warmup_steps=1))
    model = build_model(config.model)
    weights = init_weights(model, jax.random.key(0), zeros(1, 32))
    trained, frozen = split_params(weights, config.optim.frozen)
    state = init_state(config, trained)
    return compiled(make_train_step(config, model), state, frozen, tiny.d2a_batch(0)), state, frozen, model


def test_three_steps_change_every_trained_group_and_statistics(step):
    run, first, frozen, _ = step
    state = first
    for number in range(3):
        state, scalars = run(state, frozen, tiny.d2a_batch(number))
        assert all(np.isfinite(value) for value in scalars.values())
    assert {"keypoints_2d", "keypoints_3d", "vertices", "silhouette", "rle"} <= set(scalars)
    for group in first.params:
        leaves = jax.tree.leaves(
            jax.tree.map(lambda a, b: np.abs(a - b).max(), first.params[group], state.params[group])
        )
        assert max(leaves) > 0, group
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first.batch_stats, state.batch_stats)
    assert min(jax.tree.leaves(moved)) > 0
    assert int(state.step) == 3


def test_masking_and_dropout_follow_from_seed_and_step(step):
    run, state, frozen, _ = step
    again = [run(state, frozen, tiny.d2a_batch(0))[1]["loss"] for _ in range(2)]
    assert again[0] == again[1]
    later = dataclasses.replace(state, step=state.step + 1)
    assert run(later, frozen, tiny.d2a_batch(0))[1]["loss"] != again[0]


@pytest.mark.parametrize(
    ("absent", "loss"), [("has_mask", "silhouette"), ("has_pose", "vertices"), ("has_pseudo_depth", None)]
)
def test_a_missing_label_or_map_leaves_its_loss_out(step, absent, loss):
    run, state, frozen, _ = step
    batch = tiny.d2a_batch(0)
    batch[absent] = np.zeros_like(batch[absent])
    if absent == "has_pose":
        batch["pose"] = np.full_like(batch["pose"], np.nan)
    after, scalars = run(state, frozen, batch)
    assert all(np.isfinite(value) for value in scalars.values()), scalars
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    if loss:
        assert scalars[loss] == 0


def test_a_run_is_evaluated_saved_and_goes_on_with_its_statistics(tmp_path):
    config = tiny.d2a_config(tmp_path, eval_every=2)
    whole = train(config, tiny.d2a_source(), tiny.d2a_source(end=1))
    halves = dataclasses.replace(config, name="halves")
    train(dataclasses.replace(halves, steps=2), tiny.d2a_source(), tiny.d2a_source(end=1))
    again = train(halves, tiny.d2a_source(), tiny.d2a_source(end=1))
    one, two = (checkpoint.load_for_inference(run / "checkpoints" / "4")[1] for run in (whole, again))
    assert "depth_encoder" in one[STATISTICS]
    jax.tree.map(np.testing.assert_array_equal, one, two)
