"""Parameters and optimiser are made where they stay: no device holds more at the start than its share of the state."""

from dataclasses import replace

import jax
import pytest
import tiny

from hmr_jax import distributed
from hmr_jax.checkpoints import export
from hmr_jax.config import EncoderConfig, MeshConfig, OptimConfig
from hmr_jax.models import build_model
from hmr_jax.training.abstract import bytes_per_device
from hmr_jax.training.start import initial_state

pytestmark = pytest.mark.slow

LARGE = replace(tiny.MODEL, encoder=EncoderConfig(image_size=(32, 32), dim=512, depth=6, num_heads=8))


@pytest.fixture
def peaks(monkeypatch):
    """Bytes of a device that each compiled program needs, arguments and all, by its name."""
    real, found = jax.jit, {}

    def measuring(function, **options):
        program = real(function, **options)

        def call(*arguments):
            used = program.lower(*arguments).compile().memory_analysis()
            found[getattr(function, "__name__", "")] = (
                used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes
                - used.alias_size_in_bytes
            )  # fmt: skip
            return program(*arguments)

        return call

    monkeypatch.setattr(jax, "jit", measuring)
    return found


@pytest.mark.parametrize("frozen", [(), ("encoder",)])
def test_the_start_needs_no_more_memory_than_the_share_of_the_state(tmp_path, every_device, peaks, frozen):
    config = tiny.config(
        tmp_path, model=LARGE, optim=OptimConfig(frozen=frozen), mesh=MeshConfig(fsdp=8, min_shard_size=4096)
    )
    if frozen:
        config = replace(config, init_from=str(tmp_path / "source"), init_groups=frozen)
        export(tmp_path / "source", config, tiny.random_parameters(config))
    mesh = distributed.make_mesh(config.mesh)
    made = initial_state(config, build_model(config.model), mesh, tmp_path)
    share, kept = bytes_per_device(made), bytes_per_device(made[1])
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(made))
    assert share < 1.1 * whole / 8
    assert set(peaks) >= {"init", "<lambda>"}
    assert peaks["<lambda>"] < 1.1 * share  # the parameters, before anything else is there
    assert peaks["init"] + kept < 1.1 * share  # the optimiser's state, beside the frozen parameters
