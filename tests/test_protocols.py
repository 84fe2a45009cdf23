"""Every protocol gives the numbers that can be worked out by hand."""

import dataclasses
import subprocess
import sys
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.body import Bodies, load_body_model, skin, true_body
from hmr_jax.body.default_body import load_default_body
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.protocols import PROTOCOLS, Subject, body_subject, get_protocol, keypoint_subject, load_bodies, score
from hmr_jax.protocols.published import PUBLISHED, published_rows

IN_3D = [protocol for protocol in PROTOCOLS.values() if protocol.space == "3d"]
NAMED = [
    "3dpw-j14-pelvis", "3dpw-j14-hips", "3dpw-j19", "3dpw-j19-keypoints", "3dpw-24-challenge",
    "h36m-p1-j14", "h36m-p2-j14", "h36m-p2-j14-j19", "rich-24-hips",
    "emdb1-24-kinematic", "emdb1-24-regressed", "3dhp", "mlb-pitch", "coco-pck", "synthetic",
]  # fmt: skip


@cache
def people():
    """Rotations (3, 24, 3, 3), vertices and joints of three people."""
    rng = np.random.default_rng(0)
    rotations = axis_angle_to_matrix(jnp.asarray(rng.normal(0, 0.4, (3, 24, 3)), jnp.float32))
    posed = skin(load_default_body(), jnp.asarray(rng.normal(0, 1, (3, 10)), jnp.float32), rotations)
    return np.asarray(rotations), np.asarray(posed.vertices), np.asarray(posed.joints)


def see(protocol, change=lambda points: points, turn=None):
    """The people as a protocol sees them, after a change of vertices and joints."""
    rotations, vertices, joints = people()
    if turn is not None:
        rotations = rotations.copy()
        rotations[:, 0] = turn @ rotations[:, 0]
    return body_subject(protocol, load_default_body(), change(vertices), change(joints), rotations)


def numpy_pa(source, target, of=None):
    """PA-MPJPE by a singular value decomposition of each sample; or the error of other points, aligned like these."""
    errors = []
    for number, (x, y) in enumerate(zip(np.float64(source), np.float64(target), strict=True)):
        moved, wanted = (x, y) if of is None else (np.float64(side[number]) for side in of)
        moved, wanted, x, y = moved - x.mean(0), wanted - y.mean(0), x - x.mean(0), y - y.mean(0)
        u, s, vt = np.linalg.svd(x.T @ y)
        signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
        aligned = (s * signs).sum() / (x**2).sum() * moved @ (u * signs @ vt)
        errors.append(1000 * np.linalg.norm(aligned - wanted, axis=1).mean())
    return np.array(errors)


def each(protocol):
    return pytest.mark.parametrize("protocol", protocol, ids=lambda p: p.name)


def test_the_table_holds_every_protocol_and_its_choices_fit_together():
    assert set(NAMED) <= set(PROTOCOLS)
    for protocol in PROTOCOLS.values():
        assert protocol.source
        assert protocol.used_by
        assert len(set(protocol.joint_names)) == len(protocol.joints)
        if protocol.truth == "keypoints":
            assert len(protocol.keypoints) == len(protocol.joints)
            assert len(protocol.keypoint_root) == len(protocol.root)
        if protocol.root_name == "hips" and protocol.space == "3d":
            from hmr_jax.protocols.protocol import POINTS

            roots = {POINTS[protocol.regressor][joint] for joint in protocol.root}
            assert roots == {"left_hip", "right_hip"}
        assert all(
            hasattr(protocol, name) and getattr(protocol, name) for name in ("pck", "auc") if name in protocol.metrics
        )


def test_labelled_points_and_regressed_ones_are_the_same_points():
    """h36m rows and keypoints of the 44 must agree in left, right and kind."""
    from hmr_jax.body.joints import KEYPOINTS_44

    for protocol in PROTOCOLS.values():
        if protocol.truth != "keypoints" or protocol.space == "2d":
            continue
        for joint, keypoint in zip(protocol.joint_names, protocol.keypoints, strict=True):
            assert KEYPOINTS_44[keypoint].startswith(joint) or joint.startswith(KEYPOINTS_44[keypoint].split("_")[0])


def test_choices_are_those_of_the_original_evaluations():
    assert len(np.linspace(*get_protocol("3dpw-24-challenge").auc)) == 200
    np.testing.assert_array_equal(np.linspace(*get_protocol("3dpw-24-challenge").auc), np.arange(200))
    assert get_protocol("emdb1-24-kinematic").pa_pve == "joints"
    theirs, spins = get_protocol("h36m-p2-j14-j19"), get_protocol("h36m-p2-j14")
    assert theirs.regressor == "j19"
    assert [f"{name}".removesuffix("_lsp").removesuffix("_h36m") for name in theirs.joint_names] == [
        name.removesuffix("_lsp") for name in spins.joint_names
    ]
    assert (theirs.keypoints, theirs.keypoint_root, theirs.select) == (
        spins.keypoints, spins.keypoint_root, spins.select,
    )  # fmt: skip


def test_an_unknown_protocol_lists_the_nearest():
    with pytest.raises(ValueError, match=r"no protocol '3dpw-j14': the nearest are .*3dpw-j14-pelvis"):
        get_protocol("3dpw-j14")
    done = subprocess.run(
        [sys.executable, "-m", "hmr_jax.protocols", "rich"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "rich-24-hips" in done.stderr


def test_the_command_prints_every_protocol():
    done = subprocess.run([sys.executable, "-m", "hmr_jax.protocols"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in PROTOCOLS)
    assert "35,515" in done.stdout


@each(IN_3D)
def test_truth_against_itself_is_zero_wherever_it_stands(protocol):
    shift = np.float32([0.3, -0.2, 2.0])
    rows = score(protocol, see(protocol, lambda points: points + shift), see(protocol))
    for name in protocol.metrics:
        if name in rows:
            perfect = 100.0 if name in ("pck", "auc") else 0.0
            # AUC's first threshold is 0, which only an exact match passes; rounding takes it away.
            slack = 0.005 if name != "auc" else 100 / protocol.auc[2] + 0.001
            np.testing.assert_allclose(rows[name], perfect, atol=slack, err_msg=name)


@each(IN_3D)
def test_a_body_scaled_and_mirrored_gives_the_hand_computed_numbers(protocol):
    true = see(protocol)
    radius = np.linalg.norm(true.points, axis=-1)
    larger = score(protocol, see(protocol, lambda points: np.float32(1.1) * points), true)
    np.testing.assert_allclose(larger["mpjpe"], 100 * radius.mean(1), rtol=1e-3)
    np.testing.assert_allclose(larger["pa_mpjpe"], 0, atol=0.005)
    if "pck" in larger:
        chosen = list(protocol.pck_joints or range(len(protocol.joints)))
        np.testing.assert_allclose(larger["pck"], 100 * (100 * radius[:, chosen] <= protocol.pck).mean(1), atol=1e-3)
    mirror = np.float32([-1, 1, 1])
    flipped = score(protocol, see(protocol, lambda points: points * mirror), true)
    np.testing.assert_allclose(flipped["mpjpe"], 2000 * np.abs(true.points[..., 0]).mean(1), rtol=1e-4)
    np.testing.assert_allclose(flipped["pa_mpjpe"], numpy_pa(true.points * mirror, true.points), rtol=1e-4)
    if "mpjpe_z" in flipped:
        np.testing.assert_allclose(flipped["mpjpe_z"], 0, atol=1e-3)
    if "pve" in flipped:
        np.testing.assert_allclose(flipped["pve"], 2000 * np.abs(true.mesh[..., 0]).mean(1), rtol=1e-4)
        meshes = np.asarray(true.mesh) * mirror, np.asarray(true.mesh)
        if protocol.pa_pve == "joints":  # EMDB's evaluation_metrics.py
            expected = numpy_pa(np.asarray(true.points) * mirror, true.points, of=meshes)
        else:
            expected = numpy_pa(*meshes)
        np.testing.assert_allclose(flipped["pa_pve"], expected, rtol=1e-4)


@each(IN_3D)
def test_a_wrong_root_moves_every_point_by_the_distance_of_the_roots(protocol):
    other = dataclasses.replace(protocol, root=(5,))
    points, moved = see(protocol), see(other)
    offset = np.asarray(moved.points - points.points)[:, 0]
    rows = score(protocol, moved, points)
    np.testing.assert_allclose(rows["mpjpe"], 1000 * np.linalg.norm(offset, axis=-1), rtol=1e-3)
    np.testing.assert_allclose(rows["pa_mpjpe"], 0, atol=0.005)


@pytest.mark.parametrize("wrong", ["body", "kinematic"])
def test_a_wrong_regressor_gives_the_distance_of_its_points(wrong):
    """The hips of J14 against those of the skeleton: what happens when somebody's J14 has SMPL's hips."""
    protocol, body = get_protocol("3dpw-j14-pelvis"), load_default_body()
    _, vertices, joints = people()
    rows, hips = body.regressors["h36m"].copy(), body.joint_regressor[[1, 2]]
    rows[[1, 4]] = hips
    pred = body_subject(protocol, dataclasses.replace(body, regressors={"h36m": rows}), vertices, joints)
    moved = np.einsum("kv,bvc->bkc", np.float64(hips - body.regressors["h36m"][[1, 4]]), vertices)
    expected = 1000 * np.linalg.norm(moved, axis=-1).sum(1) / 14
    np.testing.assert_allclose(score(protocol, pred, see(protocol))["mpjpe"], expected, rtol=1e-3)
    assert expected.min() > 1
    # And the skeleton's joints against the same ones regressed from the posed mesh.
    names = {"body": "emdb1-24-regressed", "kinematic": "emdb1-24-kinematic"}
    one, two = get_protocol(names[wrong]), get_protocol(names["kinematic" if wrong == "body" else "body"])
    regressed = np.einsum("kv,bvc->bkc", np.float64(body.joint_regressor), vertices)
    apart = (regressed - regressed[:, 1:3].mean(1, keepdims=True)) - (joints - joints[:, 1:3].mean(1, keepdims=True))
    expected = 1000 * np.linalg.norm(apart, axis=-1).mean(1)
    np.testing.assert_allclose(score(one, see(two), see(one))["mpjpe"], expected, rtol=2e-3)
    assert expected.min() > 1


@each([p for p in IN_3D if p.angle_parts])
def test_a_turned_body_has_its_angle_as_error_and_none_after_alignment(protocol):
    turn = np.asarray(axis_angle_to_matrix(jnp.float32([0, np.deg2rad(20.0), 0])))
    rows = score(protocol, see(protocol, lambda points: points @ turn.T, turn), see(protocol))
    np.testing.assert_allclose(rows["mpjae"], 20, atol=1e-3)
    np.testing.assert_allclose(rows["pa_mpjae"], 0, atol=0.05)


@each(IN_3D)
def test_a_prediction_that_is_not_finite_is_a_failure_and_not_a_gap(protocol):
    true = see(protocol)
    pred = true._replace(points=np.asarray(true.points).copy())
    pred.points[1, 2, 0] = np.nan
    rows = score(protocol, pred, true)
    np.testing.assert_array_equal(rows["failed"], [0, 1, 0])
    np.testing.assert_allclose(rows["mpjpe"][1], 1000 * np.linalg.norm(true.points[1], axis=-1).mean(), rtol=1e-4)
    np.testing.assert_allclose(rows["mpjpe"][jnp.array([0, 2])], 0, atol=0.005)
    for name, worst in (("pck", 0), ("auc", 0), ("mpjae", 180)):
        if name in rows:
            assert rows[name][1] == worst


def test_points_without_confidence_do_not_count():
    protocol = get_protocol("3dhp")
    true = see(protocol)
    wrong = np.asarray(true.points).copy()
    wrong[:, 3] += 1
    weights = np.ones((3, 17), np.float32)
    weights[:, 3] = 0
    rows = score(protocol, Subject(wrong), true, weights)
    for name, value in (("mpjpe", 0), ("pa_mpjpe", 0), ("pck", 100), ("auc", 100)):
        np.testing.assert_allclose(rows[name], value, atol=0.005)
    assert score(protocol, Subject(wrong), true)["mpjpe"][0] > 50


def test_keypoints_in_2d_are_counted_by_their_share_of_the_crop():
    protocol = get_protocol("coco-pck")
    true = np.zeros((1, 44, 2), np.float32)
    pred = true.copy()
    pred[0, :11, 0], pred[0, 11:22, 1] = 0.07, 0.2
    confidence = np.ones((1, 44), np.float32)
    confidence[0, 22:33] = 0.4  # not confident enough to count
    rows = score(protocol, keypoint_subject(protocol, pred), keypoint_subject(protocol, true), confidence)
    assert rows["points"][0] == 33
    np.testing.assert_allclose(rows["pck"], 100 * 22 / 33, rtol=1e-5)
    np.testing.assert_allclose(rows["pck_tight"], 100 * 11 / 33, rtol=1e-5)


def gendered():
    """A male body 5 % larger and a female one 10 % smaller than the built-in one."""
    body = load_body_model()

    def scaled(factor):
        arrays = {name: np.float32(factor) * getattr(body, name) for name in ("v_template", "shapedirs", "posedirs")}
        return dataclasses.replace(body, **arrays)

    return scaled(1.05), scaled(0.9)


def test_the_truth_is_the_body_of_the_labelled_gender():
    protocol = get_protocol("3dpw-j14-hips")
    neutral = load_body_model()
    bodies = Bodies(neutral, gendered())
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.4, (3, 24, 3)).astype(np.float32), rng.normal(0, 1, (3, 10)).astype(np.float32)
    truth = true_body(bodies, pose, betas, np.array([2, 0, 1]))
    seen = body_subject(protocol, neutral, truth.vertices, truth.joints)
    same = true_body(Bodies(neutral), pose, betas, None)
    mine = body_subject(protocol, neutral, same.vertices, same.joints)
    radius = 1000 * np.linalg.norm(mine.points, axis=-1).mean(1)
    rows = score(protocol, mine, seen)
    np.testing.assert_allclose(rows["mpjpe"], radius * [0.1, 0, 0.05], atol=0.01)
    np.testing.assert_allclose(rows["pa_mpjpe"], 0, atol=0.005)


def test_missing_files_are_named_with_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.delenv("HMR_JAX_BODIES", raising=False)
    body = load_body_model()
    bare = dataclasses.replace(body, regressors={})
    with pytest.raises(
        FileNotFoundError, match=r"needs J_regressor_h36m \(SPIN's data archive\).*--bodies or HMR_JAX_BODIES"
    ):
        load_bodies(get_protocol("h36m-p2-j14"), bare)
    with pytest.raises(FileNotFoundError, match=r"needs SMPL_to_J19 \(HMR2.0's .*it is not in "):
        load_bodies(get_protocol("3dpw-j19"), bare, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gendered truth and needs SMPL_MALE \(from smpl"):
        load_bodies(get_protocol("3dpw-j14-pelvis"), body, tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_bodies(get_protocol("3dpw-j14-pelvis"), body, tmp_path / "nowhere")
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros((17, 12)))
    with pytest.raises(ValueError, match=r"has shape \(17, 12\)"):
        load_bodies(get_protocol("h36m-p2-j14"), bare, tmp_path)
    np.save(tmp_path / "J_regressor_h36m.npy", body.regressors["h36m"])
    assert load_bodies(get_protocol("h36m-p2-j14"), bare, tmp_path).neutral.regressors["h36m"].shape == (17, 6890)


def test_a_mesh_of_another_topology_and_missing_joints_are_refused():
    protocol, body = get_protocol("emdb1-24-regressed"), load_body_model()
    with pytest.raises(ValueError, match=r"100 vertices.*one topology"):
        body_subject(protocol, body, jnp.zeros((1, 100, 3)), None)
    with pytest.raises(ValueError, match="kinematic joints, which follow from rotations and betas"):
        body_subject(get_protocol("emdb1-24-kinematic"), body, jnp.zeros((1, 6890, 3)), None)
    with pytest.raises(ValueError, match="needs the vertices"):
        body_subject(protocol, body, None, jnp.zeros((1, 24, 3)))


def test_published_rows_have_sources_and_none_is_from_memory():
    assert all(row.source and row.method for row in PUBLISHED)
    rows = {row.method: row for row in published_rows(get_protocol("3dpw-j14-hips"))}
    assert (rows["D2A-HMR"].pa_mpjpe, rows["D2A-HMR"].mpjpe, rows["D2A-HMR"].pve) == (48.4, 80.5, 88.4)
    assert "HMR2.0a" not in rows
    assert published_rows(get_protocol("3dpw-24-challenge")) == []
