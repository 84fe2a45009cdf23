"""The training step on shapes alone: nothing is computed, so recipes of any size can be compiled and measured."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hmr_jax import distributed
from hmr_jax.batch import zeros
from hmr_jax.config import Config
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_shapes, split_params
from hmr_jax.training.step import init_state, make_train_step


class AbstractStep(NamedTuple):
    """A training step, and its arguments as `jax.ShapeDtypeStruct` with shardings."""

    step: Any
    """Jitted, with donated state, as in training."""
    state: Any
    frozen: Any
    batch: Mapping[str, jax.ShapeDtypeStruct]

    @property
    def arguments(self) -> tuple[Any, Any, Any]:
        """Those of `step`."""
        return self.state, self.frozen, self.batch


def abstract_step(config: Config, mesh: Mesh) -> AbstractStep:
    """The step of a configuration on a mesh of devices.

    Raises:
        ValueError: if the configuration does not fit together.
    """
    model = build_model(config.model)
    shapes = init_shapes(model, jax.random.key(config.seed), zeros(1, config.data.crop_size))
    trained, frozen = split_params(shapes, config.optim.frozen)
    state = jax.eval_shape(lambda params: init_state(config, params), trained)
    state, frozen = (_placed(tree, distributed.parameter_sharding(mesh, tree, config.mesh.min_shard_size))
                     for tree in (state, frozen))  # fmt: skip
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    step = jax.jit(make_train_step(config, model), donate_argnums=0, out_shardings=(shardings, None))
    return AbstractStep(step, state, frozen, abstract_batch(config, mesh))


def abstract_batch(config: Config, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch of a configuration, split over all devices."""
    data = config.data
    optional = (*data.dense, *(f"has_{name}" for name in data.dense))
    optional += ("pseudo_depth", "has_pseudo_depth") if data.pseudo_depth else ()
    optional += ("natural_pose", "natural_betas") if config.loss.adversarial else ()
    one = zeros(1, data.crop_size, optional, data.dense_size)
    sharding = distributed.batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct(
            (config.batch_size, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype), sharding=sharding
        )
        for name, array in one.items()
    }


def bytes_per_device(tree: Any) -> int:
    """Bytes of the parts of arrays (or shapes) with shardings that one device holds."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * jnp.dtype(leaf.dtype).itemsize for leaf in leaves)


def _placed(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), tree, shardings)
