"""`python -m hmr_jax.body.prepare` recognises files by content, converts them, and says what is missing."""

import pickle

import numpy as np
import pytest
from test_smpl_files import V, assert_equals, save, shares, smpl_arrays

from hmr_jax import cli
from hmr_jax.body import load_body_model
from hmr_jax.body.joints import SMPL_24
from hmr_jax.body.prepare import main, prepare


def test_converts_models_and_completes_them_later(tmp_path):
    out, arrays = tmp_path / "out", smpl_arrays(num_betas=300)
    odd_name = save(tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", arrays, protocol=2)
    report = prepare([odd_name], out)
    assert report[0] == f"SMPL_MALE: {out / 'SMPL_MALE.npz'}"
    assert any(line.startswith("missing SMPL_NEUTRAL") and "smpl.is.tue.mpg.de" in line for line in report)
    assert any(line.startswith("missing SMPL_to_J19") and "44 keypoints" in line for line in report)
    assert_equals(load_body_model(out / "SMPL_MALE.npz"), arrays)

    j19, extra = shares(np.random.default_rng(0), 19, V), shares(np.random.default_rng(1), 9, V)
    report = prepare([save(tmp_path / "SMPL_to_J19.pkl", j19), save(tmp_path / "J_regressor_extra.pkl", extra)], out)
    assert not any("missing SMPL_to_J19" in line or "missing SMPL_MALE" in line for line in report)
    (out / "SMPL_to_J19.npy").unlink()  # the model carries its regressors
    model = load_body_model(out / "SMPL_MALE.npz")
    np.testing.assert_array_equal(model.regressors["j19"], j19.astype(np.float32))
    np.testing.assert_array_equal(model.regressors["extra"], extra.astype(np.float32))
    assert {path.name for path in out.iterdir()} == {"SMPL_MALE.npz", "J_regressor_extra.npy"}


def built_in(folder, name, **changes):
    """The built-in body as a file in SMPL's form, in which its regressors can be recognised."""
    body = load_body_model()
    arrays = smpl_arrays() | {
        "v_template": body.v_template, "shapedirs": body.shapedirs, "posedirs": body.posedirs, "f": body.faces[:, ::-1],
        "J_regressor": body.joint_regressor, "weights": body.skinning_weights, **changes,
    }  # fmt: skip
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.savez(folder / name, **arrays)
    return folder / name


BODY = load_body_model()
COCO = np.stack(  # points of J_regressor_coco, of which there are 17 as in J_regressor_h36m
    [BODY.joint_regressor[SMPL_24.index(name)] for name in (
        "head", "head", "head", "head", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
        "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    )]
)  # fmt: skip
COCOPLUS = np.concatenate([BODY.regressors["j19"][:14], COCO[:5]])  # HMR's, of which there are 19 as in SMPL_to_J19
H36M = BODY.regressors["h36m"]
RIGHT_LEG_FIRST = H36M[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regressors_are_recognised_by_where_their_points_lie(tmp_path, dtype):
    model = built_in(tmp_path, "SMPL_NEUTRAL.npz")
    found = {"J_regressor_h36m": H36M, "SMPL_to_J19": BODY.regressors["j19"]}
    found["J_regressor_extra"] = BODY.regressors["j19"][[2, 3, *range(12, 19)]]
    files = [save(tmp_path / str(i), matrix.astype(dtype)) for i, matrix in enumerate(found.values())]
    report = prepare([model, *files], tmp_path / "out")
    assert [line.split(":")[0] for line in report[:3]] == list(found)
    loaded = load_body_model(tmp_path / "out" / "SMPL_NEUTRAL.npz")
    for name, matrix in (("h36m", H36M), ("j19", BODY.regressors["j19"])):
        np.testing.assert_array_equal(loaded.regressors[name], matrix)
    assert f"{model} is taken as SMPL_NEUTRAL, by its name" in report


@pytest.mark.parametrize("matrix", [COCO, COCOPLUS, RIGHT_LEG_FIRST, H36M[::-1]], ids=["coco", "+", "right", "reverse"])
def test_another_regressor_with_as_many_points_is_not_taken(tmp_path, matrix):
    model, stem = built_in(tmp_path, "SMPL_NEUTRAL.npz"), "J_regressor_h36m" if len(matrix) == 17 else "SMPL_to_J19"
    other = save(tmp_path / "J_regressor_other.pkl", matrix)
    for files in ([model, other], [other, model], [other]):
        with pytest.raises(ValueError, match=rf"J_regressor_other\.pkl is a regressor of .*name the file {stem}"):
            prepare(files, tmp_path / "out")
    misnamed = save(tmp_path / f"{stem}.pkl", matrix)
    with pytest.raises(ValueError, match=rf"{stem}\.pkl is not {stem}, but another regressor: its row \d+ should be"):
        prepare([misnamed, model], tmp_path / "out")
    with pytest.raises(ValueError, match=rf"{stem}\.pkl is not {stem}, but another regressor: its row \d+ should be"):
        load_body_model(model)
    assert not (tmp_path / "out").exists()


def test_of_two_regressors_of_a_kind_none_wins(tmp_path):
    rows = (shares(np.random.default_rng(i), 17, V) for i in range(2))
    first, second = (save(tmp_path / f"{i}" / "J_regressor_h36m.pkl", matrix) for i, matrix in enumerate(rows))
    with pytest.raises(ValueError, match="would both become J_regressor_h36m, but differ"):
        prepare([first, second], tmp_path / "out")
    assert prepare([first, first], tmp_path / "out")[0].startswith("J_regressor_h36m: ")
    with pytest.raises(ValueError, match=r"out/J_regressor_h36m\.npy and .* would both become J_regressor_h36m"):
        prepare([second], tmp_path / "out")


def test_a_regressor_with_other_points_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"regressor of 14 points, which is none of SMPL_to_J19"):
        prepare([save(tmp_path / "x.npy", np.zeros((14, V)))], tmp_path / "out")


def test_bodies_of_one_name_are_told_apart_by_their_folders_or_refused(tmp_path):
    male, female = smpl_arrays(), smpl_arrays()
    female["v_template"] = female["v_template"] * 0.9
    files = [save(tmp_path / gender / "model.pkl", arrays) for gender, arrays in (("male", male), ("Female", female))]
    prepare(files, tmp_path / "out")
    assert_equals(load_body_model(tmp_path / "out" / "SMPL_MALE.npz"), male)
    assert_equals(load_body_model(tmp_path / "out" / "SMPL_FEMALE.npz"), female)

    old = save(tmp_path / "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", male)
    new = save(tmp_path / "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", female)
    for pair in ([old, new], [new, old]):
        with pytest.raises(ValueError, match="would both become SMPL_NEUTRAL, but differ: give one of them"):
            prepare(pair, tmp_path / "both")
    prepare([old], tmp_path / "both")
    before = (tmp_path / "both" / "SMPL_NEUTRAL.npz").read_bytes()
    with pytest.raises(ValueError, match=r"both/SMPL_NEUTRAL\.npz and .*v1\.1\.0\.pkl would both become SMPL_NEUTRAL"):
        prepare([new], tmp_path / "both")
    assert (tmp_path / "both" / "SMPL_NEUTRAL.npz").read_bytes() == before
    prepare([old, old], tmp_path / "both")

    nameless = [save(tmp_path / folder / "model.pkl", arrays) for folder, arrays in (("a", male), ("b", female))]
    with pytest.raises(ValueError, match="would both become model, but differ"):
        prepare(nameless, tmp_path / "nameless")
    report = prepare(nameless[:1], tmp_path / "nameless")
    assert any("tells no gender: rename it" in line for line in report)


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
