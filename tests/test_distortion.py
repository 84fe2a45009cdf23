"""Lens models, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmr_jax.geometry.distortion import (
    FARTHEST,
    Lens,
    distort,
    distortion_jacobian,
    invert,
    make_lens,
    monotonic_radius,
    undistort,
)

POINTS = np.array([[0.15, 0.477], [0.331, -0.33], [-0.24, 0.448], [-0.594, 0.385]])
RATIONAL = [0.3, -0.1, 1e-3, -2e-3, 0.02, 0.55, 0.08, -0.03]
# By cv2.projectPoints and cv2.fisheye.projectPoints of OpenCV 5.0.0.
GOLDEN = {
    "four": ([-0.21, 0.09, 1e-3, -2e-3], [
        [0.142521074261, 0.455057229591], [0.316142883852, -0.315404910393],
        [-0.229384699059, 0.427478740643], [-0.547790278101, 0.354900791806]]),
    "five": ([-0.21, 0.09, 1e-3, -2e-3, -0.015], [
        [0.142485905776, 0.454945393806], [0.316091118281, -0.315353301214],
        [-0.229322655615, 0.427362926214], [-0.546669422913, 0.354174311592]]),
    "rational": (RATIONAL, [
        [0.139967850441, 0.446937977843], [0.311441192157, -0.310717423205],
        [-0.225115883205, 0.419510284382], [-0.521388730619, 0.337788677697]]),
    "thin prism": ([*RATIONAL, 3e-3, -1e-3, -2e-3, 5e-4], [
        [0.140655422941, 0.446469177094], [0.312048849948, -0.311130482601],
        [-0.224407692161, 0.419027036861], [-0.520136609745, 0.33691208676]]),
    "fisheye": ([0.08, -0.03, 0.012, -0.004], [
        [0.141308000367, 0.449359441168], [0.314054201062, -0.313105396829],
        [-0.22567410812, 0.421258335158], [-0.53065469042, 0.343942854902]]),
}  # fmt: skip
models = pytest.mark.parametrize("name", GOLDEN)


def model(name: str) -> tuple[np.ndarray, bool]:
    return np.array(GOLDEN[name][0]), name == "fisheye"


@models
def test_points_are_where_opencv_has_them(name):
    np.testing.assert_allclose(distort(POINTS, *model(name)), GOLDEN[name][1], atol=1e-11)
    in_float32 = distort(jnp.asarray(POINTS, jnp.float32), jnp.asarray(GOLDEN[name][0]), name == "fisheye")
    np.testing.assert_allclose(in_float32, GOLDEN[name][1], atol=2e-7)


@models
def test_opencv_agrees_on_other_points_in_both_directions(name):
    cv2 = pytest.importorskip("cv2")
    coefficients, fisheye = model(name)
    points = np.random.default_rng(3).uniform(-0.7, 0.7, (500, 2))
    inside = np.column_stack([points, np.ones(500)]).reshape(-1, 1, 3)
    project, none = (cv2.fisheye.projectPoints if fisheye else cv2.projectPoints), np.zeros(3)
    theirs = project(inside, none, none, np.eye(3), coefficients)[0].reshape(-1, 2)
    np.testing.assert_allclose(distort(points, coefficients, fisheye), theirs, atol=1e-12)
    until = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 500, 1e-13)
    if fisheye:
        back = cv2.fisheye.undistortPoints(theirs[:, None], np.eye(3), coefficients, criteria=until)
    else:
        back = cv2.undistortPoints(theirs[:, None], np.eye(3), coefficients, criteria=until)
    ours = undistort(theirs, coefficients, fisheye)
    np.testing.assert_allclose(ours, points, atol=1e-12)
    np.testing.assert_allclose(ours, back.reshape(-1, 2), atol=1e-6)


@models
def test_undistorted_points_are_the_ideal_ones(name):
    coefficients, fisheye = model(name)
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (300, 2))
    shown = distort(points, coefficients, fisheye)
    assert np.abs(shown - points).max() > 0.04
    np.testing.assert_allclose(undistort(shown, coefficients, fisheye), points, atol=1e-12)
    arrays = jnp.asarray(shown, jnp.float32), jnp.asarray(coefficients, jnp.float32)
    ways = [invert, jax.jit(invert, static_argnums=2)] if name == "four" else [invert]  # all steps are compiled: slow
    for way in ways:
        ideal, inside = way(*arrays, fisheye)
        assert inside.all()
        np.testing.assert_allclose(ideal, points, atol=1e-5)


@models
def test_the_jacobian_is_that_of_finite_differences_and_of_jax(name):
    coefficients, fisheye = model(name)
    points = np.concatenate([POINTS, [[0.0, 0.0], [1e-6, 0.0]]])
    step = 1e-6
    numeric = np.stack([
        (distort(points + by, coefficients, fisheye) - distort(points - by, coefficients, fisheye)) / (2 * step)
        for by in step * np.eye(2)
    ], -1)  # fmt: skip
    np.testing.assert_allclose(distortion_jacobian(points, coefficients, fisheye), numeric, atol=1e-8)
    one = jax.vmap(jax.jacfwd(lambda point: distort(point[None], jnp.asarray(coefficients), fisheye)[0]))
    np.testing.assert_allclose(one(jnp.asarray(points)), numeric, atol=2e-6)


@models
def test_gradients_by_points_and_coefficients_are_finite_also_on_the_axis(name):
    coefficients, fisheye = model(name)

    def total(points, coefficients):
        return (distort(points, coefficients, fisheye) ** 2).sum()

    points = jnp.asarray(np.concatenate([POINTS, [[0.0, 0.0]]]))
    for gradient in jax.grad(total, (0, 1))(points, jnp.asarray(coefficients)):
        assert jnp.isfinite(gradient).all()
        assert jnp.abs(gradient).max() > 0


def test_each_camera_may_have_its_own_lens():
    lenses = np.array([GOLDEN["five"][0], [0.1, 0, 0, 0, 0.02], [0, 0, 0, 0, 0]])
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 20, 2))
    shown = distort(points, lenses)
    for own, lens, seen in zip(points, lenses, shown, strict=True):
        np.testing.assert_allclose(distort(own, lens), seen, atol=1e-15)
    ideal, inside = invert(shown, lenses)
    assert inside.all()
    np.testing.assert_allclose(ideal, points, atol=1e-12)
    assert monotonic_radius(lenses).shape == (3,)


def test_the_border_of_the_monotonic_range_is_found():
    """Of k1 alone: r + k1 r^3 rises up to r = sqrt(-1 / (3 k1))."""
    for k1 in (-0.05, -0.3, -1.2):
        border = np.sqrt(-1 / (3 * k1))
        assert monotonic_radius(np.array([k1, 0, 0, 0])) == pytest.approx(border, abs=0.006)
    assert monotonic_radius(np.array([0.2, 0, 0, 0])) == FARTHEST
    assert monotonic_radius(np.zeros(4), True) == FARTHEST
    pole = np.array([0.0, 0, 0, 0, 0, -0.25, 0, 0])  # 1 / (1 - r^2 / 4) has one at 2
    assert monotonic_radius(pole) == pytest.approx(2.0, abs=0.01)


def test_points_that_the_lens_shows_nowhere_are_refused_or_marked():
    lens = np.array([-0.3, 0.0, 0.0, 0.0])
    border = np.sqrt(1 / 0.9)
    farthest = border * 2 / 3  # what the border is shown at
    near, beyond = [0.98 * farthest, 0.0], [0.0, 1.02 * farthest]
    ideal, inside = invert(np.array([near, beyond, [np.nan, 0.1]]), lens)
    assert inside.tolist() == [True, False, False]
    assert np.isfinite(ideal).all()
    assert ideal[0, 0] < border
    np.testing.assert_allclose(distort(ideal[:1], lens), [near], atol=1e-12)
    with pytest.raises(ValueError, match=r"no inverse at \(0, 0.717\).* 1 of 2 points.* fewer coefficients"):
        undistort(np.array([near, beyond]), lens)


def test_points_that_fold_back_into_the_image_are_not_taken_for_ideal_ones():
    """Two ideal points are shown at one place: the inner one is meant."""
    lens = np.array([-0.3, 0.0, 0.0, 0.0])
    outer = np.array([[1.5, 0.0]])  # shown at 0.4875, where an inner one is, too
    (ideal,) = undistort(distort(outer, lens), lens)
    assert ideal[0] < np.sqrt(1 / 0.9)
    np.testing.assert_allclose(distort(ideal[None], lens), distort(outer, lens), atol=1e-12)


@pytest.mark.parametrize(
    ("coefficients", "fisheye", "message"),
    [
        ([0.1, 0.2], False, "has 2 coefficients: give 4, 5, 8"),
        ([0.1] * 5, True, "has 5 coefficients: give 4 of the fisheye"),
        ([0.1, np.nan, 0, 0], False, "finite numbers"),
        ("abc", False, "finite numbers"),
        ([[1, 2], [3, 4]], False, "finite numbers"),
        (None, False, "finite numbers"),
        ([0.1] * 13 + [0.2], False, "tilted sensor"),
    ],
)
def test_what_is_no_lens_is_refused(coefficients, fisheye, message):
    with pytest.raises(ValueError, match=message):
        make_lens(coefficients, fisheye)


def test_lenses_are_made_of_opencvs_shapes():
    assert make_lens([0, 0, 0, 0, 0]) is None
    assert make_lens([0, 0, 0, 0], True) == Lens(pytest.approx(np.zeros(4)), True)  # no pinhole
    assert make_lens([[-0.1, 0.02, 0, 0, 0]]).coefficients.shape == (5,)
    assert make_lens(np.full((14, 1), 0.1) * (np.arange(14) < 12)[:, None]).coefficients.shape == (12,)
