"""One tree for all that a network needs: its parameters and, where it has BatchNorm, the running statistics.

The tree maps groups (the top-level modules) to parameters, as Linen's collection "params" does; the group `STATISTICS`
holds Linen's collection "batch_stats", again by top-level module.
"""

from typing import Any

Weights = dict[str, Any]
STATISTICS = "batch_stats"


def to_variables(weights: Weights) -> dict[str, Weights]:
    """What `model.apply` takes."""
    params = {name: group for name, group in weights.items() if name != STATISTICS}
    return {"params": params, STATISTICS: weights.get(STATISTICS, {})}


def from_variables(variables: Any) -> Weights:
    """What `model.init` gives, as one tree."""
    statistics = variables.get(STATISTICS)
    return dict(variables["params"]) | ({STATISTICS: dict(statistics)} if statistics else {})
