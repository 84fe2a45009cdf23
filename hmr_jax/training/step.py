"""One training step as a pure function."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from hmr_jax.batch import Batch
from hmr_jax.config import Config
from hmr_jax.models.flow import RealNVP
from hmr_jax.models.parameters import STATISTICS, Params, merge, to_variables
from hmr_jax.training.critic import Critic, critic_gradients, init_critic, scores, update_critic
from hmr_jax.training.mixture import contributions
from hmr_jax.training.objective import Scalars, check_losses, loss_weights, sample_losses
from hmr_jax.training.optimizer import make_optimizer, update_ema


@struct.dataclass
class TrainState:
    """Everything that a training step changes."""

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    ema: Params | None
    batch_stats: Params
    """Running statistics of BatchNorm in trained groups; {} without BatchNorm."""
    critic: Critic | None = None
    """The discriminator of `loss.adversarial`."""

    @property
    def trained(self) -> Params:
        """Trained parameters and their running statistics, as one tree."""
        return self.params | ({STATISTICS: self.batch_stats} if self.batch_stats else {})

    def items(self) -> dict[str, Any]:
        """The items of a checkpoint, see `checkpoints.runs`."""
        train = {"step": self.step, "opt_state": self.opt_state, "ema": self.ema}
        return {"params": self.trained, "train": train | ({} if self.critic is None else {"critic": self.critic})}

    def with_items(self, items: dict[str, Any]) -> "TrainState":
        """The state with the values of a checkpoint's items."""
        params = dict(items["params"])
        return dataclasses.replace(self, batch_stats=params.pop(STATISTICS, {}), params=params, **items["train"])


def init_state(config: Config, trained: Params) -> TrainState:
    """Trained parameters -> state at step 0."""
    params = {name: group for name, group in trained.items() if name != STATISTICS}
    ema = jax.tree.map(jnp.copy, params) if config.optim.ema else None
    statistics = trained.get(STATISTICS, {})
    opt_state = make_optimizer(config).init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, ema, statistics, init_critic(config))


def donated() -> tuple[int, ...]:
    """Arguments of the training step whose memory its results take: the state.

    None on CPUs, where a save reads the state's own memory: the step after it would first copy the whole state.
    """
    return () if jax.default_backend() == "cpu" else (0,)


def kept(state: TrainState) -> TrainState:
    """The state as a save may read it while training goes on: a copy on the devices, where the next step takes it."""
    shardings = jax.tree.map(lambda array: array.sharding, state)
    return jax.device_put(state, shardings, may_alias=False) if donated() else state


def evaluation_params(state: TrainState, frozen: Params) -> Params:
    """All parameters for evaluation: the moving average if there is one, else the trained ones, and the frozen ones."""
    averaged = {} if state.ema is None else state.ema
    return merge(state.trained | averaged, frozen)


def make_train_step(config: Config, model: nn.Module) -> Callable[..., tuple[TrainState, Scalars]]:
    """(state, frozen, batch) -> (state, scalars); to be jitted. Frozen parameters get no gradient and no state.

    Under `jax.jit` a batch that is sharded over devices is one array, so BatchNorm's statistics are those of the whole
    (micro-)batch.

    Raises:
        ValueError: if a loss needs an output that the model does not predict.
    """
    check_losses(config.loss, model)
    optimizer = make_optimizer(config)
    accumulate = config.optim.accumulate
    with_vertices = config.loss.vertices > 0
    flow = RealNVP(dim=3)

    def loss_of(
        params: Params,
        statistics: Params,
        frozen: Params,
        critic: Critic | None,
        batch: Batch,
        rng: jax.Array,
        step: jax.Array,
    ):
        applied: Any = model.apply(
            to_variables(merge(params | {STATISTICS: statistics}, frozen)), batch, train=True, vertices=with_vertices,
            frozen=config.optim.frozen, rngs={"dropout": rng}, mutable=[STATISTICS],
        )  # fmt: skip
        output, changed = applied

        def log_density(x: jax.Array) -> Any:
            return flow.apply({"params": (params | frozen)["flow"]}, x, method=RealNVP.log_prob)

        discriminate = None if critic is None else lambda *bodies: scores(critic.params, bodies)
        parts = sample_losses(config.loss, model, output, batch, log_density, discriminate)
        means = {name: jnp.sum(loss * batch["valid"]) / len(loss) for name, loss in parts.items()}
        total = sum(weight * means[name] for name, weight in loss_weights(config.loss, means, step).items())
        statistics = {name: changed[STATISTICS][name] for name in statistics}
        logged = {"loss": total, **means, **contributions(config, parts, batch)}
        bodies = None if critic is None else jax.lax.stop_gradient((output.body_pose, output.betas))
        return total, (logged, statistics, bodies)

    gradients_of = jax.value_and_grad(loss_of, has_aux=True)

    def train_step(state: TrainState, frozen: Params, batch: Batch) -> tuple[TrainState, Scalars]:
        rng = jax.random.fold_in(jax.random.key(config.seed), state.step)
        # Strided, so that each micro-batch takes equal parts from all devices.
        micro = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1), batch)

        def micro_step(index, statistics):
            part = jax.tree.map(lambda x: x[index], micro)
            key = jax.random.fold_in(rng, index)
            (_, (logged, statistics, bodies)), gradients = gradients_of(
                state.params, statistics, frozen, state.critic, part, key, state.step
            )
            critic_gradient = None
            if state.critic is not None:
                logged["discriminator"], critic_gradient = critic_gradients(state.critic.params, bodies, part)
            return (logged, gradients, critic_gradient), statistics

        def add(index, carry):
            total, statistics = carry
            added, statistics = micro_step(index, statistics)
            return jax.tree.map(jnp.add, total, added), statistics

        total, statistics = micro_step(0, state.batch_stats)
        if accumulate > 1:
            total, statistics = jax.lax.fori_loop(1, accumulate, add, (total, statistics))
        logged, gradients, critic_gradient = jax.tree.map(lambda x: x / accumulate, total)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = update_ema(config.optim, state.ema, params)
        logged["gradient_norm"] = optax.tree.norm(gradients)
        critic = None if state.critic is None else update_critic(config, state.critic, critic_gradient)
        return TrainState(state.step + 1, params, opt_state, ema, statistics, critic), logged

    return train_step
