"""Users' SMPL files are read exactly, whatever wrote them; no code of a file runs; errors say what is wrong."""

import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from hmr_jax.body import joint_set_matrix, keypoint_vertices, load_body_model
from hmr_jax.body.joints import J19, SMPL_24, SMPL_PARENTS
from hmr_jax.io import safe_pickle
from hmr_jax.io.research_files import _resolve, evaluate

DATA = Path(__file__).parent / "data"
V = 100


def shares(rng, *shape):
    """Rows of random numbers that sum to 1."""
    rows = rng.random(shape)
    return rows / rows.sum(-1, keepdims=True)


def smpl_arrays(num_vertices=V, num_joints=24, num_betas=10, dtype=np.float64):
    """Arrays under SMPL's keys, filled at random."""
    rng = np.random.default_rng(0)
    parents = np.array(SMPL_PARENTS[:num_joints] + tuple(range(23, num_joints - 1)))
    regressor = shares(rng, num_joints, num_vertices) * (rng.random((num_joints, num_vertices)) < 0.1)
    regressor /= regressor.sum(1, keepdims=True)
    return {
        "v_template": rng.random((num_vertices, 3)).astype(dtype),
        "shapedirs": rng.random((num_vertices, 3, num_betas)).astype(dtype),
        "posedirs": np.zeros((num_vertices, 3, 9 * (num_joints - 1)), dtype),
        "J_regressor": regressor.astype(dtype),
        "weights": shares(rng, num_vertices, num_joints).astype(dtype),
        "kintree_table": np.stack([parents, np.arange(num_joints)]).astype(np.uint32),
        "f": np.array([[0, 1, 2], [2, 1, num_vertices - 1]], np.uint32),
    }


def save(path, contents, protocol=4):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(contents, protocol))
    return path


def assert_equals(model, arrays):
    for field, key in (("v_template", "v_template"), ("posedirs", "posedirs"), ("joint_regressor", "J_regressor")):
        value = getattr(model, field)
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, arrays[key].astype(np.float32))
    np.testing.assert_array_equal(model.shapedirs, arrays["shapedirs"][..., :10].astype(np.float32))
    np.testing.assert_array_equal(model.faces, arrays["f"])
    assert model.parents == SMPL_PARENTS


@pytest.mark.parametrize("protocol", [0, 2])
def test_reads_what_a_real_python_2_wrote(protocol):
    """The files come from tests/data/make_python2_pickles.py: cPickle, chumpy objects, old scipy.sparse."""
    filled = lambda k, *shape: ((np.arange(np.prod(shape)) + k) % 17 / 16).reshape(shape)  # noqa: E731
    arrays = {
        "v_template": filled(0, 8, 3),
        "shapedirs": filled(1, 8, 3, 12),
        "posedirs": filled(2, 8, 3, 207),
        "J_regressor": np.pad(np.diag(filled(3, 8)), ((0, 16), (0, 0))),
        "f": [[0, 1, 2], [2, 3, 4], [5, 6, 7]],
    }
    model = load_body_model(DATA / f"python2_smpl_protocol{protocol}.pkl")
    assert_equals(model, arrays)
    np.testing.assert_array_equal(model.skinning_weights, filled(4, 8, 24))
    assert model.topology == "smpl-8"
    assert model.landmarks is None


LAYOUTS = ("csc", "csr", "coo", "lil", "dok", "bsr", "dia")


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("layout", [f"{layout}_{kind}" for layout in LAYOUTS for kind in ("matrix", "array")])
def test_reads_sparse_regressors_of_any_scipy(tmp_path, layout, protocol):
    arrays = smpl_arrays(num_betas=300)
    sparse = getattr(scipy.sparse, layout)(arrays["J_regressor"])
    model = load_body_model(save(tmp_path / "smpl.pkl", arrays | {"J_regressor": sparse}, protocol))
    assert_equals(model, arrays)
    assert model.topology == f"smpl-{V}"


def test_reads_sparse_matrices_without_entries_and_of_blocks():
    for layout in LAYOUTS:
        for dense in (np.zeros((3, 4)), np.kron(np.eye(3, 4)[::-1], [[1.0, 2], [3, 4]]).astype(np.float32)):
            content = pickle.dumps(getattr(scipy.sparse, f"{layout}_matrix")(dense))
            loaded = evaluate(safe_pickle.load(io.BytesIO(content), _resolve))
            np.testing.assert_array_equal(loaded, dense)


@pytest.mark.parametrize("reduce", [dict.__reduce__, lambda self: dict.__reduce__(self)], ids=["items", "state"])
def test_reads_a_dok_matrix_of_an_old_scipy(tmp_path, reduce):
    """Until scipy 1.12 the object itself was the dictionary, pickled as one with the attributes beside it."""
    arrays = smpl_arrays()
    entries = {(int(i), int(j)): value for (i, j), value in np.ndenumerate(arrays["J_regressor"]) if value}
    module = types.ModuleType("scipy.sparse.dok")
    old = type("dok_matrix", (dict,), {"__module__": "scipy.sparse.dok", "__reduce__": reduce})
    module.dok_matrix = old
    sys.modules["scipy.sparse.dok"] = module
    try:
        matrix = old(entries)
        vars(matrix).update(_shape=arrays["J_regressor"].shape, dtype=np.dtype(np.float64))
        path = save(tmp_path / "smpl.pkl", arrays | {"J_regressor": matrix}, protocol=2)
    finally:
        del sys.modules["scipy.sparse.dok"]
    assert_equals(load_body_model(path), arrays)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_reads_numpy_matrices(tmp_path, protocol):
    arrays = smpl_arrays()
    matrices = {key: np.matrix(arrays[key]) for key in ("J_regressor", "weights", "v_template", "kintree_table")}
    model = load_body_model(save(tmp_path / "smpl.pkl", arrays | matrices, protocol))
    assert_equals(model, arrays)
    assert type(model.joint_regressor) is np.ndarray


def test_reads_other_projects_names_of_the_arrays(tmp_path):
    arrays = smpl_arrays()
    others = {"J_regressor": "joint_regressor", "weights": "lbs_weights", "f": "faces"}
    renamed = {others.get(key, key): value for key, value in arrays.items()}
    assert_equals(load_body_model(save(tmp_path / "smpl.pkl", renamed)), arrays)
    # Where both are there, as in the files of an SMPL re-implementation, the second holds other points.
    both = arrays | {"joint_regressor": np.zeros((19, V))}
    assert_equals(load_body_model(save(tmp_path / "smpl.pkl", both)), arrays)
    with pytest.raises(ValueError, match=r"J_regressor in .* is float64 \(19, 100\)"):
        load_body_model(save(tmp_path / "smpl.pkl", renamed | {"joint_regressor": np.zeros((19, V))}))


@pytest.mark.parametrize("factor", [1000, 100, 39.37, 10, 3.281, 0.01])
def test_a_body_in_another_unit_is_refused(tmp_path, factor):
    arrays = smpl_arrays()
    shown = {key: arrays[key] * factor for key in ("v_template", "shapedirs", "posedirs")}
    with pytest.raises(ValueError, match="v_template must be in metres"):
        load_body_model(save(tmp_path / "smpl.pkl", arrays | shown))


@pytest.mark.parametrize("key", ["shapedirs", "posedirs"])
def test_displacements_in_another_unit_than_the_template_are_refused(tmp_path, key):
    arrays = smpl_arrays() | {"posedirs": np.full((V, 3, 207), 0.03)}
    with pytest.raises(ValueError, match=f"{key} in .* moves vertices by up to .* must be in metres"):
        load_body_model(save(tmp_path / "smpl.pkl", arrays | {key: arrays[key] * 100}))


@pytest.mark.parametrize(("key", "factor"), [("weights", 100), ("J_regressor", 1000)])
def test_weights_in_per_cent_and_joints_in_another_unit_are_refused(tmp_path, key, factor):
    arrays = smpl_arrays()
    with pytest.raises(ValueError, match=f"{key} in .* has values up to .*: they are shares of 1"):
        load_body_model(save(tmp_path / "smpl.pkl", arrays | {key: arrays[key] * factor}))


def test_reads_npz_also_with_pickled_objects_inside(tmp_path):
    arrays = smpl_arrays(dtype=np.float32)
    np.savez(tmp_path / "plain.npz", **arrays)
    sparse = np.array(scipy.sparse.csc_matrix(arrays["J_regressor"]), dtype=object)
    np.savez(tmp_path / "object.npz", **(arrays | {"J_regressor": sparse}))
    for name in ("plain.npz", "object.npz"):
        assert_equals(load_body_model(tmp_path / name), arrays)


def test_smpl_is_known_by_its_size_and_an_export_of_the_built_in_body_is_not_smpl(tmp_path):
    arrays = smpl_arrays(6890, dtype=np.float32)
    faces = np.random.default_rng(0).integers(0, 6890, (13776, 3))
    np.savez(tmp_path / "smpl.npz", **(arrays | {"f": faces}))
    smpl = load_body_model(tmp_path / "smpl.npz")
    assert smpl.topology == "smpl"
    assert smpl.landmarks[0] == 332
    np.savez(tmp_path / "export.npz", **(arrays | {"f": load_body_model().faces}))
    assert load_body_model(tmp_path / "export.npz").topology == "hmr-default"


def test_regressors_beside_the_file_are_taken(tmp_path):
    rng = np.random.default_rng(1)
    path = save(tmp_path / "smpl.pkl", smpl_arrays())
    assert load_body_model(path).regressors == {}
    j19, h36m = shares(rng, 19, V), shares(rng, 17, V)
    save(tmp_path / "SMPL_to_J19.pkl", j19, protocol=2)
    np.save(tmp_path / "J_regressor_h36m.npy", h36m)
    model = load_body_model(path)
    np.testing.assert_array_equal(model.regressors["j19"], j19.astype(np.float32))
    np.testing.assert_array_equal(model.regressors["h36m"], h36m.astype(np.float32))
    np.save(tmp_path / "J_regressor_h36m.npy", rng.random((17, V + 1)))
    with pytest.raises(ValueError, match="has shape"):
        load_body_model(path)


def test_extra_regressor_gives_spins_points(tmp_path):
    extra = shares(np.random.default_rng(1), 9, V)
    np.save(tmp_path / "J_regressor_extra.npy", extra)
    model = load_body_model(save(tmp_path / "smpl.pkl", smpl_arrays()))
    matrix, ids = joint_set_matrix(model, "j19")
    joints, vertices = np.random.default_rng(2).random((24, 3)), np.random.default_rng(3).random((V, 3))
    points = dict(zip(J19, matrix @ np.concatenate([joints, vertices[ids]]), strict=True))
    np.testing.assert_allclose(points["left_ankle"], joints[SMPL_24.index("left_ankle")], atol=1e-6)
    for row, name in enumerate(("right_hip", "left_hip", "neck_lsp", "head_top_lsp", "pelvis_mpii")):
        np.testing.assert_allclose(points[name], extra[row] @ vertices, rtol=1e-5)
    np.testing.assert_allclose(points["head_h36m"], extra[8] @ vertices, rtol=1e-5)


def test_missing_regressors_are_named(tmp_path):
    model = load_body_model(save(tmp_path / "smpl.pkl", smpl_arrays()))
    with pytest.raises(ValueError, match=r"SMPL_to_J19.pkl"):
        joint_set_matrix(model, "j19")
    with pytest.raises(ValueError, match=r"J_regressor_h36m.npy"):
        joint_set_matrix(model, "j14")
    with pytest.raises(ValueError, match="landmark"):
        keypoint_vertices(model)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"num_joints": 55}, "SMPL-X"),
        ({"num_joints": 52}, "SMPL-H"),
        ({"num_joints": 16}, "MANO"),
        ({"num_joints": 5}, "FLAME"),
    ],
)
def test_relatives_of_smpl_are_named_and_refused(tmp_path, changes, name):
    with pytest.raises(ValueError, match=f"{name}.*not an SMPL model"):
        load_body_model(save(tmp_path / "SMPL_NEUTRAL.pkl", smpl_arrays(**changes)))


def test_star_and_regressor_files_are_refused_as_bodies(tmp_path):
    star = smpl_arrays() | {"posedirs": np.zeros((V, 3, 93))}
    with pytest.raises(ValueError, match="STAR"):
        load_body_model(save(tmp_path / "model.pkl", star))
    with pytest.raises(ValueError, match="J_regressor_h36m"):
        load_body_model(save(tmp_path / "h36m.pkl", np.zeros((17, V))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"J_regressor": None}, "lacks J_regressor"),
        ({"posedirs": np.zeros((V, 3, 200))}, "posedirs"),
        ({"v_template": np.full((V, 3), np.nan)}, "not finite"),
        ({"J_regressor": np.full((24, V), 1e300)}, "J_regressor in .* not finite"),
        ({"f": np.array([[0, 1, V]])}, "Faces"),
        ({"kintree_table": np.zeros((2, 24))}, "joint tree"),
        ({"v_template": None}, "lacks v_template"),
        ({"weights": "none"}, "weights"),
        ({"weights": [[1, 2], [3]]}, r"weights in .*smpl\.pkl is not an array"),
        ({"f": np.zeros((0, 3), int)}, r"f in .*smpl\.pkl is int64 \(0, 3\)"),
        ({"v_template": np.zeros((0, 3))}, r"v_template in .*smpl\.pkl is"),
    ],
)
def test_damaged_models_are_refused_with_the_reason(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_body_model(save(tmp_path / "smpl.pkl", smpl_arrays() | change))


def test_truncated_and_foreign_files_are_refused(tmp_path):
    whole = pickle.dumps(smpl_arrays(), 2)
    np.savez(tmp_path / "whole.npz", **smpl_arrays())
    zipped = (tmp_path / "whole.npz").read_bytes()
    broken = [b"", b"\x89PNG\r\n\x1a\n", b"hello", whole[:10], whole[: len(whole) // 2], whole[:-1]]
    broken += [zipped[: len(zipped) // 2], zipped[:-30], b"PK\x03\x04", b"\x93NUMPY\x01\x00", pickle.dumps([1, 2])]
    for content in broken:
        (tmp_path / "smpl.pkl").write_bytes(content)
        with pytest.raises(ValueError, match=r"smpl\.pkl"):
            load_body_model(tmp_path / "smpl.pkl")
    with pytest.raises(FileNotFoundError, match="There is no body model"):
        load_body_model(tmp_path / "absent.pkl")


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_no_code_of_a_file_runs(tmp_path):
    trap = tmp_path / "trap"
    for bad in (
        Calls(os.system, f"touch {trap}"),
        Calls(eval, "1"),
        Calls(getattr, "a", "upper"),
        Calls(open, str(trap)),
    ):
        path = save(tmp_path / "smpl.pkl", smpl_arrays() | {"v_template": bad}, protocol=2)
        with pytest.raises(safe_pickle.RefusedPickleError, match="not on the list of safe names"):
            load_body_model(path)
        np.savez(tmp_path / "smpl.npz", **(smpl_arrays() | {"v_template": np.array(bad, dtype=object)}))
        with pytest.raises(safe_pickle.RefusedPickleError):
            load_body_model(tmp_path / "smpl.npz")
    assert not trap.exists()


def test_forged_arrays_cannot_reach_memory():
    """A dtype whose flags lie, or bytes given as objects, would make NumPy follow pointers from the file."""
    forged = [
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R.",
        pickle.dumps(np.zeros(3, "i4,f4"), 2),
        pickle.dumps(np.array(["2020"], "M8[D]"), 2),
    ]
    state = "(I1\n(I2\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\nS'0123456789abcdef'\ntb."
    forged.append(("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR" + state).encode())
    for content in forged[1:]:
        with pytest.raises(safe_pickle.RefusedPickleError):
            safe_pickle.load(io.BytesIO(content))
    assert not isinstance(safe_pickle.load(io.BytesIO(forged[0])), np.dtype)
    alter = b"c_codecs\nencode\n(dS'__defaults__'\nNsb."
    with pytest.raises(safe_pickle.RefusedPickleError, match="alter"):
        safe_pickle.load(io.BytesIO(alter))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_survive_every_protocol(protocol):
    data = {
        "f": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        "text": np.array(["ab", "c"]),
        "mixed": np.array([1, "x", None], object),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 3), np.float32),
        "bytes": b"\xff\x00",
        "more": [{1, 2}, (3, 4), {"a": True}],
    }
    loaded = safe_pickle.load(io.BytesIO(pickle.dumps(data, protocol)))
    for key, value in data.items():
        assert np.array_equal(loaded[key], value) if isinstance(value, np.ndarray) else loaded[key] == value


def test_equals_an_independent_smpl(tmp_path):
    reference = pytest.importorskip("body_models.smpl.numpy")
    from test_default_body import forward, rotations_from

    body = load_body_model()
    tree = np.stack([np.array(body.parents), np.arange(24)]).astype(np.uint32)
    np.savez(
        tmp_path / "smpl.npz", v_template=body.v_template, shapedirs=body.shapedirs, posedirs=body.posedirs,
        J_regressor=body.joint_regressor, kintree_table=tree, weights=body.skinning_weights, f=body.faces,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    betas, pose = rng.standard_normal(10).astype(np.float32), rng.normal(0, 0.5, (1, 24, 3)).astype(np.float32)
    inputs = {"body_pose": pose[:, 1:], "pelvis_rotation": pose[:, 0], "shape": betas[None]}
    other = reference.SMPL(model_path=str(tmp_path / "smpl.npz"))
    vertices, joints = forward(betas, rotations_from(pose))
    np.testing.assert_allclose(np.asarray(other.forward_vertices(**inputs)), vertices, atol=1e-5)
    np.testing.assert_allclose(np.asarray(other.forward_skeleton(**inputs))[..., :3, 3], joints, atol=1e-5)


def test_foreign_names_can_be_given_a_stand_in():
    module = types.ModuleType("lightning_like")
    module.Thing = type("Thing", (), {"__module__": "lightning_like"})
    sys.modules["lightning_like"] = module
    try:
        thing = module.Thing()
        thing.value = np.arange(3)
        content = pickle.dumps({"thing": thing}, 2)
    finally:
        del sys.modules["lightning_like"]
    with pytest.raises(safe_pickle.RefusedPickleError, match=r"lightning_like\.Thing"):
        safe_pickle.load(io.BytesIO(content))
    resolve = lambda module, name: safe_pickle.opaque_class(f"{module}.{name}")  # noqa: E731
    loaded = safe_pickle.load(io.BytesIO(content), resolve)["thing"]
    assert loaded.class_name == "lightning_like.Thing"
    np.testing.assert_array_equal(loaded.state["value"], [0, 1, 2])
