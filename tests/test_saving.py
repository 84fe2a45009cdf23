"""A save does not hold up training: it reads a state that no step takes away, and works in the background."""

import jax
import numpy as np
import pytest
import tiny

from hmr_jax import checkpoints, distributed
from hmr_jax.config import MeshConfig
from hmr_jax.io import checksums
from hmr_jax.training import loop
from hmr_jax.training import step as step_module
from hmr_jax.training.loop import train
from hmr_jax.training.step import donated, kept

pytestmark = pytest.mark.slow


def test_a_save_reads_a_state_that_the_next_step_does_not_take_away(monkeypatch, every_device):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    mesh = distributed.make_mesh(MeshConfig(fsdp=2))
    arrays = {"split": np.ones((64, 64), np.float32), "whole": np.ones(3, np.float32)}
    state = jax.device_put(arrays, distributed.parameter_sharding(mesh, arrays, 64))
    saved = kept(state)
    step = jax.jit(lambda state: jax.tree.map(lambda array: array + 1, state), donate_argnums=donated())
    after = jax.block_until_ready(step(state))
    assert state["split"].is_deleted()
    jax.tree.map(np.testing.assert_array_equal, saved, arrays)
    assert all(leaf.min() == leaf.max() == 2 for leaf in jax.tree.leaves(after))
    assert jax.tree.map(lambda array: array.sharding, saved) == jax.tree.map(lambda array: array.sharding, after)


def test_on_a_cpu_steps_leave_the_state_alone():
    state = {"array": jax.numpy.ones(1000)}
    jax.jit(lambda state: jax.tree.map(lambda array: array + 1, state), donate_argnums=donated())(kept(state))
    assert not state["array"].is_deleted()


def test_a_run_that_saves_copies_of_its_state_is_the_same_bit_for_bit(tmp_path, monkeypatch, every_device):
    split = {"mesh": MeshConfig(fsdp=2, min_shard_size=64)}
    plain = train(tiny.config(tmp_path / "plain", **split), tiny.source())
    for module in (loop, step_module):
        monkeypatch.setattr(module, "donated", lambda: (0,))
    copied = train(tiny.config(tmp_path / "copied", **split), tiny.source())
    for step in ("2", "4"):
        pair = (checkpoints.load_for_inference(run / "checkpoints" / step)[1] for run in (copied, plain))
        jax.tree.map(np.testing.assert_array_equal, *pair)


def test_a_checkpoint_has_its_checksums_when_it_appears(tmp_path, monkeypatch):
    write, early = checksums.write_checksums, []

    def note(folder):
        if folder.parent.parent.name == "checkpoints":
            early.append(not any(path.name == "2" for path in folder.parent.parent.iterdir()))
        write(folder)

    monkeypatch.setattr(checksums, "write_checksums", note)
    run = train(tiny.config(tmp_path, steps=2), tiny.source())
    assert early
    assert all(early)
    assert all((run / "checkpoints" / "2" / item / checksums.NAME).exists() for item in ("params", "train"))
