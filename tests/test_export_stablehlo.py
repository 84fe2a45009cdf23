"""Networks as StableHLO: one file that says what it is, runs at any batch size and predicts as its checkpoint does."""

import dataclasses
import json
import re
import zipfile

import jax
import numpy as np
import pytest
from tiny import MODEL, config, d2a_config, random_parameters

from hmr_jax import models
from hmr_jax.batch import zeros
from hmr_jax.body import load_body_model
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.checkpoints import export as export_folder
from hmr_jax.config import DataConfig, EncoderConfig
from hmr_jax.export import export_network, load_network, parity, read_network, stablehlo, writing
from hmr_jax.inference import Predictor
from hmr_jax.ops.cpu import is_portable, portable

BOX = np.array([20.0, 10, 70, 90])


@pytest.fixture(scope="module")
def network(tiny_checkpoint):
    return load_network(tiny_checkpoint)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "tiny.stablehlo"
    network.reference()(parity.sample_inputs(network, 1))  # what JAX keeps of it must not get into the file
    stablehlo.write(path, network)
    return path


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)


def rewritten(file, tmp_path, **changes):
    """A copy of the file with another header."""
    path = tmp_path / "other.stablehlo"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, json.dumps(json.loads(content) | changes) if name == "header.json" else content)
    return path


def test_the_exported_network_equals_the_network_at_each_batch_size(network, file):
    measured = parity.measure(network, stablehlo.load(file))
    assert {"vertices", "keypoints_2d", "camera", "betas", "body_pose", "sampling_points"} <= set(measured)
    assert all(len(values) == len(parity.BATCHES) for values in measured.values())
    assert max(max(values) for values in measured.values()) < parity.TOLERANCE


def test_no_kernel_of_this_package_is_called(file):
    for function in read_network(file).functions.values():
        assert set(function.platforms) == {"cpu", "cuda", "tpu"}
        assert set(re.findall(r"custom_call @(\w+)", function.mlir_module())) <= {"shape_assertion"}


def test_portable_is_of_its_block_alone():
    assert not is_portable()
    with portable():
        assert is_portable()
    assert not is_portable()


def test_a_file_says_what_it_is(network, file):
    header = read_network(file).header
    assert header["checkpoint"] == {"name": "tiny", "step": None}
    assert header["parameters_hash"] == network.parameters_hash
    assert header["inputs"]["image"]["shape"] == ["b", 32, 32, 3]
    assert header["outputs"]["keypoints_3d"]["shape"] == ["b", 44, 3]
    assert header["outputs"]["vertices"]["unit"].startswith("metres")
    assert len(header["keypoint_names"]) == 44
    assert header["focal_length"] == {"pixels": 5000.0, "of_a_crop_of": 256}
    assert header["topology"] == network.body.topology


def test_a_predictor_of_the_file_needs_no_flax_network(file, tiny_checkpoint, image, monkeypatch):
    expected = Predictor.from_checkpoint(tiny_checkpoint)(image, BOX)[0]

    def build(*_):
        raise AssertionError("the network was built")

    monkeypatch.setattr(models, "build_model", build)
    monkeypatch.setattr("hmr_jax.inference.predictor.build_model", build)
    predictor = Predictor.from_checkpoint(file)
    found = predictor(image, BOX)[0]
    assert predictor.checkpoint == {"name": "tiny", "step": None}
    jax.tree.map(np.testing.assert_array_equal, predictor.body, load_body_model())  # with it videos are smoothed
    for field in dataclasses.fields(found):
        value, wanted = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(wanted, np.ndarray):
            np.testing.assert_allclose(value, wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=field.name)
        else:
            assert value == wanted


def test_predict_takes_the_file_and_writes_what_the_checkpoint_gives(file, tiny_checkpoint, photos, predict, tmp_path):
    for checkpoint, folder in ((file, "a"), (tiny_checkpoint, "b")):
        code, _, error = predict(
            photos / "a.jpg", "--boxes", "whole", "--checkpoint", checkpoint, "--output", tmp_path / folder
        )
        assert code == 0, error
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in (tmp_path / "b").iterdir()
    )
    with np.load(tmp_path / "a" / "a.npz") as one, np.load(tmp_path / "b" / "a.npz") as other:
        np.testing.assert_allclose(one["vertices"], other["vertices"], atol=1e-5)
        np.testing.assert_array_equal(one["faces"], other["faces"])


def test_networks_that_look_first_have_two_functions_and_turn_crops(tmp_path, image):
    """An encoder that finds landmarks, by its parameters shipped; the decoder is random."""
    landmark = dataclasses.replace(
        MODEL, encoder=EncoderConfig(name="blazepose_full", image_size=(256, 256)),
        decoder=dataclasses.replace(MODEL.decoder, landmarks=True, feature_dim=16),
    )  # fmt: skip
    own = config("unused", model=landmark, data=DataConfig(crop_size=256))
    params = random_parameters(own)
    export_folder(tmp_path / "leaning", own, {name: group for name, group in params.items() if name != "encoder"})
    network = load_network(tmp_path / "leaning")
    file = tmp_path / "leaning.stablehlo"
    stablehlo.write(file, network)
    read = read_network(file)
    assert list(read.functions) == ["encode", "predict"]
    assert Predictor.from_checkpoint(file).upright
    lying = np.rot90(image).copy()
    for upright in (True, False):
        expected = Predictor.from_checkpoint(tmp_path / "leaning", upright=upright)(lying, "whole")[0]
        found = Predictor.from_checkpoint(file, upright=upright)(lying, "whole")[0]
        assert found.box_turn == expected.box_turn
        assert (found.box_turn != 0) == upright
        np.testing.assert_array_equal(found.crop, expected.crop)
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)


def test_networks_that_take_depth_are_exported_with_it(tmp_path):
    own = d2a_config("unused")
    own = dataclasses.replace(own, model=dataclasses.replace(own.model, uncertainty=True))
    shapes = jax.eval_shape(models.build_model(own.model).init, jax.random.key(0), zeros(1, own.data.crop_size))
    rng = np.random.default_rng(0)
    params = {
        name: jax.tree.map(lambda leaf: (0.1 * np.abs(rng.standard_normal(leaf.shape))).astype(np.float32), group)
        for name, group in (shapes["params"] | {"batch_stats": shapes["batch_stats"]}).items()
    }
    export_folder(tmp_path / "deep", own, params)
    written = export_network(load_network(tmp_path / "deep"), "stablehlo", tmp_path / "deep.stablehlo")
    assert {"gates", "sigma", "silhouette", "betas"} <= set(written.parity)
    read = read_network(written.path)
    assert set(read.header["inputs"]) == {"image", "pseudo_depth", "has_pseudo_depth"}
    with pytest.warns(UserWarning, match="No depth"):
        assert len(Predictor.from_checkpoint(written.path)(np.zeros((40, 40, 3), np.uint8), "whole")) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"a text", b"\x08\x07onnx"])
def test_foreign_files_are_refused_in_one_sentence(content, tmp_path):
    path = tmp_path / "a.stablehlo"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no exported network, or is cut off: make one with hmr export"):
        Predictor.from_checkpoint(path)


def test_a_file_that_was_cut_off_or_changed_is_refused(file, tmp_path):
    content = bytearray(file.read_bytes())
    path = tmp_path / "a.stablehlo"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is cut off"):
        read_network(path)
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged .*: export the checkpoint again"):
        read_network(path)


def test_a_later_format_and_functions_of_another_jax_are_refused(file, tmp_path):
    with pytest.raises(ValueError, match="in a later format than this hmr_jax reads: update hmr_jax"):
        read_network(rewritten(file, tmp_path, version=99))
    path = rewritten(file, tmp_path, functions=["odd"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("functions/odd", b"no function")
    with pytest.raises(ValueError, match="cannot read: export the checkpoint again"):
        read_network(path)


def test_a_configuration_of_another_version_is_refused(file, tmp_path):
    values = read_network(file).header["config"] | {"flavour": "sweet"}
    with pytest.raises(ValueError, match=r"other.stablehlo was written by hmr_jax .*no field 'flavour'"):
        read_network(rewritten(file, tmp_path, config=values))


def test_a_body_beside_the_file_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match="holds the body"):
        Predictor.from_checkpoint(file, body=tmp_path)


def test_what_is_no_checkpoint_is_not_exported(file, tmp_path):
    with pytest.raises(ValueError, match="is a file: name the folder of a checkpoint"):
        load_network(file)
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        load_network(tmp_path)


def test_only_an_earlier_export_is_replaced(network, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "measure", lambda *_: {})
    path = tmp_path / "a.stablehlo"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="is no stablehlo of hmr_jax: choose another --output"):
        export_network(network, "stablehlo", path)
    assert path.read_text() == "mine"
    path.unlink()
    for _ in range(2):
        export_network(network, "stablehlo", path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.stablehlo"]
    with pytest.raises(ValueError, match="There is no format 'tflite': export to stablehlo"):
        export_network(network, "tflite", path)


def test_other_numbers_leave_no_file(network, tmp_path, monkeypatch):
    changed = dataclasses.replace(network, params=jax.tree.map(lambda leaf: 1.001 * leaf, network.params))
    monkeypatch.setattr(stablehlo, "write", lambda path, _, write=stablehlo.write: write(path, changed))
    with pytest.raises(ValueError, match=r"differs from the network's by .* more than 1e-04: nothing was written"):
        export_network(network, "stablehlo", tmp_path / "a.stablehlo")
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_relative_to_the_largest_value():
    assert parity.difference(np.array([1.0, 4.5]), np.array([1.0, -5.0])) == pytest.approx(9.5 / 5)
    assert parity.difference(np.array([0.5]), np.zeros(1)) == 0.5
    assert not parity.difference(np.array([np.nan]), np.ones(1)) <= 1


@pytest.mark.slow
def test_the_shipped_model_equals_its_export(tmp_path):
    written = export_network(load_network(SHIPPED_MODEL), "stablehlo", tmp_path / "a.stablehlo")
    assert max(max(values) for values in written.parity.values()) < parity.TOLERANCE
