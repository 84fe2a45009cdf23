"""The discriminator of the adversarial prior is HMR2.0's, and its losses tell predictions from natural poses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.losses import adversarial_loss, discriminator_loss
from hmr_jax.models.discriminator import Discriminator

J, B = 23, 4


def bodies(seed, scale=0.3, count=B):
    rng = np.random.default_rng(seed)
    pose = axis_angle_to_matrix(jnp.asarray(rng.normal(0, scale, (count, J, 3)), jnp.float32))
    return pose, jnp.asarray(rng.normal(0, 1, (count, 10)), jnp.float32)


@pytest.fixture(scope="module")
def params():
    return jax.jit(Discriminator().init)(jax.random.key(0), *bodies(0))["params"]


def hmr2_state(params):
    """The parameters under the names and in the layouts of HMR2.0's PyTorch module."""
    state = {}
    for ours, theirs in (("joint_0", "D_conv1"), ("joint_1", "D_conv2")):
        state[f"{theirs}.weight"] = np.asarray(params[ours]["kernel"]).T[..., None, None]
        state[f"{theirs}.bias"] = np.asarray(params[ours]["bias"])
    for j in range(J):
        state[f"pose_out.{j}.weight"] = np.asarray(params["joint_out_kernel"])[j].T
        state[f"pose_out.{j}.bias"] = np.asarray(params["joint_out_bias"])[j : j + 1]
    names = {"betas_0": "betas_fc1", "betas_1": "betas_fc2", "betas_out": "betas_out", "all_1": "D_alljoints_fc2"}
    for ours, theirs in (names | {"all_0": "D_alljoints_fc1", "all_out": "D_alljoints_out"}).items():
        state[f"{theirs}.weight"] = np.asarray(params[ours]["kernel"]).T
        state[f"{theirs}.bias"] = np.asarray(params[ours]["bias"])
    first = state["D_alljoints_fc1.weight"]  # its inputs are channels by joints there, joints by channels here
    state["D_alljoints_fc1.weight"] = first.reshape(1024, J, 32).transpose(0, 2, 1).reshape(1024, -1)
    return state


def hmr2_scores(state, pose, betas):
    """HMR2.0's module, step by step, in NumPy."""
    linear = lambda name, x: x @ state[f"{name}.weight"].T + state[f"{name}.bias"]  # noqa: E731
    maps = np.asarray(pose).reshape(-1, J, 1, 9).transpose(0, 3, 1, 2)  # (B, 9, J, 1)
    for name in ("D_conv1", "D_conv2"):
        maps = np.einsum("oc,bcjk->bojk", state[f"{name}.weight"][..., 0, 0], maps)
        maps = np.maximum(maps + state[f"{name}.bias"][:, None, None], 0)
    scores = [linear(f"pose_out.{j}", maps[:, :, j, 0]) for j in range(J)]
    shape = np.maximum(linear("betas_fc1", np.asarray(betas)), 0)
    scores.append(linear("betas_out", np.maximum(linear("betas_fc2", shape), 0)))
    together = np.maximum(linear("D_alljoints_fc1", maps.reshape(len(maps), -1)), 0)
    scores.append(linear("D_alljoints_out", np.maximum(linear("D_alljoints_fc2", together), 0)))
    return np.concatenate(scores, 1)


def test_scores_equal_hmr2s(params):
    drawn = jax.tree.map(lambda leaf: leaf + 0.01 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    pose, betas = bodies(3)
    scores = jax.jit(Discriminator().apply)({"params": drawn}, pose, betas)
    assert scores.shape == (B, J + 2)
    np.testing.assert_allclose(scores, hmr2_scores(hmr2_state(drawn), pose, betas), atol=2e-5)


def test_parameters_are_as_many_and_drawn_as_hmr2s(params):
    counts = 9 * 32 + 32 + 32 * 32 + 32 + J * 33 + 110 + 55 + 6 + (32 * J + 1) * 1024 + 1025 * 1024 + 1025
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == counts
    bounds = {("joint_0", "kernel"): 9 + 32, ("all_0", "kernel"): 32 * J + 1024, ("betas_out", "kernel"): 6}
    for (layer, name), fans in bounds.items():
        assert 0.5 * np.sqrt(6 / fans) < np.abs(params[layer][name]).max() <= np.sqrt(6 / fans)
    assert 0.9 * np.sqrt(6 / 33) < np.abs(params["joint_out_kernel"]).max() <= np.sqrt(6 / 33)
    assert not any(np.any(params[layer]["bias"]) for layer in params if isinstance(params[layer], dict))


def test_each_joints_score_depends_on_its_own_rotation(params):
    pose, betas = bodies(5)
    turned = pose.at[:, 7].set(bodies(6)[0][:, 7])
    apply = jax.jit(Discriminator().apply)
    changed = np.abs(apply({"params": params}, turned, betas) - apply({"params": params}, pose, betas)).max(0) > 0
    assert np.flatnonzero(changed).tolist() == [7, J + 1]


def test_losses_are_least_squares_per_sample():
    scores, real = np.array([[1.0, 0, 3], [1, 1, 1]]), np.array([[1.0, 1, 1], [0, 2, 1]])
    np.testing.assert_allclose(adversarial_loss(scores), [5, 0])
    np.testing.assert_allclose(discriminator_loss(real, scores), [10, 2 + 3])
    with pytest.raises(AssertionError):
        discriminator_loss(real[:1], scores)


def test_it_learns_to_tell_natural_poses_and_then_pulls_predictions_to_them(params):
    model, optimizer = Discriminator(), optax.adam(1e-3)

    @jax.jit
    def step(params, state, real, fake):
        def loss(params):
            scores = [model.apply({"params": params}, *people) for people in (real, fake)]
            return discriminator_loss(*scores).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    state, values = optimizer.init(params), []
    for i in range(60):
        params, state, value = step(params, state, bodies(2 * i, 0.2, 16), bodies(2 * i + 1, 2.0, 16))
        values.append(float(value))
    assert np.mean(values[-5:]) < 0.3 * values[0]
    natural, odd = (adversarial_loss(model.apply({"params": params}, *bodies(999, scale))) for scale in (0.2, 2.0))
    assert natural.mean() < 0.3 * odd.mean()
    gradient = jax.grad(lambda pose: adversarial_loss(model.apply({"params": params}, pose, bodies(999)[1])).sum())
    assert np.isfinite(gradient(bodies(999, 2.0)[0])).all()
