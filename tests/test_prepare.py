"""`python -m hmr_jax.body.prepare` recognises files by content, converts them, and says what is missing."""

import pickle

import numpy as np
import pytest
from test_smpl_files import V, assert_equals, save, smpl_arrays

from hmr_jax import cli
from hmr_jax.body import load_body_model
from hmr_jax.body.prepare import main, prepare


def test_converts_models_and_completes_them_later(tmp_path):
    out, arrays = tmp_path / "out", smpl_arrays(num_betas=300)
    odd_name = save(tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", arrays, protocol=2)
    report = prepare([odd_name], out)
    assert report[0] == f"SMPL_MALE: {out / 'SMPL_MALE.npz'}"
    assert any(line.startswith("missing SMPL_NEUTRAL") and "smpl.is.tue.mpg.de" in line for line in report)
    assert any(line.startswith("missing SMPL_to_J19") and "44 keypoints" in line for line in report)
    assert_equals(load_body_model(out / "SMPL_MALE.npz"), arrays)

    j19, extra = np.random.default_rng(0).random((19, V)), np.random.default_rng(1).random((9, V))
    report = prepare([save(tmp_path / "a", j19), save(tmp_path / "b", extra)], out)
    assert not any("missing SMPL_to_J19" in line or "missing SMPL_MALE" in line for line in report)
    (out / "SMPL_to_J19.npy").unlink()  # the model carries its regressors
    model = load_body_model(out / "SMPL_MALE.npz")
    np.testing.assert_array_equal(model.regressors["j19"], j19.astype(np.float32))
    np.testing.assert_array_equal(model.regressors["extra"], extra.astype(np.float32))
    assert {path.name for path in out.iterdir()} == {"SMPL_MALE.npz", "J_regressor_extra.npy"}


def test_recognises_the_other_files(tmp_path):
    mean = {"pose": np.zeros(144), "shape": np.zeros(10), "cam": np.array([0.9, 0, 0])}
    np.savez(tmp_path / "mean.npz", **mean)
    matrix = np.zeros((6890, 20), np.float32)
    matrix[3, 4] = 1
    files = [tmp_path / "mean.npz", save(tmp_path / "x.pkl", {"matrix": matrix})]
    report = prepare(files, tmp_path / "out")
    assert {line.split(":")[0] for line in report[:2]} == {"smpl_mean_params", "smplx2smpl"}
    transfer = np.load(tmp_path / "out" / "smplx2smpl.npz")
    assert (transfer["smplx2smpl_rows"], transfer["smplx2smpl_columns"]) == ([3], [4])
    assert prepare(files[:1], tmp_path / "out")[:2] != []  # what is already there is recognised again


def test_unknown_and_broken_files_write_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    good = save(tmp_path / "smpl.pkl", smpl_arrays())
    for bad, message in (
        (save(tmp_path / "list.pkl", [1]), "of an unknown kind"),
        (save(tmp_path / "x.pkl", smpl_arrays(num_joints=55)), "an SMPL-X body"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare([good, bad], out)
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(smpl_arrays())[:100])
    with pytest.raises(ValueError, match=r"cut\.pkl"):
        prepare([good, tmp_path / "cut.pkl"], out)
    assert not out.exists()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    out, path = tmp_path / "out", save(tmp_path / "SMPL_NEUTRAL.pkl", smpl_arrays())
    prepare([path], out)
    before = (out / "SMPL_NEUTRAL.npz").read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare([path], out)
    assert (out / "SMPL_NEUTRAL.npz").read_bytes() == before
    assert [file.name for file in out.iterdir()] == ["SMPL_NEUTRAL.npz"]


def test_command_line_prints_one_sentence_on_error(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.run(main, "prepare", [str(tmp_path / "absent.pkl"), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().err == f"error: There is no file {tmp_path / 'absent.pkl'}.\n"
