"""One tree for all arrays of a network: its parameters and, with BatchNorm, the running statistics.

The tree maps groups (the top-level modules) to parameters, as Linen's collection "params" does; the group `STATISTICS`
holds Linen's collection "batch_stats", again by top-level module.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from hmr_jax.batch import Batch

Params = dict[str, Any]
STATISTICS = "batch_stats"


def to_variables(params: Params) -> dict[str, Params]:
    """The tree as `model.apply` takes it."""
    groups = {name: group for name, group in params.items() if name != STATISTICS}
    return {"params": groups, STATISTICS: params.get(STATISTICS, {})}


def encoder_variables(params: Params) -> dict[str, Params]:
    """Of a model's tree, what `encoders.EncoderAlone.apply` takes."""
    statistics = params.get(STATISTICS, {})
    kept = {name: group for name, group in statistics.items() if name == "encoder"}
    return to_variables({"encoder": params["encoder"], STATISTICS: kept})


def from_variables(variables: Any) -> Params:
    """The result of `model.init` as one tree."""
    statistics = variables.get(STATISTICS)
    return dict(variables["params"]) | ({STATISTICS: dict(statistics)} if statistics else {})


def init_params(
    model: nn.Module,
    key: jax.Array,
    example: Batch,
    shardings: Callable[[Params], Any] | None = None,
    known: Params | None = None,
) -> Params:
    """Initial parameters. On CPUs their program is compiled without optimisation, as it runs only once.

    Args:
        model: the network.
        key: of the random numbers.
        example: a batch.
        shardings: from the shapes of the parameters to where they are made; None: the first device.
        known: values that some parameters have already, and the shapes of the others: only these are made. None: all.
    """
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    known = init_shapes(model, key, example) if known is None else known

    def unknown(tree: Any) -> list[Any]:
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(known), strict=True)
        return [leaf for leaf, value in pairs if isinstance(value, jax.ShapeDtypeStruct)]

    init = jax.jit(
        lambda key, batch: unknown(from_variables(model.init(key, batch))),
        out_shardings=None if shardings is None else unknown(shardings(known)),
        compiler_options=options,
    )
    made = iter(init(key, example) if unknown(known) else ())
    return jax.tree.map(lambda value: next(made) if isinstance(value, jax.ShapeDtypeStruct) else value, known)


def init_shapes(model: nn.Module, key: jax.Array, example: Batch) -> Params:
    """Shapes and types of `init_params`, without computing anything."""
    return jax.eval_shape(lambda: from_variables(model.init(key, example)))


def split_params(params: Params, frozen: tuple[str, ...]) -> tuple[Params, Params]:
    """Splits top-level groups, each with its BatchNorm statistics, into (trained, frozen).

    Raises:
        ValueError: if a name is not a group, or every group is frozen.
    """
    groups = [name for name in params if name != STATISTICS]
    for name in frozen:
        if name not in groups:
            raise ValueError(f"optim.frozen names '{name}', but the model's groups are {', '.join(groups)}.")
    if not set(groups) - set(frozen):
        raise ValueError("optim.frozen names every group of the model: nothing is left to train.")

    def pick(wanted: Callable[[str], bool]) -> Params:
        picked = {name: params[name] for name in groups if wanted(name)}
        statistics = {name: group for name, group in params.get(STATISTICS, {}).items() if wanted(name)}
        return picked | ({STATISTICS: statistics} if statistics else {})

    return pick(lambda name: name not in frozen), pick(lambda name: name in frozen)


def merge(trained: Params, frozen: Params) -> Params:
    """The inverse of `split_params`."""
    statistics = trained.get(STATISTICS, {}) | frozen.get(STATISTICS, {})
    return trained | frozen | ({STATISTICS: statistics} if statistics else {})


def parameters_hash(params: Params) -> str:
    """A hash of parameters, 32 hexadecimal digits: equal for equal names, types and numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(jax.device_get(leaf))
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
