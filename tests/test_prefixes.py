"""Checkpoints whose names were lengthened are read where that is unambiguous, and what was stripped is said."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_convert import SMALL, backbone, hmr2  # noqa: F401 - fixtures
from torch_zip import write_torch_zip

from hmr_jax.weights import convert_hmr2, convert_state, convert_vitpose
from hmr_jax.weights.convert import content_hash, convert
from hmr_jax.weights.detect import Options


def renamed(state, prefix):
    return {f"{prefix}{name}": array for name, array in state.items()}


def inside(state, wrapper):
    """The state of a network whose parts were wrapped: backbone._orig_mod.blocks.0 ..."""
    return {".".join([(parts := name.split("."))[0], wrapper, *parts[1:]]): array for name, array in state.items()}


PREFIXES = (
    "model.", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod.", "model.module.",
    "ema.", "ema_model.", "model.net.", "encoder.", "model.encoder.", "backbone.", "model.backbone.", "net.student.",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_backbone_under_any_prefix_is_read(backbone, prefix):  # noqa: F811
    wanted = convert_vitpose(backbone)
    converted = convert_state(renamed(backbone, prefix), SMALL)
    jax.tree.map(np.testing.assert_array_equal, converted.params["encoder"], wanted)
    assert not converted.dropped
    for part in prefix.split(".")[:-1]:
        assert part in converted.stripped or part == "backbone"  # a dialect of its own


@pytest.mark.parametrize("prefix", [prefix for prefix in PREFIXES if "backbone" not in prefix])
def test_a_whole_network_under_any_prefix_is_read(hmr2, prefix):  # noqa: F811
    wanted = convert_hmr2(hmr2)
    converted = convert_state(renamed(hmr2, prefix), SMALL)
    assert converted.kind == "HMR2.0"
    jax.tree.map(np.testing.assert_array_equal, converted.params, wanted)
    assert f"{prefix}initialized" in converted.dropped  # by its name in the file


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module"])
def test_wrappers_of_a_part_are_stripped(hmr2, wrapper):  # noqa: F811
    wrapped = {name: array for name, array in hmr2.items() if "." in name}
    converted = convert_state(inside(wrapped, wrapper), SMALL)
    jax.tree.map(np.testing.assert_array_equal, converted.params, convert_hmr2(hmr2))
    assert converted.stripped == f"'{wrapper}.'"


@pytest.mark.parametrize("counter", ["n_averaged", "num_updates", "decay", "initted", "step"])
def test_counters_of_averaged_weights_are_dropped(hmr2, counter):  # noqa: F811
    state = renamed(hmr2, "module.") | {counter: np.array(7)}
    converted = convert_state(state, SMALL)
    jax.tree.map(np.testing.assert_array_equal, converted.params, convert_hmr2(hmr2))
    assert converted.dropped[counter] == "counter of averaged weights"


def test_the_report_names_what_was_stripped(tmp_path, hmr2):  # noqa: F811
    source = write_torch_zip(tmp_path / "a.ckpt", {"state_dict": renamed(hmr2, "model._orig_mod.")})
    assert "their names are read without '_orig_mod.' and 'model.'" in convert(source, tmp_path / "out", SMALL)
    assert json.loads((tmp_path / "out" / "source.json").read_text())["stripped"] == "'_orig_mod.' and 'model.'"


def test_of_several_networks_one_has_to_be_chosen(backbone, hmr2):  # noqa: F811
    averaged = {name: np.asarray(array + 1, array.dtype) for name, array in backbone.items()}
    both = renamed(backbone, "model.") | renamed(averaged, "ema_model.module.") | {"ema_model.n_averaged": np.array(3)}
    with pytest.raises(ValueError, match=r"several networks, under 'ema_model\.' and 'model\.': choose one"):
        convert_state(both, SMALL)
    for prefix, state in (("model.", backbone), ("ema_model", averaged), ("ema_model.module.", averaged)):
        converted = convert_state(both, Options(heads=4, prefix=prefix))
        jax.tree.map(np.testing.assert_array_equal, converted.params["encoder"], convert_vitpose(state))
    assert converted.dropped["model.pos_embed"] == "not under 'ema_model.'"
    with pytest.raises(ValueError, match=r"no names that start with 'swa', but with ema_model, model"):
        convert_state(both, Options(heads=4, prefix="swa"))
    same_names = backbone | renamed(averaged, "module.")
    with pytest.raises(ValueError, match=r"does not have: module\.blocks\.0"):
        convert_state(same_names, SMALL)


TWO_KEYS = (
    ("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema"), ("params", "ema"),
    ("params", "params_ema"), ("model_state_dict", "ema.module"), ("state_dict", "ema.state_dict"),
)  # fmt: skip


@pytest.mark.parametrize(("key", "other"), TWO_KEYS)
def test_the_report_says_which_of_raw_and_averaged_weights_were_taken(tmp_path, hmr2, key, other):  # noqa: F811
    averaged = {name: np.asarray(array + (array.ndim > 0), array.dtype) for name, array in hmr2.items()}
    outer, _, inner = other.partition(".")
    wrapped = renamed(averaged, "module.")
    content = {key: hmr2, outer: {inner: wrapped} if inner else wrapped}
    content = dict(reversed(content.items())) if "params" in key else content  # whichever comes first
    source = write_torch_zip(
        tmp_path / "a.ckpt", content | {"epoch": 3, "optimizer": {"mean": np.zeros(3, np.float32)}}
    )

    report = convert(source, tmp_path / "raw", SMALL)
    assert f"taken are those under '{key}'" in report
    assert f"{len(hmr2)} under '{other}' (to take others, give --prefix, such as --prefix {other}.)" in report
    for prefix in (other, f"{other}.", f"{other}.module."):
        out = tmp_path / prefix
        report = convert(source, out, replace(SMALL, prefix=prefix))
        assert f"taken are those under '{other}'" in report
        assert f"under '{key}'" in report
        described = json.loads((out / "source.json").read_text())
        assert described["key"] == other
        assert described["content"] == content_hash(convert_hmr2(averaged))
    assert json.loads((tmp_path / "raw" / "source.json").read_text())["content"] == content_hash(convert_hmr2(hmr2))


def test_of_several_unknown_keys_one_has_to_be_chosen(tmp_path, hmr2):  # noqa: F811
    source = write_torch_zip(tmp_path / "a.ckpt", {"first": hmr2, "ema": renamed(hmr2, "model.")})
    with pytest.raises(ValueError, match="several groups of weights, under first, ema: choose one with --prefix"):
        convert(source, tmp_path / "out", SMALL)
    assert "under 'first'" in convert(source, tmp_path / "out", replace(SMALL, prefix="ema.model."))
    with pytest.raises(ValueError, match="several groups"):
        convert(source, tmp_path / "other", replace(SMALL, prefix="none"))
    alone = write_torch_zip(tmp_path / "b.ckpt", {"ema": hmr2, "epoch": 3})
    assert "taken are" not in convert(alone, tmp_path / "alone", SMALL)


def test_a_prefix_within_the_usual_weights_stays_one(tmp_path, backbone):  # noqa: F811
    inside_both = renamed(backbone, "model.") | renamed(backbone, "ema.")
    source = write_torch_zip(tmp_path / "a.ckpt", {"model": inside_both})
    for prefix in ("model", "ema.", "model.ema."):
        assert "taken are" not in convert(source, tmp_path / prefix, replace(SMALL, prefix=prefix))


def test_what_is_beside_the_network_is_not_dropped_without_a_word(backbone):  # noqa: F811
    state = renamed(backbone, "model.encoder.") | {"model.decoder.weight": np.zeros(3), "loss.scale": np.zeros(2)}
    with pytest.raises(
        ValueError, match=r"under 'model\.encoder\.' and more beside it .*give --prefix model\.encoder\."
    ):
        convert_state(state, SMALL)
    for options in (Options(heads=4, prefix="model.encoder."), Options(heads=4, encoder_only=True)):
        converted = convert_state(state, options)
        jax.tree.map(np.testing.assert_array_equal, converted.params["encoder"], convert_vitpose(backbone))
        assert converted.dropped == dict.fromkeys(("model.decoder.weight", "loss.scale"), "not under 'model.encoder.'")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weights_that_are_not_finite_are_refused(backbone, value, dtype):  # noqa: F811
    damaged = backbone["blocks.1.mlp.fc1.weight"].astype(dtype)
    damaged[3, 2] = value
    with pytest.raises(ValueError, match=r"'blocks\.1\.mlp\.fc1\.weight' holds values that are NaN or infinite"):
        convert_state(backbone | {"blocks.1.mlp.fc1.weight": damaged}, SMALL)


def test_weights_too_large_for_single_precision_and_quantised_ones_are_refused(backbone):  # noqa: F811
    with pytest.raises(ValueError, match="NaN or infinite"):
        convert_state(backbone | {"pos_embed": np.full(backbone["pos_embed"].shape, 1e300)}, SMALL)
    with pytest.raises(ValueError, match="'pos_embed' is a single number"):
        convert_state(backbone | {"pos_embed": np.array(1.0)}, SMALL)
    with pytest.raises(ValueError, match="'pos_embed' is of type int8: only weights in floating point"):
        convert_state(backbone | {"pos_embed": np.ones(backbone["pos_embed"].shape, np.int8)}, SMALL)
