"""Features of a frozen encoder are computed once, kept, resumed, and equal to those of a step without the cache."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from hmr_jax.batch import check, zeros
from hmr_jax.checkpoints import load_for_inference
from hmr_jax.config import CheckpointConfig, FeatureCacheConfig, OptimConfig
from hmr_jax.io.json_files import write_json
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params
from hmr_jax.training.feature_cache import cached_source
from hmr_jax.training.loop import train

EXAMPLES = 40  # five batches


def cached(folder, **changes):
    return tiny.config(folder, cache=FeatureCacheConfig(EXAMPLES, str(folder / "cache")), **changes)


@pytest.fixture(scope="module")
def params():
    config = tiny.config("")
    return init_params(build_model(config.model), jax.random.key(0), zeros(1, 32))


def open_source(config, params, batches=None):
    said: list[str] = []
    source = cached_source(config, batches or tiny.source(), params, jnp.float32, said.append)
    return source, said[0]


def test_cached_features_give_the_prediction_of_the_images(tmp_path, params):
    config = cached(tmp_path)
    source, _ = open_source(config, params)
    batch = next(source(0))
    check(batch)
    assert "image" not in batch
    number, row = divmod(int(batch["index"][0]), 8)
    apply = jax.jit(build_model(config.model).apply)
    with_image = apply({"params": params}, {"image": tiny.batch(number)["image"]})
    from_cache = apply({"params": params}, {"features": batch["features"]})
    np.testing.assert_allclose(from_cache.vertices[0], with_image.vertices[row], atol=1e-4)  # float16 features


def test_an_epoch_shows_every_example_once_and_the_next_one_in_another_order(tmp_path, params):
    source, _ = open_source(cached(tmp_path), params)
    stream = source(0)
    epochs = [np.concatenate([next(stream)["index"] for _ in range(5)]) for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(EXAMPLES))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
    np.testing.assert_array_equal(next(source(7))["index"], epochs[1].reshape(5, 8)[2])


def test_an_interrupted_cache_goes_on_and_a_finished_one_is_used_again(tmp_path, params):
    config, made = cached(tmp_path), []

    def counting(step):
        for batch in tiny.source()(step):
            made.append(int(batch["index"][0]) // 8)
            yield batch

    def failing(step):
        for batch in counting(step):
            if batch["index"][0] == 24:
                raise OSError("the disk of the photographs is gone")
            yield batch

    with pytest.raises(OSError, match="photographs"):
        open_source(config, params, failing)
    folder = next((tmp_path / "cache").iterdir())
    write_json(folder / "progress.json", {"batches": 2})  # as after a kill: noted less often than written
    made.clear()
    source, said = open_source(config, params, counting)
    assert "40%" in said
    assert made[1:] == [2, 3, 4]  # the first one is always made: it is part of the key
    whole, _ = open_source(replace(config, cache=replace(config.cache, directory=str(tmp_path / "other"))), params)
    jax.tree.map(np.testing.assert_array_equal, next(source(3)), next(whole(3)))
    made.clear()
    _, said = open_source(config, params, counting)
    assert "100%" in said
    assert made == [0]


def test_other_data_parameters_or_augmentation_get_a_cache_of_their_own(tmp_path, params):
    config = cached(tmp_path)
    open_source(config, params)
    open_source(replace(config, seed=1), params)
    open_source(config, jax.tree.map(lambda array: array * 2, params))
    open_source(config, params, lambda step: (batch | {"betas": batch["betas"] + 1} for batch in tiny.source()(step)))
    augment = replace(config.data.augment, scale=0.1)
    open_source(replace(config, data=replace(config.data, augment=augment)), params)
    assert len(list((tmp_path / "cache").iterdir())) == 5


def test_training_on_the_cache_resumes_bit_for_bit(tmp_path):
    config = cached(tmp_path, steps=8, checkpoint=CheckpointConfig(every=4, keep=2))
    run = train(config, tiny.source())
    whole = load_for_inference(run)[1]
    shutil.rmtree(run / "checkpoints" / "8")
    assert train(config, tiny.source()) == run
    jax.tree.map(np.testing.assert_array_equal, whole, load_for_inference(run / "checkpoints" / "8")[1])


def test_what_cannot_be_cached_is_refused_with_a_reason(tmp_path, params):
    config = cached(tmp_path)
    for wrong, message in (
        (replace(config, optim=OptimConfig(frozen=())), "add 'encoder' to optim.frozen"),
        (replace(config, data=replace(config.data, warp="device")), "set data.warp to host"),
        (replace(config, cache=replace(config.cache, limit_gib=1e-6)), "cache.limit_gib is 1e-06"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            open_source(wrong, params)
    with pytest.raises(ValueError, match="pass a source"):
        cached_source(config, iter([]), params, jnp.float32, print)
    assert not (tmp_path / "cache").exists()
