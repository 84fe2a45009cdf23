"""Keypoints that are known as heat maps, and the maps' reading between cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from labelled_people import labelled_people

from hmr_jax.body import load_body_model
from hmr_jax.body.fitting import KeypointFitter, Place, Pose, in_heat_maps, in_image
from hmr_jax.body.fitting.image_maps import read_maps
from hmr_jax.body.fitting.points import keypoint_points, linearise
from hmr_jax.body.fitting.pose import move
from hmr_jax.geometry import axis_angle_to_matrix

COUNT = 8
SIZE, CELL = 64, 4  # cells of a map, px of a cell: images of 256 px
BOX = np.array([0.0, 0, 256, 256])
BODY = load_body_model("default")
POINTS = keypoint_points(BODY, "keypoints_44")


@pytest.fixture(scope="module")
def people():
    made = labelled_people(COUNT, seed=5)
    return {name: np.asarray(array, np.float64) for name, array in made.items() if array.dtype == np.float32}


@pytest.fixture(scope="module")
def fitter():
    return KeypointFitter(BODY, batches=(COUNT,))


def truth(people) -> Pose:
    rotations = axis_angle_to_matrix(jnp.asarray(people["pose"], jnp.float32))
    return Pose(*(np.asarray(array, np.float32) for array in (people["betas"], rotations, people["translation"])))


def camera(people) -> tuple[np.ndarray, np.ndarray]:
    return people["intrinsics"][:, [0, 1], [0, 1]], people["intrinsics"][:, :2, 2]


def bells(centers, sigma, size=SIZE) -> np.ndarray:
    """(..., size, size) maps over `BOX` with a peak of 1 at centers (..., 2) and sigma, both px."""
    cells = (np.arange(size) + 0.5) * 256 / size
    x, y = (np.exp(-(((cells - centers[..., axis, None]) / sigma) ** 2) / 2) for axis in (0, 1))
    return y[..., :, None] * x[..., None, :]


def pixels_of(points, people) -> np.ndarray:
    focal, center = camera(people)
    return points[..., :2] / points[..., 2:] * focal[:, None] + center[:, None]


def equations(term, pose: Pose):
    return jax.jit(lambda term, pose: term(linearise(POINTS, BODY.parents, pose)))(term, pose)


def shifted(pose: Pose, by) -> Pose:
    return pose._replace(translation=(pose.translation + np.asarray(by)).astype(np.float32))


# ---- reading


def test_slopes_and_curvatures_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 3, 9, 12)).astype(np.float32)
    points = rng.integers([-3, -3], [15, 12], (2, 3, 50, 2)) + rng.uniform(0.05, 0.95, (2, 3, 50, 2))
    points = points.astype(np.float32)  # not at cells, where the curvature has kinks
    read = jax.jit(read_maps)
    found = read(maps, points)
    step = 2e-2
    for axis in (0, 1):
        away = step * np.eye(2, dtype=np.float32)[axis]
        ahead, back = read(maps, points + away), read(maps, points - away)
        slope = (ahead.value - back.value) / (2 * step)
        np.testing.assert_allclose(found.slope[..., axis], slope, atol=2e-3)
        curvature = (ahead.slope - back.slope) / (2 * step)
        np.testing.assert_allclose(found.curvature[..., axis], curvature, atol=5e-2)


def test_quadratics_keep_their_slope_and_curvature_between_cells():
    y, x = np.mgrid[:9, :12].astype(np.float32)
    maps = (0.5 * (x - 5.3) ** 2 + 0.2 * (x - 5.3) * (y - 4.1) + 0.3 * (y - 4.1) ** 2)[None, None]
    points = np.random.default_rng(0).uniform(2, 6, (1, 1, 40, 2)).astype(np.float32)
    found = read_maps(maps, points)
    matrix = np.array([[1, 0.2], [0.2, 0.6]])
    np.testing.assert_allclose(found.slope, (points - [5.3, 4.1]) @ matrix, atol=1e-4)
    np.testing.assert_allclose(found.curvature, np.broadcast_to(matrix, (1, 1, 40, 2, 2)), atol=1e-4)


# ---- the term


def test_the_gradient_is_that_of_the_cost(people):
    rng = np.random.default_rng(1)
    focal, center = camera(people)
    term = in_heat_maps(rng.uniform(0, 1, (COUNT, 44, 16, 16)), BOX, focal, center, rng.uniform(0, 2, (COUNT, 44)))
    pose = shifted(truth(people), [0.05, -0.03, 0.1])

    @jax.jit
    def both(pose):
        def cost(step):
            return term(linearise(POINTS, BODY.parents, move(pose, step))).cost.sum()

        here = term(linearise(POINTS, BODY.parents, pose))
        return here.gradient, jax.grad(cost)(jnp.zeros((COUNT, 85))) / 2

    stated, true = both(pose)
    assert np.abs(true).max() > 1
    np.testing.assert_allclose(stated, true, atol=1e-3 * np.abs(true).max())


def test_a_peak_is_a_keypoint_of_its_place_and_spread(people):
    """Between cells, too, and with a spread of little more than a cell."""
    focal, center = camera(people)
    pose = truth(people)
    keypoints = people["keypoints_2d"][..., :2]
    mean = keypoints + np.random.default_rng(2).normal(0, 3, keypoints.shape)
    sigma = 1.5 * CELL
    inside = ((mean > 20) & (mean < 236)).all(-1) * 1.0
    maps = equations(in_heat_maps(bells(mean, sigma), BOX, focal, center, inside, floor=1e-6), pose)
    exact = in_image(mean, np.where(inside, sigma, np.inf), focal, center, robust=1e6)
    point = equations(exact, pose)
    for mine, its in zip(maps[:2], point[:2], strict=True):
        np.testing.assert_allclose(mine, its, atol=5e-3 * np.abs(its).max())
    offset = (maps.cost - point.cost) / inside.sum(1)
    assert (offset > 0).all()
    assert (offset < 1 / 1.5**2).all()


@pytest.mark.parametrize("away", [1.0, 2.0, 3.0, 4.0])
def test_steps_stay_bounded_where_a_map_levels_off(people, away):
    """As of one residual, gradient^2 <= cost x Hessian: so far from the peak the energy itself is concave."""
    focal, center = camera(people)
    only = np.zeros((COUNT, 44))
    only[:, 8] = 1
    mean = people["keypoints_2d"][..., :2] + [8 * away, 0]
    size = np.array([-256.0, -256, 512, 512])
    cells = -256 + (np.arange(96) + 0.5) * 8
    x, y = (np.exp(-(((cells - mean[..., axis, None]) / 8) ** 2) / 2) for axis in (0, 1))
    found = equations(in_heat_maps(y[..., :, None] * x[..., None, :], size, focal, center, only), truth(people))
    along = -3  # the translation's x
    assert (np.abs(found.gradient[:, along]) > 1e-3).all()
    assert (found.gradient[:, along] ** 2 <= 1.01 * found.cost * found.hessian[:, along, along]).all()


def test_outside_of_its_map_a_keypoint_is_free(people):
    focal, center = camera(people)
    term = in_heat_maps(bells(people["keypoints_2d"][..., :2], 8.0), BOX, focal, center)
    near = [equations(term, shifted(truth(people), by)) for by in ([5, 0, 0], [0, 7, 0])]
    for found in near:
        assert not np.any(found.gradient)
        assert not np.any(found.hessian)
    np.testing.assert_array_equal(near[0].cost, near[1].cost)
    assert (near[0].cost > equations(term, truth(people)).cost + 100).all()


def test_maps_without_mass_are_ignored(people):
    focal, center = camera(people)
    maps = bells(people["keypoints_2d"][..., :2], 8.0)
    maps[:, :40] = 0
    maps[:, 40] = -1
    some = in_heat_maps(maps, BOX, focal, center)
    weights = np.ones((COUNT, 44))
    weights[:, :41] = 0
    none = in_heat_maps(bells(people["keypoints_2d"][..., :2], 8.0), BOX, focal, center, weights)
    pose = shifted(truth(people), [0.03, 0, 0])
    for mine, its in zip(equations(some, pose), equations(none, pose), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-4 * np.abs(its).max())
    assert not equations(in_heat_maps(0 * maps, BOX, focal, center), pose).cost.any()


def test_of_two_peaks_the_one_that_fits_the_other_keypoints_wins(people, fitter):
    """A wrist's lower peak is the right one; its highest is where the other wrist is."""
    focal, center = camera(people)
    keypoints = people["keypoints_2d"][..., :2]
    sigma = np.full((COUNT, 44), 1.0)
    wrist, other = 4, 7
    sigma[:, [wrist, 31]] = np.inf  # the wrist of J19
    maps = np.zeros((COUNT, 44, SIZE, SIZE))
    maps[:, wrist] = 0.8 * bells(keypoints[:, wrist], 6.0) + bells(keypoints[:, other], 6.0)
    twice = in_heat_maps(maps, BOX, focal, center)
    known = fitter([in_image(keypoints, sigma, focal, center), twice], start=truth(people))
    off = np.linalg.norm(pixels_of(known.keypoints, people) - keypoints, axis=-1)[:, wrist]
    apart = np.linalg.norm(keypoints[:, wrist] - keypoints[:, other], axis=-1)
    clear = apart > 30
    assert clear.sum() >= 4
    assert off[clear].max() < 4


def test_blurred_maps_give_keypoints_finer_than_their_cells(people, fitter):
    focal, center = camera(people)
    keypoints = people["keypoints_2d"][..., :2]
    start = in_image(keypoints, np.full((COUNT, 44), 40.0), focal, center)
    maps = in_heat_maps(bells(keypoints, 6.0), BOX, focal, center, weights=30.0)
    fit = fitter([start, maps])
    off = np.linalg.norm(pixels_of(fit.keypoints, people) - keypoints, axis=-1)
    inside = ((keypoints > 0) & (keypoints < 256)).all(-1)
    assert np.median(off[inside]) < 0.2 * CELL


def test_a_body_far_from_all_peaks_is_still_moved_by_other_terms(people, fitter):
    focal, center = camera(people)
    maps = in_heat_maps(bells(people["keypoints_2d"][..., :2], 6.0), BOX, focal, center)
    place = Place(truth(people).translation, np.full((COUNT, 3), 0.1, np.float32))
    fit = fitter([maps, place], start=shifted(truth(people), [3.0, 0, 0]))
    off = np.linalg.norm(pixels_of(fit.keypoints, people) - people["keypoints_2d"][..., :2], axis=-1)
    assert np.median(off) < 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": np.zeros((2, 8, 8))}, r"Heat maps must be \(B, K, height, width\), not \(2, 8, 8\)"),
        ({"maps": np.full((2, 44, 8, 8), np.nan)}, "heat maps hold numbers that are not finite"),
        ({"box": np.zeros(3)}, r"The box of heat maps must be \(4,\) or \(2, 4\)"),
        ({"box": np.array([10.0, 0, 5, 8])}, "must have its left edge left of the right one"),
        ({"floor": 0.0}, "floor of heat maps must be a share of the peak between 0 and 1, not 0.0"),
    ],
)
def test_maps_that_say_nothing_sensible_are_refused(changes, message):
    given = {"maps": np.ones((2, 44, 8, 8)), "box": BOX, "focal_length": np.full(2, 500.0), "center": np.full(2, 128.0)}
    with pytest.raises(ValueError, match=message):
        in_heat_maps(**(given | changes))


def test_maps_of_other_keypoints_are_refused(fitter):
    maps = in_heat_maps(np.ones((COUNT, 17, 8, 8)), BOX, np.full(2, 500.0), np.full(2, 128.0))
    with pytest.raises(ValueError, match="HeatMaps has 17 keypoints, but the set has 44"):
        fitter([maps])
