"""The optimiser: which parameters Muon turns into orthogonal steps, and how large both kinds of step are."""

import dataclasses

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from hmr_jax import distributed
from hmr_jax.batch import zeros
from hmr_jax.config import Config, MeshConfig, OptimConfig
from hmr_jax.models import build_model
from hmr_jax.training.optimizer import ADAM_GROUPS, MUON_GROUPS, make_optimizer

RATE = 0.01
MATRICES = {
    ("encoder", "blocks", "fc1", "kernel"): (2, 12, 24),  # of two blocks
    ("decoder", "layer_0", "query", "kernel"): (16, 12),
    ("fusion", "block_0", "mlp", "kernel"): (12, 20),
    ("head", "regressor", "mix", "kernel"): (24, 16),
}
OTHERS = {
    ("encoder", "position"): (6, 12),
    ("decoder", "layer_0", "query", "bias"): (12,),
    ("head", "offset", "kernel"): (12, 3),
    ("depth_encoder", "stage_0", "kernel"): (3, 3, 4, 8),
}


@pytest.fixture(scope="module")
def first_step():
    """Updates of Muon's first step on random gradients, by path."""
    shapes = MATRICES | OTHERS
    keys = jax.random.split(jax.random.key(0), len(shapes))
    gradients: dict = {}
    for key, (path, shape) in zip(keys, shapes.items(), strict=True):
        *groups, name = path
        at = gradients
        for group in groups:
            at = at.setdefault(group, {})
        at[name] = jax.random.normal(key, shape)
    optim = OptimConfig(
        name="muon", learning_rate=RATE, warmup_steps=0, weight_decay=0.0, clip_norm=1e9, frozen=()
    )  # fmt: skip
    optimizer = make_optimizer(Config(steps=100, optim=optim))
    zeros = jax.tree.map(jnp.zeros_like, gradients)
    updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(zeros), zeros)

    def pick(tree, path):
        for name in path:
            tree = tree[name]
        return np.asarray(tree)

    return {path: (pick(updates, path), pick(gradients, path)) for path in shapes}


@pytest.mark.parametrize("path", MATRICES, ids="/".join)
def test_muons_steps_of_matrices_stretch_every_direction_alike(first_step, path):
    update, gradient = first_step[path]
    stretch, before = (np.linalg.svd(array, compute_uv=False) for array in (update, gradient))
    assert (stretch.max(-1) < 1.8 * stretch.min(-1)).all()  # Newton-Schulz: within 0.7 to 1.2
    assert (before.max(-1) > 2.5 * before.min(-1)).all()  # the gradient's are far apart
    assert 0.1 * RATE < np.sqrt((update**2).mean()) < 0.3 * RATE  # the size of Adam's steps in training
    assert (update * gradient).sum() < 0


@pytest.mark.parametrize("path", OTHERS, ids="/".join)
def test_the_rest_takes_adams_steps(first_step, path):
    update, gradient = first_step[path]
    size = np.abs(update)  # Nesterov's first step is half as large again
    assert RATE < size.min() <= size.max() < 1.5 * RATE
    np.testing.assert_array_equal(np.sign(update), -np.sign(gradient))


def test_arrays_in_a_stack_keep_steps_of_their_own():
    """AdamW on stacks is AdamW: decay on kernels, the encoder's factor, and no mixing of arrays of one shape."""
    shapes = {("encoder", "fc", "kernel"): (4, 6), ("encoder", "fc", "bias"): (6,), ("head", "scale"): ()}
    shapes |= {("head", name, part): shape for name in "ab" for part, shape in (("kernel", (4, 6)), ("bias", (6,)))}
    rng = np.random.default_rng(0)
    tree = flax.traverse_util.unflatten_dict({path: rng.normal(size=shape) for path, shape in shapes.items()})
    params, gradients = jax.tree.map(jnp.float32, tree), jax.tree.map(lambda x: jnp.float32(x**2 - 0.5), tree)
    optim = OptimConfig(learning_rate=RATE, warmup_steps=0, weight_decay=0.1, encoder_scale=0.5, frozen=())
    ours = make_optimizer(Config(steps=100, optim=optim))
    state, norm = ours.init(params), optax.global_norm(gradients)
    updates, _ = ours.update(gradients, state, params)
    for path, found in flax.traverse_util.flatten_dict(updates).items():
        param, gradient = (flax.traverse_util.flatten_dict(t)[path] for t in (params, gradients))
        expected = np.sign(gradient) + (0.1 * param if path[-1] == "kernel" else 0)  # Adam's first step
        factor = RATE * (0.5 if path[0] == "encoder" else 1)
        assert (np.abs(gradient) / norm > 1e-5).all()  # large beside Adam's epsilon
        np.testing.assert_allclose(found, -factor * expected, rtol=1e-3)


def test_stacks_are_split_like_their_arrays(every_device):
    config = Config(optim=OptimConfig(frozen=()))
    params = {"head": {name: {"kernel": jnp.zeros((8, 16))} for name in "abcdefgh"}}
    mesh = distributed.make_mesh(MeshConfig(fsdp=2))
    state = jax.eval_shape(make_optimizer(config).init, params)
    specs = {s.spec for s in jax.tree.leaves(distributed.parameter_sharding(mesh, state, min_size=64))}
    assert specs == {jax.P(), jax.P(None, None, "fsdp")}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_group_that_is_not_named_is_refused_and_never_trained_by_chance(name):
    optimizer = make_optimizer(Config(optim=OptimConfig(name=name, frozen=())))
    with pytest.raises(ValueError, match=r"does not know the parameter group 'refiner'.*MUON_GROUPS or ADAM_GROUPS"):
        optimizer.init({"refiner": {"kernel": jnp.zeros((4, 4))}})


@pytest.mark.parametrize("model", [tiny.MODEL, tiny.D2A], ids=["deforhmr", "d2a_hmr"])
def test_every_group_of_the_networks_is_named(model):
    config = dataclasses.replace(model, dense_targets=model.name == "deforhmr", uncertainty=True)
    shapes = jax.eval_shape(build_model(config).init, jax.random.key(0), zeros(1, 32))["params"]
    assert set(shapes) <= {*MUON_GROUPS, *ADAM_GROUPS}
