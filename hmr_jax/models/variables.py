"""One tree for all that a network needs: its parameters and, where it has BatchNorm, the running statistics.

The tree maps groups (the top-level modules) to parameters, as Linen's collection "params" does; the group `STATISTICS`
holds Linen's collection "batch_stats", again by top-level module.
"""

from typing import Any

import flax.linen as nn
import jax

from hmr_jax.batch import Batch

Weights = dict[str, Any]
STATISTICS = "batch_stats"


def to_variables(weights: Weights) -> dict[str, Weights]:
    """What `model.apply` takes."""
    params = {name: group for name, group in weights.items() if name != STATISTICS}
    return {"params": params, STATISTICS: weights.get(STATISTICS, {})}


def init_weights(model: nn.Module, key: jax.Array, example: Batch) -> Weights:
    """Fresh weights. The program that draws them runs once, so it is compiled quickly rather than well."""
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return from_variables(jax.jit(model.init, compiler_options=options)(key, example))


def from_variables(variables: Any) -> Weights:
    """What `model.init` gives, as one tree."""
    statistics = variables.get(STATISTICS)
    return dict(variables["params"]) | ({STATISTICS: dict(statistics)} if statistics else {})
