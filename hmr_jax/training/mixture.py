"""The mixture of data sets in the log: its shares, and the loss on each data set.

"dataset" of a batch is each example's position in `training_mixture`.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from hmr_jax.batch import Batch
from hmr_jax.config import Config, DatasetConfig, training_mixture

_SHARE, _PART = "share of ", "loss times share of "


def contributions(config: Config, losses: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """Scalars of a step from which `per_dataset` computes the loss on each data set; none for a single data set.

    Args:
        config: `data` and `loss` are read.
        losses: unweighted losses (B,) by their names in `config.loss`.
        batch: without "dataset" the result is empty.
    """
    mixture = training_mixture(config.data)
    if "dataset" not in batch or len(mixture) < 2:
        return {}
    total = sum(getattr(config.loss, name) * loss for name, loss in losses.items()) * batch["valid"]
    scalars = {}
    for number, dataset in enumerate(mixture):
        mine = (batch["dataset"] == number).astype(jnp.float32)
        scalars[_SHARE + dataset.name] = mine.mean()
        scalars[_PART + dataset.name] = jnp.mean(mine * total)
    return scalars


def per_dataset(means: Mapping[str, float], examples: int) -> dict[str, float]:
    """Replaces `contributions` by "examples/NAME", the number of examples, and "loss/NAME", their mean loss.

    Args:
        means: means of the scalars over some steps.
        examples: number of examples in these steps.
    """
    shares = {name.removeprefix(_SHARE): share for name, share in means.items() if name.startswith(_SHARE)}
    others = {name: value for name, value in means.items() if not name.startswith((_SHARE, _PART))}
    drawn = {f"examples/{name}": float(round(share * examples)) for name, share in shares.items()}
    losses = {f"loss/{name}": means[_PART + name] / share for name, share in shares.items() if share > 0}
    return others | drawn | losses


def names(mixture: Sequence[DatasetConfig]) -> str:
    """The data sets with their shares, for the log."""
    total = sum(dataset.weight for dataset in mixture)
    return ", ".join(f"{dataset.name} {dataset.weight / total:.3f}" for dataset in mixture)
