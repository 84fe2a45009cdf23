"""The built-in body keeps its promises: SMPL's form, symmetric, watertight, human sizes, poseable."""

import time

import numpy as np
import pytest

from hmr_jax.body import joints, load_body_model, mirror_vertices
from hmr_jax.body.default_body import load_default_body
from hmr_jax.body.regressors import JOINT_SETS, joint_set_matrix, keypoint_matrix, keypoint_vertices

BODY = load_default_body()
MIRROR = mirror_vertices()
MIRROR_X = np.array([-1, 1, 1], np.float32)
# How the nine entries of a rotation matrix change sign under the mirror image.
MIRROR_ROTATION = np.outer(MIRROR_X, MIRROR_X).ravel()


def rotations_from(axis_angles):
    """(..., 3, 3) matrices of (..., 3) axis-angle vectors, Rodrigues' formula."""
    angle = np.linalg.norm(axis_angles, axis=-1)[..., None, None]
    cross = np.cross(axis_angles[..., None, :], np.eye(3)).swapaxes(-1, -2)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + np.sinc(angle / 2 / np.pi) ** 2 / 2 * cross @ cross


def forward(betas, rotations):
    """Posed vertices (B, V, 3) and joints (B, J, 3) of betas (S,) and rotations (B, J, 3, 3), in plain NumPy."""
    shaped = BODY.v_template + BODY.shapedirs @ betas
    rest = BODY.joint_regressor @ shaped
    feature = (rotations[:, 1:] - np.eye(3)).reshape(len(rotations), -1).astype(np.float32)
    posed = shaped + (feature @ BODY.posedirs.reshape(-1, feature.shape[1]).T).reshape(len(feature), -1, 3)
    turns, places = [], []
    for j, parent in enumerate(BODY.parents):
        turns.append(rotations[:, j] if parent < 0 else turns[parent] @ rotations[:, j])
        offset = rest[j] - (0 if parent < 0 else rest[parent])
        places.append(offset + np.zeros((len(rotations), 3)) if parent < 0 else places[parent] + turns[parent] @ offset)
    turns, places = np.stack(turns, 1).astype(np.float32), np.stack(places, 1)
    shift = (places - np.einsum("bjac,jc->bja", turns, rest)).astype(np.float32)
    blend = (BODY.skinning_weights @ turns.reshape(len(turns), -1, 9)).reshape(*posed.shape, 3)
    return np.einsum("bvac,bvc->bva", blend, posed) + BODY.skinning_weights @ shift, places


def volume(vertices):
    """Signed volume of a closed mesh, cubic metres."""
    a, b, c = (vertices[..., BODY.faces[:, k], :] for k in range(3))
    return np.einsum("...fi,...fi->...", a, np.cross(b, c)) / 6


def height(betas):
    return np.ptp((BODY.v_template + BODY.shapedirs @ betas)[:, 1])


def test_has_the_form_of_smpl():
    assert BODY.topology == "hmr-default"
    assert BODY.parents == joints.SMPL_PARENTS
    assert BODY.v_template.shape == (6890, 3)
    assert BODY.faces.shape == (13776, 3)
    assert BODY.shapedirs.shape == (6890, 3, 10)
    assert BODY.posedirs.shape == (6890, 3, 207)
    assert BODY.joint_regressor.shape == (24, 6890)
    floats = (BODY.v_template, BODY.shapedirs, BODY.posedirs, BODY.joint_regressor, BODY.skinning_weights)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in floats)
    np.testing.assert_allclose(BODY.joint_regressor[0] @ BODY.v_template, 0, atol=1e-3)


def test_mesh_is_watertight_and_faces_outward():
    edges = np.concatenate([BODY.faces[:, [0, 1]], BODY.faces[:, [1, 2]], BODY.faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)  # each direction of an edge once
    assert {tuple(edge) for edge in edges} == {tuple(edge) for edge in edges[:, ::-1]}
    assert 0.05 < volume(BODY.v_template) < 0.08
    assert set(np.unique(BODY.faces)) == set(range(6890))


def test_weights_are_at_most_four_and_sum_to_one():
    assert (BODY.skinning_weights >= 0).all()
    assert (BODY.skinning_weights > 0).sum(1).max() <= 4
    np.testing.assert_allclose(BODY.skinning_weights.sum(1), 1, atol=1e-6)


def test_is_its_own_mirror_image():
    flip = joints.SMPL_24_FLIP
    assert (MIRROR[MIRROR] == np.arange(6890)).all()
    mirrored_faces = {tuple(np.roll(f, -f.argmin())) for f in MIRROR[BODY.faces[:, ::-1]]}
    assert mirrored_faces == {tuple(np.roll(f, -f.argmin())) for f in BODY.faces}
    np.testing.assert_allclose(BODY.v_template[MIRROR] * MIRROR_X, BODY.v_template, atol=1e-6)
    np.testing.assert_allclose(BODY.shapedirs[MIRROR] * MIRROR_X[:, None], BODY.shapedirs, atol=1e-6)
    np.testing.assert_allclose(BODY.skinning_weights[MIRROR][:, flip], BODY.skinning_weights, atol=1e-6)
    np.testing.assert_allclose(BODY.joint_regressor[flip][:, MIRROR], BODY.joint_regressor, atol=1e-6)
    blocks = BODY.posedirs.reshape(6890, 3, 23, 9)
    mirrored = blocks[MIRROR][:, :, flip[1:] - 1] * MIRROR_X[:, None, None] * MIRROR_ROTATION
    np.testing.assert_allclose(mirrored, blocks, atol=1e-6)


def test_regressors_are_sparse_positive_and_symmetric():
    names = {"j19": joints.J19, "h36m": joints.H36M_17}
    for name, points in names.items():
        matrix, flip = BODY.regressors[name], joints._mirror(points)
        assert matrix.shape == (len(points), 6890)
        assert (matrix >= 0).all()
        assert (matrix > 0).sum(1).max() <= 40
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(matrix[flip][:, MIRROR], matrix, atol=1e-6)
    j19 = dict(zip(joints.J19, BODY.regressors["j19"], strict=True))
    h36m = dict(zip(joints.H36M_17, BODY.regressors["h36m"], strict=True))
    for a, b in (("pelvis_mpii", "pelvis"), ("spine_h36m", "spine"), ("jaw_h36m", "jaw")):
        np.testing.assert_array_equal(j19[a], h36m[b])


def test_points_lie_where_their_names_say():
    smpl = dict(zip(joints.SMPL_24, BODY.joint_regressor @ BODY.v_template, strict=True))
    j19 = dict(zip(joints.J19, BODY.regressors["j19"] @ BODY.v_template, strict=True))
    h36m = dict(zip(joints.H36M_17, BODY.regressors["h36m"] @ BODY.v_template, strict=True))
    marks = dict(zip(joints.LANDMARKS_21, BODY.v_template[BODY.landmarks], strict=True))
    for limb in ("ankle", "knee", "wrist", "elbow", "shoulder", "hip"):
        for side in ("left", "right"):
            name = f"{side}_{limb}"
            for points in (j19, h36m):
                assert np.linalg.norm(points[name] - smpl[name]) < 0.03, name
            assert (smpl[name][0] > 0) == (side == "left")
    trunk = [j19[n][1] for n in ("pelvis_mpii", "spine_h36m", "thorax_mpii", "neck_lsp", "jaw_h36m", "head_h36m")]
    assert trunk == sorted(trunk)
    assert abs(j19["head_top_lsp"][1] - BODY.v_template[:, 1].max()) < 0.02
    assert marks["nose"][2] > marks["left_eye"][2] > marks["left_ear"][2]
    assert marks["nose"][0] == pytest.approx(0, abs=1e-6)
    assert marks["left_big_toe"][2] > marks["left_small_toe"][2] > smpl["left_ankle"][2] > marks["left_heel"][2]
    for side, sign in (("left", 1), ("right", -1)):
        tips = [marks[f"{side}_{finger}_tip"] for finger in ("thumb", "index", "middle", "ring", "little")]
        assert all(sign * tip[0] > sign * smpl[f"{side}_wrist"][0] + 0.08 for tip in tips)
        forward_order = [tip[2] for tip in tips]  # palms down, thumbs forward
        assert forward_order == sorted(forward_order, reverse=True)
        assert np.ptp([tip[1] for tip in tips[1:]]) < 0.02  # fingers lie side by side, no claw


def test_heights_stay_human():
    single = [height(np.eye(10)[k] * sign * 3) for k in range(10) for sign in (-1, 1)]
    rng = np.random.default_rng(0)
    drawn = [height(np.clip(rng.standard_normal(10), -3, 3)) for _ in range(500)]
    corners = [height(rng.choice([-3.0, 3.0], 10)) for _ in range(200)]
    for heights in (single, drawn, corners):
        assert min(heights) > 1.45
        assert max(heights) < 2.05
    assert single[1] - single[0] > 0.4  # beta 0 is stature, the others leave it alone
    assert np.ptp(single[2:]) < 0.02


def test_random_poses_keep_the_volume():
    rng = np.random.default_rng(0)
    rest = volume(BODY.v_template)
    ratios = []
    for _ in range(40):
        rotations = rotations_from(rng.normal(0, 0.4, (25, 24, 3)))
        ratios.append(volume(forward(np.zeros(10, np.float32), rotations)[0]) / rest)
    ratios = np.concatenate(ratios)
    assert len(ratios) == 1000
    assert ratios.min() > 0.8
    assert ratios.max() < 1.2


def test_mirrored_pose_gives_the_mirrored_body():
    pose = np.random.default_rng(0).normal(0, 0.4, (24, 3))
    mirrored = pose[joints.SMPL_24_FLIP] * [1, -1, -1]
    betas = np.linspace(-1, 1, 10).astype(np.float32)
    vertices, _ = forward(betas, rotations_from(np.stack([pose, mirrored])))
    np.testing.assert_allclose(vertices[1], vertices[0][MIRROR] * MIRROR_X, atol=1e-3)


def test_joint_sets_are_linear_in_joints_and_few_vertices():
    pose = np.random.default_rng(1).normal(0, 0.3, (1, 24, 3))
    vertices, places = (array[0] for array in forward(np.zeros(10, np.float32), rotations_from(pose)))
    openpose = np.concatenate([places, vertices[BODY.landmarks]])[list(joints.OPENPOSE_25_FROM_45)]
    h36m = BODY.regressors["h36m"] @ vertices
    expected = {
        "keypoints_44": np.concatenate([openpose, BODY.regressors["j19"] @ vertices]),
        "j19": BODY.regressors["j19"] @ vertices,
        "h36m_17": h36m,
        "j14": h36m[list(joints.J14_FROM_H36M)],
        "smpl_24": places,
        "smpl_45": np.concatenate([places, vertices[BODY.landmarks]]),
    }
    assert expected.keys() == set(JOINT_SETS)
    for name, points in expected.items():
        matrix, ids = joint_set_matrix(BODY, name)
        np.testing.assert_allclose(matrix @ np.concatenate([places, vertices[ids]]), points, atol=1e-5)
    ids = keypoint_vertices(BODY)
    assert set(BODY.landmarks[:11]) <= set(ids.tolist())
    assert keypoint_matrix(BODY).shape == (44, 24 + len(ids))
    assert len(ids) < 300
    with pytest.raises(ValueError, match="choose one of"):
        joint_set_matrix(BODY, "coco")


def test_loads_fast_and_once():
    seconds = []
    for _ in range(3):
        load_default_body.cache_clear()
        start = time.perf_counter()
        first = load_body_model()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.15  # 13 ms on an idle core
    assert load_body_model("default") is first
