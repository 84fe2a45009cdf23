"""Files of body models end in right bodies or in a sentence; fuzz_bodies.py has the examples."""

import pickle
import random

import fuzz_bodies
import numpy as np
import pytest
from fuzz_bodies import REGRESSORS, SMPL, SMPLX, TRUE_MAP
from fuzz_body_files import pickled, stored

from hmr_jax.body import load_body_model
from hmr_jax.body.prepare import prepare
from hmr_jax.body.smplx import read_smplx, read_vertex_map


@pytest.mark.parametrize("kind", fuzz_bodies.CHECKS)
def test_random_files_give_right_bodies_or_a_sentence(kind):
    count = 15 if kind == "map" else 40
    results = [fuzz_bodies.one(kind, seed) for seed in range(count)]
    assert 0.1 < np.mean(results) < 0.9


def test_every_form_of_an_array_is_written_and_read(tmp_path):
    rng = random.Random(0)
    for _ in range(30):
        (tmp_path / "a.pkl").write_bytes(pickled(SMPL, rng))
        np.testing.assert_allclose(load_body_model(tmp_path / "a.pkl").v_template, SMPL["v_template"], rtol=1e-6)
    kinds = {type(stored(SMPL["weights"], rng, None)).__name__ for _ in range(200)}
    assert kinds > {"matrix", "ndarray", "csc_matrix", "dia_array", "list"} - {"list"}


BODIES = {
    "half the weights": ({"weights": SMPL["weights"] / 2}, r"weights in .*b\.npz has a row, 0, of 0\.5 in sum"),
    "no weights at all": ({"weights": 0 * SMPL["weights"]}, "weights in .* of 0 in sum"),
    "joints halfway": ({"J_regressor": SMPL["J_regressor"] / 2}, r"J_regressor in .* of 0\.5 in sum"),
    "joints out of order": ({"kintree_table": SMPL["kintree_table"][:, ::-1]}, "joint tree"),
    "joints of another number": ({"kintree_table": SMPL["kintree_table"] + [[0], [1]]}, "joint tree"),
    "parents that are no numbers of joints": ({"kintree_table": SMPL["kintree_table"] + 0.5}, "joint tree"),
    "faces between vertices": ({"f": SMPL["f"] + 0.5}, "Faces in .* refer to vertices that do not exist"),
}  # fmt: skip


SMPLX_BODIES = {
    "faces that are none": ({"f": np.array([[0, 1, 999]])}, "Faces in"),
    "faces of two corners": ({"f": SMPLX["f"][:, :2]}, r"f in .* is int64 \(50, 2\)"),
    "a template of one number": ({"v_template": np.array(1.0)}, r"v_template in .* is float64 \(\)"),
    "one shape": ({"shapedirs": np.array(1.0)}, r"shapedirs in .* is float64 \(\)"),
    "weights of nothing": ({"weights": SMPLX["weights"] / 3}, "weights in .* in sum"),
    "fingers in another unit": ({"hands_componentsl": 360 * SMPLX["hands_componentsl"]}, "must be in radians"),
}


@pytest.mark.parametrize("name", [*BODIES, *SMPLX_BODIES])
def test_bodies_that_were_once_read_as_if_they_were_right_or_broke_the_reader_are_refused(tmp_path, name):
    read, whole, cases = (load_body_model, SMPL, BODIES) if name in BODIES else (read_smplx, SMPLX, SMPLX_BODIES)
    change, words = cases[name]
    np.savez(tmp_path / "b.npz", **(whole | change))
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "b.npz")


def test_smplx_of_lists_is_read_as_smpl_is(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(SMPLX | {"f": SMPLX["f"].tolist(), "hands_meanl": [0.0] * 45}))
    np.testing.assert_array_equal(read_smplx(tmp_path / "x.pkl").body.faces, SMPLX["f"])


MAPS = {
    "no rows": ({"rows": None}, r"m\.pkl is not a complete map: it lacks smplx2smpl_rows"),
    "one value": ({"values": np.array(1.0)}, "smplx2smpl_(rows|values) in .* has the shape"),
    "values that are not finite": ({"values": np.full(13780, np.nan)}, "smplx2smpl_values in .* finite numbers"),
    "columns of no vertices": ({"columns": TRUE_MAP["smplx2smpl_columns"] - 5}, "columns in .* are not places"),
    "rows between rows": ({"rows": TRUE_MAP["smplx2smpl_rows"] + 0.5}, "rows in .* are not places"),
    "a shape that would fill the memory": ({"shape": np.array([10**12, 10475])}, "map of the shape"),
    "rows of one byte": ({"rows": np.zeros(13780, np.uint8)}, "do not sum to 1"),
    "a shape of one side": ({"shape": np.array([6890])}, "smplx2smpl_shape in .* has the shape"),
    "a shape by name": ({"shape": {"a": 6890}}, "smplx2smpl_shape in .* is object"),
    "rows that are too light": ({"values": TRUE_MAP["smplx2smpl_values"] / 2}, "do not sum to 1"),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_that_once_broke_the_reader_are_refused(tmp_path, name):
    change, words = MAPS[name]
    contents = TRUE_MAP | {f"smplx2smpl_{key}": value for key, value in change.items()}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(contents))
    with pytest.raises(ValueError, match=words):
        read_vertex_map(tmp_path / "m.pkl")


def test_a_map_in_another_byte_order_is_read(tmp_path):
    np.savez(
        tmp_path / "m.npz", **{key: array.astype(array.dtype.newbyteorder(">")) for key, array in TRUE_MAP.items()}
    )
    assert read_vertex_map(tmp_path / "m.npz").nnz == 13780


def test_regressors_whose_points_are_scaled_are_refused(tmp_path):
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **SMPL)
    np.save(tmp_path / "J_regressor_h36m.npy", 0.9 * REGRESSORS["h36m"])
    with pytest.raises(ValueError, match=r"The h36m regressor in .* has a row, 0, of 0\.9 in sum"):
        load_body_model(tmp_path / "SMPL_NEUTRAL.npz")
    with pytest.raises(ValueError, match=r"J_regressor_h36m\.npy has a row, 0, of 0\.9 in sum"):
        prepare([tmp_path / "J_regressor_h36m.npy"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(10**7, 10**7), (24, 10**9)])
def test_a_sparse_matrix_of_an_absurd_shape_takes_no_memory(tmp_path, shape):
    sparse = stored_as_csc(SMPL["J_regressor"])
    sparse._shape = shape
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(SMPL | {"J_regressor": sparse}))
    with pytest.raises(ValueError, match=r"s\.pkl is not a readable .* would fill the memory"):
        load_body_model(tmp_path / "s.pkl")


def stored_as_csc(dense):
    import scipy.sparse

    return scipy.sparse.csc_matrix(dense)


def test_errors_that_quote_a_file_stay_one_sentence(tmp_path):
    (tmp_path / "l.pkl").write_bytes(b"\x80\x02F1.0x\ny\n.")
    with pytest.raises(ValueError, match="fetch it again") as error:
        load_body_model(tmp_path / "l.pkl")
    assert "\n" not in str(error.value)
