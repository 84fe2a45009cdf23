"""The second network of adversarial training: HMR's discriminator, trained beside the one that predicts bodies.

HMR2.0's (Goel et al. 2023) order: both learn from the same predictions, the discriminator with AdamW at the rate and
weight decay of the other optimiser.
"""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from hmr_jax import losses
from hmr_jax.batch import Batch
from hmr_jax.config import Config
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.models.discriminator import Discriminator
from hmr_jax.models.parameters import Params
from hmr_jax.training.optimizer import learning_rate

Bodies = tuple[jax.Array, jax.Array]
"""body_pose (B, 23, 3, 3) and betas (B, 10)."""


@struct.dataclass
class Critic:
    """The discriminator's parameters and the state of its optimiser."""

    params: Params
    opt_state: optax.OptState


def init_critic(config: Config) -> Critic | None:
    """A new discriminator; None without `loss.adversarial`."""
    if not config.loss.adversarial:
        return None
    key = jax.random.fold_in(jax.random.key(config.seed), 1)  # the network's own key is 0
    params = Discriminator().init(key, jnp.zeros((1, 23, 3, 3)), jnp.zeros((1, 10)))["params"]
    return Critic(params, _optimizer(config).init(params))


def scores(params: Params, bodies: Bodies) -> jax.Array:
    """(B, 25) scores of bodies: 1 looks natural."""
    return Discriminator().apply({"params": params}, *bodies)  # type: ignore[return-value]


def critic_gradients(params: Params, predicted: Bodies, batch: Batch) -> tuple[jax.Array, Params]:
    """The discriminator's loss () on a batch's predicted and natural bodies, and its gradients."""
    natural = axis_angle_to_matrix(batch["natural_pose"]), batch["natural_betas"]

    def loss(params: Params) -> jax.Array:
        return losses.discriminator_loss(scores(params, natural), scores(params, predicted)).mean()

    return jax.value_and_grad(loss)(params)


def update_critic(config: Config, critic: Critic, gradients: Params) -> Critic:
    """One step of its optimiser. HMR2.0 weighs its loss by `loss.adversarial` too, which hardly matters to Adam."""
    gradients = jax.tree.map(lambda x: config.loss.adversarial * x, gradients)
    updates, opt_state = _optimizer(config).update(gradients, critic.opt_state, critic.params)
    return Critic(optax.apply_updates(critic.params, updates), opt_state)


def _optimizer(config: Config) -> optax.GradientTransformation:
    return optax.adamw(learning_rate(config), weight_decay=config.optim.weight_decay)
