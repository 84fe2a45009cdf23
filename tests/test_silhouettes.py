"""Bodies that are fitted to masks: the skin stays inside, and the outline is reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from labelled_people import labelled_people

from hmr_jax.body import load_body_model, skin
from hmr_jax.body.fitting import KeypointFitter, Pose, in_image, in_mask
from hmr_jax.body.fitting.points import Linearised, keypoint_points, linearise
from hmr_jax.body.fitting.pose import move
from hmr_jax.body.fitting.silhouettes import nearest_across, surface_points
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.rendering.rasterize import rasterize

pytestmark = pytest.mark.slow

COUNT, SIZE = 8, 256
BOX = np.array([0.0, 0, SIZE, SIZE])
BODY = load_body_model("default")
POINTS, SKIN = keypoint_points(BODY, "keypoints_44"), surface_points(BODY)


class People:
    """The truth, and its masks."""

    def __init__(self):
        made = labelled_people(COUNT, seed=5)
        rotations = np.asarray(axis_angle_to_matrix(jnp.asarray(made["pose"])))
        self.pose = Pose(made["betas"], rotations, made["translation"])
        self.focal, self.center = made["intrinsics"][:, [0, 1], [0, 1]], made["intrinsics"][:, :2, 2]
        self.keypoints = made["keypoints_2d"][..., :2]
        self.vertices = vertices_of(self.pose)
        self.masks = self.masks_of(self.vertices)

    def masks_of(self, vertices: np.ndarray) -> np.ndarray:
        pixels = vertices[..., :2] / vertices[..., 2:] * self.focal[:, None] + self.center[:, None]
        corners = np.concatenate([pixels, vertices[..., 2:]], -1)
        return np.stack([rasterize(each, BODY.faces, SIZE, SIZE).face_index >= 0 for each in corners])

    def seen(self, sigma: float):
        return in_image(self.keypoints, np.full((COUNT, 44), sigma), self.focal, self.center)

    def mask(self, sigma: float = 2.0, masks: np.ndarray | None = None, **options):
        masks = self.masks if masks is None else masks
        return in_mask(masks, BOX, sigma, self.focal, self.center, **options)


@pytest.fixture(scope="module")
def people():
    return People()


@pytest.fixture(scope="module")
def fitter():
    return KeypointFitter(BODY, batches=(COUNT,))


def vertices_of(pose) -> np.ndarray:
    return np.asarray(jax.jit(skin)(BODY, *pose[:3]).vertices)


def look(pose: Pose) -> Linearised:
    return linearise(POINTS, BODY.parents, pose)._replace(surface=linearise(SKIN, BODY.parents, pose))


@jax.jit
def equations(term, pose: Pose):
    return term(look(pose))


@jax.jit
def slopes(term, pose: Pose):
    """Half of the cost's derivatives: as stated, and by differentiation of the cost."""

    def cost(step):
        return term(look(move(pose, step))).cost.sum()

    return term(look(pose)).gradient, jax.grad(cost)(jnp.zeros((len(pose.betas), 85))) / 2


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first & second).sum((1, 2)) / (first | second).sum((1, 2))


def moved(pose: Pose, by) -> Pose:
    return pose._replace(translation=(pose.translation + np.asarray(by)).astype(np.float32))


def disc(radius: float, center: tuple[float, float], size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5
    return ((x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2)[None]


# ---- outlines


def test_outlines_and_distances_of_a_disc_are_exact_to_a_cell():
    term = in_mask(disc(20, (30.3, 33.6)), np.array([100.0, 50, 228, 178]), 1.0, np.full(2, 500.0), np.zeros(2))
    middle = 2 * (np.array([30.3, 33.6]) - 0.5)  # px from the centre of the first cell
    away = term.outline[0] - middle
    radius = np.linalg.norm(away, axis=-1)
    np.testing.assert_allclose(radius, 40, atol=1.5)
    assert abs(radius.mean() - 40) < 0.3
    assert (term.normals[0] * away / radius[:, None]).sum(-1).min() > 0.96  # steps of cells
    y, x = 2 * np.mgrid[:64, :64]
    off = term.distance[0] - (np.hypot(x - middle[0], y - middle[1]) - 40)
    assert np.abs(off)[np.hypot(x - middle[0], y - middle[1]) > 10].max() < 2  # but at the cusp in the middle
    angles = np.arctan2(*away.T)
    assert np.histogram(angles, 8, (-np.pi, np.pi))[0].min() > 10


def test_the_border_of_a_mask_is_no_outline():
    mask = np.zeros((1, 64, 64), bool)
    mask[:, 20:, 10:30] = True  # goes on below
    term = in_mask(mask, np.array([0.0, 0, 64, 64]), 1.0, np.full(2, 500.0), np.zeros(2))
    assert (term.outline[0, :, 1] > 61).mean() < 0.06  # the ends of two sides
    assert (term.normals[0] @ [0, 1]).max() < 0.8
    whole = in_mask(np.ones((1, 64, 64), bool), np.array([0.0, 0, 64, 64]), 1.0, np.full(2, 500.0), np.zeros(2))
    assert not whole.weights.any()
    assert (whole.distance < 0).all()


def test_short_outlines_do_not_count_more_than_they_are_long():
    small = in_mask(disc(4, (30, 30)), np.array([0.0, 0, 64, 64]), 1.0, np.full(2, 500.0), np.zeros(2))
    large = in_mask(disc(29, (32, 32)), np.array([0.0, 0, 64, 64]), 1.0, np.full(2, 500.0), np.zeros(2))
    assert 10 < (small.weights**2).sum() < 30  # 25 px around
    assert 100 < (large.weights**2).sum() < 200  # 182 px around


def test_points_across_an_outline_are_preferred_to_points_along_it():
    outline, normals = np.zeros((1, 1, 2), np.float32), np.array([[[1.0, 0]]], np.float32)
    points = np.array([[[-2.0, 0], [-0.5, 3], [5, 0.2], [0, 9]]], np.float32)
    assert nearest_across(points, outline, normals)[0, 0] == 1


# ---- the term


def test_the_gradient_is_that_of_the_cost(people):
    pose, term = moved(people.pose, [0.06, -0.04, 0.2]), people.mask()
    for part in (term._replace(inside=0 * term.inside), term._replace(weights=0 * term.weights)):
        stated, true = slopes(part, pose)
        assert np.abs(true).max() > 1
        np.testing.assert_allclose(stated, true, atol=2e-3 * np.abs(true).max())


def test_the_true_body_costs_little_and_others_more(people):
    term = people.mask(1.0)
    here = equations(term, people.pose).cost
    assert here.max() < 0.6 * 200  # an outline of 200 points of sigma 1 px
    for by in ([0.05, 0, 0], [-0.05, 0, 0], [0, 0.05, 0], [0, -0.05, 0], [0, 0, 0.5], [0, 0, -0.5]):
        assert (equations(term, moved(people.pose, by)).cost > 1.5 * here).all()


def test_skin_outside_is_pulled_in_and_an_outline_that_is_not_reached_pulls_out(people):
    term = people.mask()
    thick, thin = (people.pose._replace(translation=people.pose.translation * by) for by in (0.9, 1.1))
    nothing = np.zeros_like(term.weights), np.zeros_like(term.inside)
    inside, covered = term._replace(weights=nothing[0]), term._replace(inside=nothing[1])
    assert (equations(inside, thick).cost > 5 * equations(inside, people.pose).cost).all()
    assert (equations(covered, thin).cost > 2 * equations(covered, people.pose).cost).all()
    # half of the derivative of the cost by the distance from the camera
    assert (equations(inside, thick).gradient[:, -1] < 0).all()
    assert (equations(covered, thin).gradient[:, -1] > 0).all()


def test_bodies_near_their_masks_move_into_them(people, fitter):
    near = moved(people.pose, [0.08, -0.05, 0.0])
    fit = fitter([people.seen(20.0), people.mask(1.0)], start=near)
    before, after = (overlap(people.masks_of(vertices_of(pose)), people.masks) for pose in (near, fit))
    assert np.median(before) < 0.8
    assert np.median(after) > 0.93


def test_masks_tell_how_wide_people_are(people, fitter):
    """The keypoints, all exact to 2 px, say little about it."""
    alone, both = (fitter([people.seen(2.0), *masks], start=people.pose) for masks in ([], [people.mask(1.0)]))
    off = [np.abs(fit.betas - people.pose.betas).mean(1) for fit in (alone, both)]
    assert np.median(off[1]) < 0.8 * np.median(off[0])


def test_masks_help_without_a_start_too(people, fitter):
    fit = fitter([people.seen(1.0), people.mask(2.0)])
    alone = fitter([people.seen(1.0)])
    shown = [overlap(people.masks_of(vertices_of(one)), people.masks) for one in (alone, fit)]
    assert np.median(shown[1]) > np.median(shown[0])
    assert np.median(shown[1]) > 0.93


def test_masks_do_not_mislead_bodies_that_start_far_from_them(people, fitter):
    turned = np.random.default_rng(0).normal(0, 0.2, (COUNT, 24, 3)).astype(np.float32)
    far = people.pose._replace(rotations=np.asarray(axis_angle_to_matrix(turned)) @ people.pose.rotations)
    fits = [fitter([people.seen(2.0), *masks], start=far, steps=8) for masks in ([], [people.mask()])]
    off = [np.linalg.norm(vertices_of(fit) - people.vertices, axis=-1).mean(1) for fit in fits]
    assert np.median(off[1]) < np.median(off[0])


def test_a_part_of_the_mask_that_is_not_the_person_is_left_alone(people, fitter):
    wrong = people.masks.copy()
    wrong[:, :40, :40] = True
    sound, spoiled = (
        fitter([people.seen(1.0), people.mask(1.0, masks)], start=people.pose) for masks in (people.masks, wrong)
    )
    off = [np.linalg.norm(vertices_of(fit) - people.vertices, axis=-1).mean(1) for fit in (sound, spoiled)]
    assert np.median(off[1]) < 1.5 * np.median(off[0]) + 0.01


def test_bodies_behind_the_camera_stay_finite(people, fitter):
    behind = people.pose._replace(translation=people.pose.translation * np.float32([1, 1, -1]))
    fit = fitter([people.seen(1.0), people.mask()], start=behind)
    assert all(np.isfinite(array).all() for array in fit)


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": np.ones((8, 8))}, r"Masks must be \(B, height, width\), not \(8, 8\)"),
        ({"masks": np.full((2, 8, 8), np.nan)}, "masks hold numbers that are not finite"),
        ({"masks": np.zeros((2, 8, 8))}, "Mask 0 is empty, and 2 of 2 are: leave these bodies out"),
        ({"box": np.array([0.0, 0, 0, 8])}, "box of masks must have its left edge left of the right one"),
        ({"sigma": 0.0}, "sigma of masks must be positive px"),
    ],
)
def test_masks_that_say_nothing_sensible_are_refused(changes, message):
    given = {"masks": np.ones((2, 8, 8)), "box": BOX, "sigma": 1.0, "focal_length": np.ones(2), "center": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        in_mask(**(given | changes))


def test_fitters_without_skin_refuse_masks(people):
    with pytest.raises(ValueError, match="Fit silhouettes by KeypointFitter"):
        people.mask()(linearise(POINTS, BODY.parents, people.pose))
