"""`python -m hmr_jax.weights.convert`: recognises a checkpoint, converts it strictly, writes all of it or nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from by_rule import made_by_rule
from torch_zip import write_torch_zip

from hmr_jax import checkpoints
from hmr_jax.body import BodyModel, skin
from hmr_jax.checkpoints import load_for_inference, load_initial
from hmr_jax.checkpoints.converted import BACKBONE, load_depth_anything, load_network
from hmr_jax.config import Config, DataConfig
from hmr_jax.evaluation.scores import make_score_step, predict_with
from hmr_jax.inference import Predictor
from hmr_jax.io.checksums import NAME
from hmr_jax.io.orbax_arrays import read_plain_arrays, read_through_orbax
from hmr_jax.models import build_model
from hmr_jax.models.backbones.vit import ViT
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.heads import SMPLHead
from hmr_jax.protocols import get_protocol, load_bodies
from hmr_jax.training.step import init_state, make_train_step
from hmr_jax.weights import convert_hmr2, convert_state, convert_vitpose
from hmr_jax.weights.convert import content_hash, convert
from hmr_jax.weights.detect import Options, _encoder_config

SMALL = Options(heads=4, head_dim=16)


@pytest.fixture
def backbone(reference):
    return {key.removeprefix("weights/"): a for key, a in reference("vitpose_backbone").items() if "weights/" in key}


@pytest.fixture
def hmr2(reference, backbone):
    """The state dict of a small HMR2.0 checkpoint."""
    head = {key.removeprefix("weights/"): a for key, a in reference("hmr2_head").items() if "weights/" in key}
    state = {f"backbone.{name}": array for name, array in backbone.items()}
    state |= {f"smpl_head.{name}": array for name, array in head.items()}
    return state | {
        "smpl.betas": np.zeros((1, 10), np.float32),
        "discriminator.betas_fc1.weight": np.ones((10, 10), np.float32),
        "initialized": np.array(True),
    }


@pytest.fixture
def converted(tmp_path, hmr2):
    """The folder of that checkpoint, converted."""
    source = write_torch_zip(tmp_path / "hmr2.ckpt", {"epoch": 35, "state_dict": hmr2})
    convert(source, tmp_path / "hmr2", SMALL)
    return tmp_path / "hmr2"


# ------------------------------------------------------------------------------------------------------------- HMR2.0


def test_a_converted_hmr2_predicts_the_vertices_of_an_independent_one(converted, reference):
    case = reference("hmr2_whole")  # PyTorch, from the crop to the vertices
    crops = list(np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), np.uint8))
    people = Predictor.from_checkpoint(converted)(crops, [np.array([[8, 0, 56, 64]])] * 2, enlarge=1.0)
    for i, person in enumerate(people):
        np.testing.assert_array_equal(person.crop, crops[i])
        np.testing.assert_allclose(person.vertices[::41], case["vertices"][i], atol=1e-5)
        np.testing.assert_allclose(person.camera, case["camera"][i], atol=1e-5)
        # HMR2.0's camera: the body's place in the crop's own camera of 5000 px.
        s, tx, ty = case["camera"][i]
        moved = person.keypoints_3d + np.array([tx, ty, 2 * 5000 / (256 * s + 1e-9)])
        np.testing.assert_allclose(person.keypoints_2d, moved[:, :2] / moved[:, 2:] * 5000 / 256, atol=1e-4)


def test_the_head_on_the_reference_features_poses_the_reference_smpl_alike(converted, reference):
    head, smpl = reference("hmr2_head"), reference("smpl_lbs")
    config, params = load_for_inference(converted)

    @jax.jit
    def predict(params, features):
        tokens, _ = Decoder(config.model.decoder, 1).apply({"params": params["decoder"]}, features)
        return SMPLHead().apply({"params": params["head"]}, tokens)

    rotations, betas, _ = predict(params, head["features"])
    body = BodyModel(
        smpl["v_template"], smpl["shapedirs"], smpl["posedirs"], smpl["J_regressor"], smpl["weights"],
        tuple(int(parent) for parent in smpl["parents"]), np.zeros((0, 3), int), "smpl",
    )  # fmt: skip
    pose = jax.jit(lambda betas, rotations: skin(body, betas, rotations).vertices)
    wanted = pose(head["betas"], np.concatenate([head["global_orient"], head["body_pose"]], 1))
    np.testing.assert_allclose(pose(betas, rotations), wanted, atol=1e-4)


def test_a_converted_hmr2_is_evaluated_and_trained_like_any_model(tmp_path, hmr2):
    deeper = ("backbone.blocks.1.", "backbone.blocks.2.", "smpl_head.transformer.transformer.layers.1.")
    shallow = {name: array for name, array in hmr2.items() if not name.startswith(deeper)}  # compiles faster
    converted = tmp_path / "shallow"
    convert(write_torch_zip(tmp_path / "a.ckpt", {"state_dict": shallow}), converted, SMALL)
    config, params = load_for_inference(converted)
    assert config.model.decoder.queries == "single"
    assert config.model.decoder.attention == "plain"
    model, labels = build_model(config.model), tiny.batch(0, 1, 64)
    protocol = get_protocol("synthetic")
    step = make_score_step(protocol, load_bodies(protocol, model.body), predict_with(model))
    assert jax.eval_shape(step, params, labels)["mpjpe"].shape == (1,)  # compiling takes a minute
    tuned = replace(config, optim=replace(config.optim, warmup_steps=0), batch_size=1)
    started = load_initial(replace(tuned, init_from=str(converted)), jax.tree.map(np.zeros_like, params))
    jax.tree.map(np.testing.assert_array_equal, started, params)
    state = jax.eval_shape(lambda params: init_state(tuned, params), started)
    stepped, losses = jax.eval_shape(make_train_step(tuned, model), state, {}, labels)
    assert jax.tree.map(jnp.shape, stepped.params) == jax.tree.map(jnp.shape, params)
    assert losses["keypoints_3d"].shape == ()


def test_deforhmr_starts_from_the_encoder_alone(converted):
    _, params = load_for_inference(converted)
    encoder = load_for_inference(converted)[0].model.encoder
    model = replace(tiny.MODEL, encoder=encoder)
    config = Config(init_from=str(converted), init_groups=("encoder",), model=model, data=DataConfig(crop_size=64))
    shapes = jax.eval_shape(build_model(model).init, jax.random.key(0), tiny.batch(0, 1, 64))["params"]
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    started = load_initial(config, fresh)
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], params["encoder"])
    jax.tree.map(np.testing.assert_array_equal, started["decoder"], fresh["decoder"])
    with pytest.raises(ValueError, match="init_groups names dense"):
        load_initial(replace(config, init_groups=("dense",)), fresh)
    with pytest.raises(ValueError, match="has shape"):  # all groups that both have: the decoders differ
        load_initial(replace(config, init_groups=()), fresh)


def test_mean_parameters_are_the_checkpoints_own(hmr2):
    head = convert_hmr2(hmr2)["head"]
    np.testing.assert_array_equal(head["mean_pose"].reshape(1, 144), hmr2["smpl_head.init_body_pose"])


# -------------------------------------------------------------------------------------------- dialects of ViTPose


def test_every_dialect_gives_the_same_encoder(backbone):
    """mmpose's, with experts, of a backbone alone, and of Hugging Face with split projections."""
    wanted = convert_vitpose(backbone, "")
    named = {f"backbone.{name}": array for name, array in backbone.items()}
    heads = {"keypoint_head.final_layer.weight": np.zeros((17, 256, 1, 1)), "backbone.cls_token": np.zeros((1, 1, 48))}
    experts = {}
    for name, array in named.items():
        if ".mlp.fc2." in name:
            experts[name] = array[:36]
            for expert in range(3):
                experts[name.replace("fc2", f"experts.{expert}")] = array[36:] + (2 - expert) / 2
        else:
            experts[name] = array
    hugging_face = {}
    renames = {
        "patch_embed.proj": "embeddings.patch_embeddings.projection", "pos_embed": "embeddings.position_embeddings",
        "blocks.": "encoder.layer.", "norm1": "layernorm_before", "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense", "last_norm": "layernorm",
    }  # fmt: skip
    for name, array in named.items():
        for old, new in renames.items():
            name = name.replace(old, new)
        if "attn.qkv" in name:
            for part, rows in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                hugging_face[name.replace("attn.qkv", f"attention.attention.{part}")] = rows
        else:
            hugging_face[name] = array
    dropped: dict[str, str] = {}
    dialects = {
        "mmpose": convert_vitpose(named | heads, dropped=dropped),
        "experts": convert_vitpose(experts | {"associate_keypoint_heads.0.x": np.zeros(1)}, expert=2),
        "alone": convert_vitpose(backbone),
        "hugging face": convert_vitpose(hugging_face | {"head.conv.weight": np.zeros(3)}),
        "wrapped": convert_state({f"module.{n}": a for n, a in named.items()}, SMALL).params["encoder"],
    }
    for params in dialects.values():
        jax.tree.map(np.testing.assert_array_equal, params, wanted)
    assert set(dropped) == set(heads)
    with pytest.raises(ValueError, match="no expert 5"):
        convert_vitpose(experts, expert=5)
    other = convert_vitpose(experts)["blocks"]["block"]["fc2"]["bias"]
    np.testing.assert_array_equal(other[:, :36], wanted["blocks"]["block"]["fc2"]["bias"][:, :36])
    np.testing.assert_array_equal(other[:, 36:], wanted["blocks"]["block"]["fc2"]["bias"][:, 36:] + 1)


@pytest.mark.parametrize("expert", [None, 0, 2])
def test_vitpose_of_hugging_face_equals_transformers(reference, expert):
    case, count = reference("vitpose_hugging_face"), 1 if expert is None else 3
    state = made_by_rule(case[f"names_{count}"], case[f"shapes_{count}"])
    params = convert_vitpose(state, expert=expert or 0)
    image = np.random.default_rng(0).standard_normal((1, 64, 48, 3)).astype(np.float32)
    features = jax.jit(ViT(24, 2, 2, (64, 48)).apply)({"params": params}, image)
    wanted = case[f"features_{count}_{expert or 0}"]
    np.testing.assert_allclose(features, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_published_sizes_are_recognised_by_their_width():
    """Width 1280 and 193 slots are ViT-H at 256x192, without an option."""
    params = {
        "pos_embed": np.zeros((193, 1280)),
        "patch_embed": {"kernel": np.zeros((16, 16, 3, 1))},
        "blocks": {"block": {"fc1": {"bias": np.zeros((32, 5120))}}},
    }
    assert _encoder_config(params, Options(), {}) == Config().model.encoder


# ------------------------------------------------------------------------------------------------------ the command


def test_the_report_accounts_for_every_number_and_checksums_do_not_depend_on_the_file(tmp_path, hmr2, converted):
    source = json.loads((converted / "source.json").read_text())
    again = write_torch_zip(tmp_path / "again.pth", {f"module.{name}": hmr2[name] for name in reversed(hmr2)})
    report = convert(again, tmp_path / "again", SMALL)
    other = json.loads((tmp_path / "again" / "source.json").read_text())
    assert other["content"] == source["content"] == content_hash(load_for_inference(converted)[1])
    assert list(other["files"]) == ["again.pth"]
    assert other["files"]["again.pth"] != source["files"]["hmr2.ckpt"]
    assert source["dropped"]["initialized"] == "a flag of HMR2.0's training"
    changed = hmr2 | {"smpl_head.deccam.bias": hmr2["smpl_head.deccam.bias"] + 1e-6}
    assert content_hash(convert_hmr2(changed)) != source["content"]
    assert "again.pth is HMR2.0: 93 tensors" in report.replace(str(len(hmr2)), "93")
    params = convert_hmr2(hmr2)
    for group in ("encoder", "decoder", "head"):
        total = sum(leaf.size for leaf in jax.tree.leaves(params[group]))
        assert f"{total:,}" in next(line for line in report.splitlines() if line.startswith(group))


def test_an_encoder_alone_is_loadable_and_predicts_no_bodies(tmp_path, hmr2):
    source = write_torch_zip(tmp_path / "a.ckpt", {"state_dict": hmr2 | {"other_head.weight": np.zeros(2, np.float32)}})
    convert(source, tmp_path / "encoder", Options(heads=4, encoder_only=True))
    config, params = load_for_inference(tmp_path / "encoder")
    assert list(params) == ["encoder"]
    assert config.model.encoder.image_size == (64, 48)
    with pytest.raises(ValueError, match="predicts no bodies"):
        Predictor.from_checkpoint(tmp_path / "encoder")
    assert checkpoints.describe(tmp_path / "encoder") == {"name": "encoder", "step": None}


def test_backbones_and_depth_networks_are_loaded_as_such(tmp_path, reference):
    case = reference("resnet50")
    source = write_torch_zip(tmp_path / "resnet.pth", made_by_rule(case["names"], case["shapes"]))
    assert "is ResNet-50" in convert(source, tmp_path / "resnet")
    values, variables = load_network(tmp_path / "resnet", BACKBONE)
    assert values == {"name": "resnet50"}
    assert set(variables) == {"encoder", "batch_stats"}
    started = load_initial(
        Config(init_from=str(tmp_path / "resnet")), {"encoder": jax.tree.map(np.zeros_like, variables["encoder"])}
    )
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], variables["encoder"])
    with pytest.raises(ValueError, match="predicts no bodies: it is the image backbone"):
        load_for_inference(tmp_path / "resnet")
    with pytest.raises(ValueError, match="not a depth anything checkpoint"):
        load_depth_anything(tmp_path / "resnet")
    with pytest.raises(FileNotFoundError, match="no converted checkpoint"):
        load_depth_anything(tmp_path)


def test_arrays_are_read_as_orbax_reads_them_and_damage_is_noticed(converted):
    fast, orbax = read_plain_arrays(converted / "params"), read_through_orbax(converted / "params")
    jax.tree.map(np.testing.assert_array_equal, fast, orbax)
    file = converted / "params" / "decoder.queries" / "0.0"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match=f"{file} has 252 bytes instead of 256"):
        load_for_inference(converted)
    (converted / "params" / NAME).unlink()
    with pytest.raises(
        ValueError, match=r"damaged or cut off\? \(the array decoder\.queries has 252 bytes instead of 256"
    ):
        load_for_inference(converted)


BAD_STATES = {
    "missing": (lambda state: state.pop("smpl_head.deccam.bias"), r"no 'smpl_head\.deccam\.bias': is it an HMR2\.0"),
    "extra": (lambda state: state.update(extra=np.zeros(3)), "tensors that an HMR2.0 checkpoint does not have: extra"),
    "shape": (
        lambda state: state.update({"backbone.blocks.1.mlp.fc1.weight": np.zeros((192, 40), np.float32)}),
        r"'backbone\.blocks\.1\.mlp\.fc1\.weight' has shape \(192, 40\)",
    ),
    "other depth of a block": (
        lambda state: state.update(
            {
                "backbone.blocks.1.mlp.fc1.weight": np.zeros((96, 48), np.float32),
                "backbone.blocks.1.mlp.fc1.bias": np.zeros(96, np.float32),
                "backbone.blocks.1.mlp.fc2.weight": np.zeros((48, 96), np.float32),
            }
        ),
        "block 1",
    ),
    "other network": (
        lambda state: [state.clear(), state.update({"text.embed.weight": np.zeros((2, 2))})],
        "not of a known network.*It holds text.embed.weight",
    ),
    "other encoder": (
        lambda state: [state.pop("backbone.last_norm.weight"), state.update({"backbone.norm.weight": np.zeros(48)})],
        r"no 'backbone\.last_norm\.weight'",
    ),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_what_does_not_fit_is_refused_and_nothing_is_written(case, tmp_path, hmr2):
    change, message = BAD_STATES[case]
    change(hmr2)
    hmr2 = {name: array.astype(np.float32) for name, array in hmr2.items()}
    source = write_torch_zip(tmp_path / "a.ckpt", {"state_dict": hmr2})
    with pytest.raises((ValueError, KeyError), match=message):
        convert(source, tmp_path / "out", SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt"]


def test_options_that_a_state_does_not_tell_are_asked_for(tmp_path, hmr2):
    source = write_torch_zip(tmp_path / "a.ckpt", {"state_dict": hmr2})
    with pytest.raises(
        ValueError, match="The number of attention heads of an encoder of width 48 is not known: give --heads"
    ):
        convert(source, tmp_path / "out")
    with pytest.raises(ValueError, match="give --head-dim"):
        convert(source, tmp_path / "out", Options(heads=4, head_dim=48))


def test_a_failure_while_writing_leaves_nothing(tmp_path, hmr2, monkeypatch):
    source = write_torch_zip(tmp_path / "a.ckpt", {"state_dict": hmr2})

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(OSError, match="no space"):
        convert(source, tmp_path / "out", SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt"]


def test_the_command_line_ends_with_two_and_one_sentence(tmp_path, converted):
    def run(*arguments):
        command = [sys.executable, "-m", "hmr_jax.weights.convert", *map(str, arguments)]
        return subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)

    (tmp_path / "bad.pth").write_text("no checkpoint")
    done = run(tmp_path / "bad.pth", "--to", tmp_path / "x")
    assert done.returncode == 2, done.stderr
    assert "not a checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(FileExistsError, match="exists already"):
        convert(tmp_path / "hmr2.ckpt", converted, SMALL)
    done = run(tmp_path / "hmr2.ckpt", "--to", tmp_path / "y", "--heads", 4, "--head-dim", 16)
    assert done.returncode == 0, done.stderr
    assert load_for_inference(tmp_path / "y")[0].model.body == "default"
