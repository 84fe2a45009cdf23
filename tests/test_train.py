"""Training resumes bit for bit, computes the same on any number of devices, and stops with a reason."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from hmr_jax import checkpoints, distributed
from hmr_jax.batch import zeros
from hmr_jax.checkpoints import runs
from hmr_jax.config import CheckpointConfig, MeshConfig, OptimConfig
from hmr_jax.io.orbax_arrays import read_item
from hmr_jax.models import build_model
from hmr_jax.models.parameters import split_params
from hmr_jax.training.logger import RunLogger
from hmr_jax.training.loop import train
from hmr_jax.training.step import init_state, make_train_step
from tools import export_weights

HERE = Path(__file__).parent
TWENTY = {"steps": 20, "checkpoint": CheckpointConfig(every=10, keep=2)}


def params_at(run: Path, step: int):
    return checkpoints.load_for_inference(run / "checkpoints" / str(step))[1]


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def stopping(at: int):
    """A source during which SIGTERM arrives, as a cluster sends it."""

    def batches(step):
        for number, batch in enumerate(tiny.source()(step), start=step):
            if number == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    return batches


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twenty steps without interruption."""
    return train(tiny.config(tmp_path_factory.mktemp("whole"), **TWENTY), tiny.source())


def test_a_run_stopped_by_sigterm_and_resumed_equals_an_uninterrupted_one_bit_for_bit(tmp_path, whole):
    run = train(tiny.config(tmp_path, **TWENTY), stopping(at=9))
    assert sorted(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit()) == [10]
    train(tiny.config(tmp_path, **TWENTY), tiny.source())
    assert_equal_trees(params_at(run, 20), params_at(whole, 20))


def test_a_run_on_all_devices_with_split_parameters_resumes_bit_for_bit(tmp_path, every_device):
    split = {"mesh": MeshConfig(fsdp=2, min_shard_size=64)}
    whole = train(tiny.config(tmp_path / "whole", **split), tiny.source())
    run = train(tiny.config(tmp_path / "parts", **split), stopping(at=1))
    assert sorted(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit()) == [2]
    train(tiny.config(tmp_path / "parts", **split), tiny.source())
    assert_equal_trees(params_at(run, 4), params_at(whole, 4))


def test_a_signal_at_any_moment_of_a_step_still_saves(tmp_path, monkeypatch):
    """It may arrive after the loop has decided whether this step is the last: then the next one is."""
    write = RunLogger.write

    def signal_while_logging(self, step, *arguments):
        write(self, step, *arguments)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunLogger, "write", signal_while_logging)
    run = train(tiny.config(tmp_path, steps=20, checkpoint=CheckpointConfig(every=100)), tiny.source())
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["5"]


@pytest.mark.parametrize("moment", ["training", "saving"])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, whole, moment):
    script = f"import conftest, tiny, test_train; test_train.slow_run({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=HERE, stdout=subprocess.DEVNULL)
    folder = tmp_path / "tiny" / "checkpoints"
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        saved = (folder / "10").exists()
        if (saved and moment == "training") or (moment == "saving" and list(folder.glob("*tmp*"))):
            break
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (folder / "20").exists()
    run = train(tiny.config(tmp_path, **TWENTY), tiny.source())
    assert_equal_trees(params_at(run, 20), params_at(whole, 20))
    assert not list(folder.glob("*tmp*"))


def slow_run(output: str) -> None:
    """Run by the test above in a process of its own; slow enough to be killed at a chosen moment."""

    def slow(step):
        for batch in tiny.source()(step):
            time.sleep(0.05)
            yield batch

    train(tiny.config(output, **TWENTY), slow)


def two_steps(devices: int, **changes):
    """Parameters, scalars and shardings after two steps on so many devices."""
    optim = OptimConfig(learning_rate=1e-3, warmup_steps=1, accumulate=changes.pop("accumulate", 1))
    config = tiny.config("unused", optim=optim, **changes)
    model = build_model(config.model)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:devices])
    params = jax.jit(model.init)(jax.random.key(0), zeros(1, 32))["params"]
    trained, frozen = split_params(jax.tree.map(np.asarray, params), config.optim.frozen)
    shardings = distributed.parameter_sharding(
        mesh, jax.eval_shape(lambda: init_state(config, trained)), config.mesh.min_shard_size
    )
    state = jax.jit(lambda params: init_state(config, params), out_shardings=shardings)(trained)
    step = jax.jit(make_train_step(config, model), out_shardings=(shardings, None))
    for number in range(2):
        state, scalars = step(state, frozen, distributed.to_global(tiny.batch(number), mesh))
    return state.params, scalars, shardings


@pytest.fixture(scope="module")
def one_device():
    return two_steps(1)


@pytest.mark.parametrize(("devices", "fsdp", "accumulate"), [(8, 1, 1), (8, 4, 1), (2, 1, 4)])
def test_devices_sharding_and_accumulation_change_no_result(one_device, devices, fsdp, accumulate):
    expected, expected_scalars, _ = one_device
    params, scalars, shardings = two_steps(
        devices, accumulate=accumulate, mesh=MeshConfig(fsdp=fsdp, min_shard_size=64)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), params, expected)
    for name, value in expected_scalars.items():
        np.testing.assert_allclose(scalars[name], value, rtol=2e-4)
    split = [s for s in jax.tree.leaves(shardings) if "fsdp" in s.spec]
    assert bool(split) == (fsdp > 1)


def test_a_frozen_encoder_does_not_change_and_has_no_optimiser_memory(tmp_path, every_device):
    config = tiny.config(tmp_path)
    run = train(config, tiny.source())
    early, late = params_at(run, 2), params_at(run, 4)
    assert_equal_trees(early["encoder"], late["encoder"])
    assert np.abs(early["decoder"]["queries"] - late["decoder"]["queries"]).max() > 0
    trained, _ = split_params(late, config.optim.frozen)
    count = sum(x.size for x in jax.tree.leaves(trained))
    moments = sum(x.size for x in jax.tree.leaves(init_state(config, trained).opt_state))
    assert moments <= 2 * count + 8


def test_a_trained_encoder_changes(tmp_path):
    run = train(tiny.config(tmp_path, optim=OptimConfig(learning_rate=1e-3, warmup_steps=2, frozen=())), tiny.source())
    early, late = params_at(run, 2), params_at(run, 4)
    assert np.abs(early["encoder"]["pos_embed"] - late["encoder"]["pos_embed"]).max() > 0


def test_the_moving_average_is_what_inference_loads(tmp_path):
    optim = OptimConfig(learning_rate=1e-2, warmup_steps=1, ema=0.9, random_frozen=True)
    run = train(tiny.config(tmp_path, optim=optim), tiny.source())
    with_average = params_at(run, 4)["decoder"]["queries"]
    without = read_item(run / "checkpoints" / "4" / "params")["decoder"]["queries"]
    assert np.abs(with_average - without).max() > 1e-5


def test_mean_parameters_never_move(tmp_path):
    optim = OptimConfig(learning_rate=1e-2, warmup_steps=1, weight_decay=0.5, random_frozen=True)
    head = params_at(train(tiny.config(tmp_path, optim=optim), tiny.source()), 4)["head"]
    np.testing.assert_array_equal(head["mean_camera"], np.float32([0.9, 0, 0]))


def test_a_loss_that_is_not_finite_stops_with_step_losses_and_examples(tmp_path):
    def poisoned(step):
        for number, batch in enumerate(tiny.source()(step), start=step):
            if number == 3:
                batch["keypoints_3d"][5, 2, 0] = np.nan
            yield batch

    with pytest.raises(FloatingPointError, match=r"Step 3 is not finite \(.*keypoints_3d nan.*\[24, 25, 26, 27, 28"):
        train(tiny.config(tmp_path), poisoned)
    assert not (tmp_path / "tiny" / "checkpoints" / "4").exists()
    assert (tmp_path / "tiny" / "checkpoints" / "2").exists()


def test_the_best_and_the_latest_checkpoints_stay(tmp_path, monkeypatch):
    errors = iter([5.0, 1.0, 4.0, 3.0])
    fake = type("Result", (), {})

    def evaluate(*_, **__):
        result = fake()
        result.metrics = {"mpjpe": next(errors)}
        return result

    monkeypatch.setattr("hmr_jax.training.loop.evaluate", evaluate)
    config = tiny.config(tmp_path, steps=8, eval_every=2, checkpoint=CheckpointConfig(every=2, keep=1))
    run = train(config, tiny.source(), tiny.source(end=1))
    assert sorted(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit()) == [4, 8]
    assert checkpoints.describe(run)["step"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, "6 is not divisible"),
        ({"optim": OptimConfig(frozen=("encodr",))}, "encodr"),
        ({"mesh": MeshConfig(fsdp=3)}, "does not divide the 8 devices"),
        ({"init_from": "nowhere"}, "There is no checkpoint in"),
    ],
)
def test_a_configuration_that_cannot_work_is_named(tmp_path, every_device, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(tiny.config(tmp_path, **changes), tiny.source())


def test_a_run_is_not_continued_with_another_configuration(tmp_path):
    train(tiny.config(tmp_path, steps=2), tiny.source())
    with pytest.raises(ValueError, match="other values of seed"):
        train(tiny.config(tmp_path, steps=4, seed=1), tiny.source())


def test_data_that_ends_early_is_reported(tmp_path):
    with pytest.raises(ValueError, match="data ended at step 3 of 4"):
        train(tiny.config(tmp_path), tiny.source(end=3))


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = train(tiny.config(tmp_path), tiny.source())
    for path in (run / "checkpoints" / "4" / "params").rglob("*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoints.load_for_inference(run / "checkpoints" / "4")


def test_export_keeps_the_parameters_to_half_precision(tmp_path):
    run = train(tiny.config(tmp_path), tiny.source())
    config, params = checkpoints.load_for_inference(run)
    export_weights.main(run, tmp_path / "out")
    again_config, again = checkpoints.load_for_inference(tmp_path / "out")
    assert again_config == config
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), again, params)

    export_weights.main(run, tmp_path / "mean", groups=("head",), average_with=(run / "checkpoints" / "2",))
    _, mean = checkpoints.load_for_inference(tmp_path / "mean")
    expected = jax.tree.map(lambda a, b: (a + b) / 2, params["head"], params_at(run, 2)["head"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), mean, {"head": expected})
    with pytest.raises(ValueError, match="has no group 'flow'; it has decoder"):
        export_weights.main(run, tmp_path / "none", groups=("flow",))
    wider = replace(tiny.MODEL, encoder=replace(tiny.MODEL.encoder, dim=24))
    other = train(tiny.config(tmp_path, name="wider", model=wider, steps=1), tiny.source())
    with pytest.raises(ValueError, match="different models"):
        export_weights.main(run, tmp_path / "none", average_with=(other,))
    assert not (tmp_path / "none").exists()


def test_initial_weights_must_fit(tmp_path):
    run = train(tiny.config(tmp_path, steps=2), tiny.source())
    wider = replace(tiny.MODEL, encoder=replace(tiny.MODEL.encoder, dim=24))
    with pytest.raises(ValueError, match=r"'.*/kernel' has shape .*24.* in this model but"):
        train(tiny.config(tmp_path, name="b", model=wider, init_from=str(run)), tiny.source())


def test_a_full_disk_is_one_sentence_and_earlier_checkpoints_stay(tmp_path, monkeypatch):
    save = runs.save

    def full(manager, config, step, items, metrics):
        if step == 4:
            raise OSError(28, "No space left on device")
        save(manager, config, step, items, metrics)

    monkeypatch.setattr(runs, "save", full)
    with pytest.raises(OSError, match=r"No space left on device.*up to step 2 are complete"):
        train(tiny.config(tmp_path), tiny.source())
    assert checkpoints.describe(tmp_path / "tiny")["step"] == 2
