"""Networks as TensorFlow's SavedModel: TensorFlow alone runs them, at any batch size."""

import json
import re
import sys

import jax
import numpy as np
import pytest

from hmr_commands import saved_model
from hmr_commands.saved_model import FORMATS
from hmr_jax.export import export_network, load_network, parity, writing

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def network(tiny_checkpoint):
    return load_network(tiny_checkpoint)


NEW_JAX = jax.__version_info__ >= (0, 11)


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    if NEW_JAX:
        pytest.skip("TensorFlow may be older than what jax 0.11 writes")
    return export_network(network, "savedmodel", tmp_path_factory.mktemp("exported") / "tiny_savedmodel", FORMATS)


@pytest.mark.skipif(not NEW_JAX, reason="TensorFlow reads what this jax writes")
def test_what_tensorflow_cannot_read_is_one_sentence_and_no_folder(network, tmp_path):
    try:
        export_network(network, "savedmodel", tmp_path / "a", FORMATS)
    except ValueError as error:
        assert re.fullmatch(r"TensorFlow [\d.]+ cannot read what jax [\d.]+ writes: install .*", str(error))  # noqa: PT017
        assert not list(tmp_path.iterdir())


def test_the_saved_model_equals_the_network_at_each_batch_size(written):
    assert {"vertices", "keypoints_2d", "camera", "betas", "body_pose"} <= set(written.parity)
    assert all(len(values) == len(parity.BATCHES) for values in written.parity.values())
    assert max(max(values) for values in written.parity.values()) < parity.TOLERANCE


def test_tensorflow_loads_it_with_names_and_an_open_batch(written):
    model = tf.saved_model.load(str(written.path))
    signature = model.signatures["serving_default"]
    (image,) = signature.structured_input_signature[1].values()
    assert (image.name, image.dtype, image.shape.as_list()) == ("image", tf.uint8, [None, 32, 32, 3])
    assert signature(image=np.zeros((2, 32, 32, 3), np.uint8))["keypoints_3d"].shape == (2, 44, 3)


def test_the_folder_says_what_it_is(written, network):
    header = json.loads((written.path / "assets.extra" / "hmr_jax.json").read_text())
    assert header["format"] == "hmr_jax savedmodel"
    assert header["parameters_hash"] == network.parameters_hash
    assert header["outputs"]["vertices"]["shape"] == ["b", network.body.num_vertices, 3]


def test_an_earlier_export_is_replaced_and_another_folder_is_not(written, network, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "write", lambda path, network: (path / "new").touch())
    monkeypatch.setattr(saved_model, "load", lambda path: None)
    monkeypatch.setattr(writing, "measure", lambda *_: {})
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="is no savedmodel of hmr_jax: choose another --output"):
        export_network(network, "savedmodel", tmp_path / "mine", FORMATS)
    earlier = tmp_path / "earlier"
    (earlier / "assets.extra").mkdir(parents=True)
    (earlier / "assets.extra" / "hmr_jax.json").write_text('{"format": "hmr_jax savedmodel"}')
    export_network(network, "savedmodel", earlier, FORMATS)
    assert [path.name for path in earlier.iterdir()] == ["new"]


def test_a_missing_tensorflow_is_one_sentence(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"A SavedModel needs TensorFlow: `pip install 'hmr_jax\[train\]'`"):
        export_network(network, "savedmodel", tmp_path / "a", FORMATS)
    assert list(tmp_path.iterdir()) == []
