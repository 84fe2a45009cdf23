"""D2A-HMR trains, with BatchNorm, and is saved; what a sample lacks is left out, never NaN."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from hmr_jax import checkpoints, distributed
from hmr_jax.batch import zeros
from hmr_jax.checkpoints import runs
from hmr_jax.config import EncoderConfig, LossConfig, MeshConfig, OptimConfig, to_dict
from hmr_jax.io.json_files import write_json
from hmr_jax.models import build_model
from hmr_jax.models.flow import RealNVP
from hmr_jax.models.parameters import STATISTICS, init_params, split_params
from hmr_jax.training import objective
from hmr_jax.training.step import evaluation_params, init_state, make_train_step

QUICK = {"xla_backend_optimization_level": 0}  # programs that run a few times only


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile(compiler_options=QUICK)


@pytest.fixture(scope="module")
def step():
    """A compiled training step of the non-parametric head, its first state and frozen weights."""
    config = tiny.d2a_config("unused", optim=OptimConfig(learning_rate=1e-3, warmup_steps=1))
    model = build_model(config.model)
    weights = init_params(model, jax.random.key(0), zeros(1, 32))
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


def test_statistics_are_saved_restored_and_loaded_for_prediction(step, tmp_path):
    run, state, frozen, _ = step
    config = tiny.d2a_config(tmp_path, optim=OptimConfig(learning_rate=1e-3, warmup_steps=1))
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_json(folder / "config.json", to_dict(config))
    runs.save_frozen(folder, frozen)
    after, _ = run(state, frozen, tiny.d2a_batch(0))
    with runs.open_manager(folder, config) as manager:
        runs.save(manager, config, int(after.step), after.items(), {"mpjpe": 1.0})
        manager.wait_until_finished()
        restored = state.with_items(runs.restore(manager, state.items()))
    jax.tree.map(np.testing.assert_array_equal, restored, after)
    _, loaded = checkpoints.load_for_inference(folder)
    jax.tree.map(np.testing.assert_array_equal, loaded, evaluation_params(after, frozen))
    checkpoints.export(tmp_path / "exported", config, loaded)
    _, exported = checkpoints.load_for_inference(tmp_path / "exported")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), exported, loaded)
    started = checkpoints.load_initial(
        dataclasses.replace(config, init_from=str(folder)), evaluation_params(state, frozen)
    )
    jax.tree.map(np.testing.assert_array_equal, started, loaded)


# ---- BatchNorm, on a model that compiles fast: DeforHMR on the small convolutional encoder

CONV = dataclasses.replace(tiny.MODEL, encoder=EncoderConfig(name="conv", image_size=(32, 32), dim=16))


def steps(devices: int, count: int = 1, frozen_groups: tuple[str, ...] = (), fsdp: int = 1):
    """The first state, the last one with its scalars, and the frozen parameters."""
    optim = OptimConfig(learning_rate=1e-3, warmup_steps=1, frozen=frozen_groups)
    config = tiny.config("unused", model=CONV, optim=optim, mesh=MeshConfig(fsdp=fsdp, min_shard_size=64))
    model = build_model(CONV)
    weights = jax.tree.map(np.asarray, init_params(model, jax.random.key(0), zeros(1, 32)))
    trained, frozen = split_params(weights, frozen_groups)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:devices])
    first = init_state(config, trained)
    shardings = distributed.parameter_sharding(mesh, (first, frozen), config.mesh.min_shard_size)
    first, frozen = jax.device_put((first, frozen), shardings)
    step = jax.jit(make_train_step(config, model), out_shardings=(shardings[0], None), compiler_options=QUICK)
    state = first
    for number in range(count):
        state, scalars = step(state, frozen, distributed.to_global(tiny.batch(number), mesh))
    return first, (state, scalars), frozen


@pytest.fixture(scope="module")
def on_one_device():
    return steps(1, 2)[1]


@pytest.mark.parametrize(("devices", "fsdp"), [(2, 1), (8, 1), (8, 4)])
def test_statistics_are_those_of_the_whole_batch_on_any_number_of_devices(on_one_device, devices, fsdp):
    one, scalars = on_one_device
    _, (state, of_all), _ = steps(devices, 2, fsdp=fsdp)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one.batch_stats, state.batch_stats)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), one.params, state.params)
    np.testing.assert_allclose(scalars["loss"], of_all["loss"], rtol=1e-4)


def test_a_frozen_encoder_keeps_its_statistics_and_uses_them():
    before, (after, _), frozen = steps(1, frozen_groups=("encoder",))
    assert before.batch_stats == {}
    assert after.batch_stats == {}
    assert "encoder" in frozen[STATISTICS]
    assert "encoder" in evaluation_params(after, frozen)[STATISTICS]


def test_likelihood_trains_deforhmr_too():
    """Its 44 keypoints get scales; the gradient reaches scales and flow."""
    model = build_model(dataclasses.replace(tiny.MODEL, uncertainty=True))
    weights = init_params(model, jax.random.key(0), zeros(1, 32))
    batch = tiny.batch(0)
    flow = RealNVP(dim=3)

    def loss(params):
        output = model.apply({"params": params}, batch, train=True)
        density = lambda x: flow.apply({"params": params["flow"]}, x, method=RealNVP.log_prob)  # noqa: E731
        parts = objective.sample_losses(LossConfig(rle=1.0), model, output, batch, density)
        return parts["rle"].mean()

    gradient = compiled(jax.grad(loss), weights)(weights)
    for group in ("scale", "flow", "head", "decoder"):
        assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient[group])) > 0, group
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient[group]))
