"""What recipes need is computed on shapes: bytes of each device, traffic between devices, and other platforms."""

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from hmr_jax import cli, distributed
from hmr_jax.batch import zeros
from hmr_jax.config import Config, MeshConfig
from hmr_jax.evaluation.loop import score_step
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_shapes
from hmr_jax.protocols import get_protocol, load_bodies
from hmr_jax.training import sizing
from hmr_jax.training.abstract import abstract_batch, abstract_step, bytes_per_device
from hmr_jax.training.collectives import collective_bytes
from hmr_jax.training.start import initial_state

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def split(name: str, fsdp: int) -> sizing.Size:
    config = dataclasses.replace(cli.load_config(name), mesh=MeshConfig(fsdp=fsdp))
    return sizing.size_of(config, 8, compiled=False)


def test_bytes_of_a_device_fall_with_the_number_over_which_parameters_are_split():
    whole = split("hmr2", 1)
    for count in (2, 4, 8):
        part = split("hmr2", count)
        for field in ("parameters", "optimizer"):
            assert getattr(part, field) == pytest.approx(getattr(whole, field) / count, rel=0.2)
        assert part.batch == whole.batch


def test_frozen_parameters_are_split_too():
    assert split("deforhmr_paper", 8).frozen == pytest.approx(split("deforhmr_paper", 1).frozen / 8, rel=0.2)


def test_sizes_are_those_of_the_state_that_training_makes(tmp_path, every_device):
    config = tiny.config(tmp_path, mesh=MeshConfig(fsdp=4, min_shard_size=64))
    mesh = distributed.make_mesh(config.mesh)
    state, frozen = initial_state(config, build_model(config.model), mesh, tmp_path)

    def held(tree):
        return sum(part.data.nbytes for leaf in jax.tree.leaves(tree) for part in leaf.addressable_shards[:1])

    size = sizing.size_of(config, 8, compiled=False)
    assert (size.parameters, size.frozen) == (held(state.params), held(frozen))
    assert size.optimizer == held(state) - held(state.params)
    batch = distributed.to_global(tiny.batch(0), mesh)
    assert size.batch == sum(leaf.addressable_shards[0].data.nbytes for leaf in batch.values())


def test_devices_send_each_other_gradients_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("HMR_JAX_PLAIN", "1")  # kernels for CPUs cannot be split
    size = sizing.size_of(tiny.config(tmp_path), 8)
    assert set(size.collectives) == {"all-reduce"}
    assert 0.9 * size.parameters < size.collectives["all-reduce"] < size.parameters + 200  # and the losses
    assert size.temporary > 0
    assert size.flops > 1e6


PROGRAM = """
%inner (p: f32[4]) -> f32[4] {
  %a = f32[4]{0} all-reduce(%p), to_apply=%add
}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %g = bf16[8,3]{1,0} all-gather(%x), dimensions={0}
  %w = (s32[], f32[4]) while(%t), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %r = (f32[10]{0}, /*index=1*/f32[2,3]{1,0}) all-reduce-start(%p, %q), to_apply=%add
  %v = (s32[], f32[4]) while(%t), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %o = f32[4]{0} add(%p, %p)
}
"""


def test_operations_in_loops_count_as_often_as_they_run():
    assert collective_bytes(PROGRAM) == {"all-reduce": 4 * 16 + 3 * 5 * 16, "all-gather": 3 * 48}


def test_the_table_has_a_row_for_each_size():
    size = sizing.Size(8, 2**30, 0, 2**31, 2**20, 2**32, 2e12, {"all-reduce": 2**29})
    lines = sizing.table([size, dataclasses.replace(size, temporary=-1)]).splitlines()
    assert lines[2] == "| 8 | 1 | 0 | 2 | 0.000977 | 4 | 7 | 2 | all-reduce 0.5 |"
    assert lines[3] == "| 8 | 1 | 0 | 2 | 0.000977 | ? | ? | ? | ? |"


def test_efficiency_on_paper_is_that_of_rings():
    size = sizing.Size(8, 800_000_000, 0, 0, 0, 0, 0.0, {"all-reduce": 800_000_000})
    assert sizing.efficiency(size, 1, 1, 0.1, 100.0, 10.0) == (0.0, pytest.approx(0.1 / (0.1 + 2 * 0.7 / 100)))
    between, share = sizing.efficiency(size, 1, 2, 0.1, 100.0, 10.0)
    assert between == 1e8
    assert share == pytest.approx(0.1 / (0.1 + 2 * 0.7 / 100 + 0.1 / 10))
    assert "| 256 |" in sizing.scaling_table(size, 1, 0.1, 100.0, 10.0)


def small(path: Path) -> Config:
    """A configuration with few blocks, channels and examples, but all of its parts."""
    config = cli.load_config(path)
    encoder = config.model.encoder
    if encoder.name == "vit":
        encoder = dataclasses.replace(encoder, dim=96, depth=2, num_heads=2)
    model = dataclasses.replace(config.model, encoder=encoder, dtype="bfloat16")
    return dataclasses.replace(config, batch_size=2, model=model)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_lowers_for_accelerators(path):
    """Training and evaluation; on a machine that has none."""
    config = small(path)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
    made = abstract_step(config, mesh)
    model = build_model(config.model)
    body = getattr(model, "body", None)
    protocol = get_protocol("synthetic")
    evaluate = score_step(model, mesh, protocol, None if body is None else load_bodies(protocol, body, None))
    parameters = init_shapes(model, jax.random.key(0), zeros(1, config.data.crop_size))
    scored = parameters, abstract_batch(config, mesh)
    for step, arguments in ((made.step, made.arguments), (jax.jit(evaluate), scored)):
        exported = jax.export.export(step, platforms=["tpu", "cuda"])(*arguments)
        assert exported.platforms == ("tpu", "cuda")
        assert len(exported.mlir_module_serialized) > 10_000


def test_bytes_of_a_device_count_its_part_only():
    mesh = distributed.make_mesh(MeshConfig(fsdp=8), jax.devices())
    array = jax.device_put(np.zeros((16, 3), np.float32), distributed.batch_sharding(mesh))
    assert bytes_per_device(array) == math.prod(array.shape) * 4 / 8
