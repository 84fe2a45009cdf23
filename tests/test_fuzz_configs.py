"""Values of configurations end in a network or in a sentence; fuzz_configs.py has the examples."""

import dataclasses

import fuzz_configs
import pytest
import tiny

from hmr_jax.config import check_training
from hmr_jax.models import build_model


def test_random_values_give_a_network_or_a_sentence():
    results = [fuzz_configs.one(seed) for seed in range(20)]
    assert 0 < sum(results) < 20


WRONG = {
    ("loss", "rle_compat"): ("no", "True or False"),
    ("steps",): (1e5, "whole number"),
    ("optim", "learning_rate"): (float("nan"), "finite number"),
    ("optim", "clip_norm"): (-1.0, "at least 0"),
    ("optim", "ema"): (1.0, "at least 0 and below 1"),
    ("data", "augment", "flip_probability"): (50.0, "from 0 to 1"),
    ("data", "crop_size"): (0, "at least 1"),
    ("model", "decoder", "dropout"): (1.0, "at least 0 and below 1"),
    ("model", "encoder", "image_size"): ((32,), "2 values"),
    ("model", "encoder", "dim"): (33, r"a multiple of model\.encoder\.num_heads, 2"),
    ("model", "encoder", "num_heads"): (5, r"a multiple of model\.encoder\.num_heads, 5"),
    ("model", "encoder", "patch_size"): (5, r"a multiple of model\.encoder\.patch_size, 5"),
    ("model", "d2a", "num_heads"): (3, r"a multiple of model\.d2a\.num_heads, 3"),
    ("model", "d2a", "depth_encoder", "depth"): (0, "at least 1"),
    ("model", "focal_length"): (-5000.0, "positive"),
    ("seed",): (-1, "at least 0"),
}


@pytest.mark.parametrize("path", WRONG, ids=".".join)
def test_values_that_once_broke_a_run_or_did_nothing_are_refused(path):
    value, words = WRONG[path]
    with pytest.raises(ValueError, match=words) as error:
        check_training(fuzz_configs.replaced(tiny.config("out"), path, value))
    assert str(error.value).startswith(".".join(path[:-1]))


def test_patches_that_dense_maps_do_not_divide_are_refused():
    config = tiny.config("out", model=fuzz_configs.BASES["dense"])
    config = fuzz_configs.replaced(config, ("model", "encoder", "patch_size"), 2)
    with pytest.raises(ValueError, match=r"model\.encoder\.patch_size is 2, but with dense maps"):
        check_training(config)


def test_a_back_end_of_attention_that_is_not_there_is_refused():
    model = dataclasses.replace(tiny.MODEL, attention="cudnn")
    with pytest.raises(ValueError, match="needs an NVIDIA GPU"):
        build_model(model, "cpu")
    with pytest.raises(ValueError, match="bfloat16, not cuda and float32"):
        build_model(dataclasses.replace(model, dtype="float32"), "cuda")
