"""A checkpoint finds its body by content, wherever the file is; another body is never taken for it."""

import pickle
import shutil

import numpy as np
import pytest
import tiny
from test_prepare import built_in

from hmr_jax.body import content_of, find_body, load_body_model
from hmr_jax.config import ModelConfig, from_dict
from hmr_jax.inference import Predictor
from hmr_jax.io.json_files import read_json
from hmr_jax.training.loop import train

pytestmark = pytest.mark.slow


def with_regressor(folder, name="SMPL_NEUTRAL.npz", **changes):
    """A body file with SMPL_to_J19 beside it."""
    path = built_in(folder, name, **changes)
    (folder / "SMPL_to_J19.pkl").write_bytes(pickle.dumps(load_body_model().regressors["j19"]))
    return path


def as_pickle(path):
    with np.load(path) as arrays:
        path.with_suffix(".pkl").write_bytes(pickle.dumps(dict(arrays)))
    path.unlink()
    return path.with_suffix(".pkl")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a body file, which is gone afterwards."""
    folder = tmp_path_factory.mktemp("bodies")
    body = with_regressor(folder)
    model = ModelConfig(tiny.MODEL.name, tiny.MODEL.encoder, tiny.MODEL.decoder, body=str(body))
    run = train(tiny.config(folder, steps=1, model=model), tiny.source())
    body.unlink()
    return run


def test_training_writes_the_bodys_content_with_the_checkpoint(run):
    model = from_dict(read_json(run / "config.json")).model
    assert len(model.body_content) == 32


@pytest.mark.parametrize("how", ["file", "folder", "variable", "pickle"])
def test_the_same_body_elsewhere_is_accepted(run, tmp_path, monkeypatch, how):
    path = with_regressor(tmp_path, "another_name.npz")
    shutil.copy(with_regressor(tmp_path / "taller", v_template=load_body_model().v_template * 1.1), tmp_path)
    path = as_pickle(path) if how == "pickle" else path
    if how == "variable":
        monkeypatch.setenv("HMR_JAX_BODIES", str(tmp_path))
    given = {"file": path, "pickle": path, "folder": tmp_path, "variable": None}[how]
    predictor = Predictor.from_checkpoint(run, body=given)
    np.testing.assert_allclose(predictor.body.v_template, load_body_model().v_template, atol=1e-6)


def test_another_body_is_refused(run, tmp_path):
    path = with_regressor(tmp_path, v_template=load_body_model().v_template * 1.1)
    with pytest.raises(FileNotFoundError, match="is another body than the one that the checkpoint was trained with"):
        Predictor.from_checkpoint(run, body=path)
    with pytest.raises(FileNotFoundError, match="--body or HMR_JAX_BODIES"):
        Predictor.from_checkpoint(run)


def test_a_run_resumes_with_its_body_elsewhere_and_not_with_another(run, tmp_path):
    config = from_dict(read_json(run / "config.json"))
    shutil.copytree(run, tmp_path / "runs" / "tiny")

    def resume(path):
        model = ModelConfig(config.model.name, config.model.encoder, config.model.decoder, body=str(path))
        return train(tiny.config(tmp_path / "runs", steps=2, model=model), tiny.source())

    with pytest.raises(ValueError, match=r"model\.body_content"):
        resume(with_regressor(tmp_path / "taller", v_template=load_body_model().v_template * 1.1))
    resume(with_regressor(tmp_path / "same"))


def test_a_folder_stands_for_its_neutral_body(tmp_path):
    path = with_regressor(tmp_path)
    assert content_of(find_body(str(tmp_path))) == content_of(load_body_model(path))
    with pytest.raises(FileNotFoundError, match="holds no SMPL_NEUTRAL"):
        find_body(str(tmp_path.parent))
    with pytest.raises(FileNotFoundError, match="There is no body model"):
        find_body(str(tmp_path / "gone.npz"))
