"""How near bodies fitted to synthetic people's keypoints come, and how fast: `python -m benchmarks.keypoint_fitting`.

Errors are mean distances of a person's vertices in the camera's axes, so the distance from the camera counts, too;
"placed" moves both bodies' pelvises to the origin first. Betas are off by their mean absolute difference.

Shapes: B people, K keypoints.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax import cli
from hmr_jax.body import BodyModel, load_body_model, skin
from hmr_jax.body.fitting import KeypointFit, KeypointFitter, NearRotations, Pose, Shape, in_image, in_mask, in_space
from hmr_jax.body.fitting.keypoints import STEPS
from hmr_jax.body.fitting.points import keypoint_points, linearise
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.geometry.cameras import project
from hmr_jax.rendering.rasterize import rasterize

_SIZE = 256
_SKINNED = 125
_OF_MASKS = 2.0  # px: one standard deviation of outlines


class People(NamedTuple):
    """The truth."""

    pose: Pose
    keypoints_2d: np.ndarray
    """(B, K, 2) px of images of 256 px."""
    keypoints_3d: np.ndarray
    """(B, K, 3) metres."""
    focal_length: np.ndarray
    """(B, 2) px."""
    center: np.ndarray
    """(B, 2) px."""


def synthetic_people(body: BodyModel, count: int) -> People:
    """Other people than those of training and of the prior."""
    source = SyntheticPeople(body, size=_SIZE, seed=20_261_201)
    made = source.batch(np.arange(count))
    source.close()
    matrices = made["intrinsics"]
    pose = Pose(made["betas"], np.asarray(axis_angle_to_matrix(jnp.asarray(made["pose"]))), made["translation"])
    focal = np.stack([matrices[:, 0, 0], matrices[:, 1, 1]], 1)
    return People(pose, made["keypoints_2d"][..., :2], made["keypoints_3d"][..., :3], focal, matrices[:, :2, 2])


def vertices_of(body: BodyModel, pose: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (B, V, 3) and pelvises (B, 1, 3), metres."""
    found = []
    for first in range(0, len(pose.betas), _SKINNED):
        rows = slice(first, first + _SKINNED)
        found.append(_skin(body, pose.betas[rows], pose.rotations[rows], pose.translation[rows]))
    vertices, joints = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return vertices, joints[:, :1]


_skin = jax.jit(skin)


def masks_of(body: BodyModel, people: People) -> np.ndarray:
    """(B, 256, 256) bool, 1 on the naked body."""
    vertices, _ = vertices_of(body, people.pose)
    nowhere = np.zeros((len(vertices), 3), np.float32)
    pixels = project(vertices, nowhere, people.focal_length, people.center)
    corners = np.concatenate([pixels, vertices[..., 2:]], -1)
    return np.stack([rasterize(each, body.faces, _SIZE, _SIZE).face_index >= 0 for each in corners])


def errors(body: BodyModel, found: Any, true: Any) -> tuple[np.ndarray, np.ndarray]:
    """(B,) mm each: in the camera's axes, and with the pelvises at the origin."""
    (mine, my_root), (its, its_root) = vertices_of(body, found), vertices_of(body, true)
    return tuple(
        1000 * np.linalg.norm(a - b, axis=-1).mean(1) for a, b in ((mine, its), (mine - my_root, its - its_root))
    )


def _line(name: str, body: BodyModel, people: People, fit: KeypointFit, seconds: float) -> None:
    whole, placed = errors(body, fit, people.pose)
    points = 1000 * np.linalg.norm(fit.keypoints - people.keypoints_3d, axis=-1).mean(1)
    quantiles = "  ".join(f"{np.median(e):>7.1f} {np.quantile(e, 0.9):>7.1f}" for e in (whole, placed, points))
    betas = np.median(np.abs(fit.betas - people.pose.betas).mean(1))
    print(f"{name:<34} {quantiles}  {betas:>6.3f}   {len(whole) / seconds:>6.1f}", flush=True)


def main(people: int = 1000, masks: bool = True) -> None:
    """Prints a line for each kind of keypoints: median and 90 % quantile of each error, betas, and people per second.

    Args:
        people: number of people.
        masks: whether to fit masks, too; they take most of the time.
    """
    body = load_body_model("default")
    true = synthetic_people(body, people)
    fitter, rng = KeypointFitter(body), np.random.default_rng(0)
    shape = true.keypoints_2d.shape[:2]

    def timed(terms: list, start: Pose | None = None, steps: int = STEPS) -> tuple[KeypointFit, float]:
        fitter(terms, start, steps=1)  # compiles
        began = time.perf_counter()
        fit = fitter(terms, start, steps)
        return fit, time.perf_counter() - began

    print(f"{'':<34} {'whole, mm':>15}  {'placed, mm':>15}  {'keypoints, mm':>15}   betas   people/s")
    exact = in_image(true.keypoints_2d, np.full(shape, 0.05), true.focal_length, true.center)
    _line("2-D, exact", body, true, *timed([exact]))
    box = np.array([0.0, 0, _SIZE, _SIZE])
    outlines = [in_mask(masks_of(body, true), box, _OF_MASKS, true.focal_length, true.center)] if masks else []
    if masks:
        _line("  and masks", body, true, *timed([exact, *outlines]))
    solid = in_space(true.keypoints_3d, np.full(shape, 0.0005))
    _line("3-D, exact", body, true, *timed([solid]))
    points = linearise(keypoint_points(body, "smpl_45"), body.parents, true.pose).points
    both = KeypointFitter(body, "smpl_45")
    more = both([in_space(np.asarray(points), np.full((people, 45), 0.0005))])
    _line("3-D, exact, with finger tips", body, true._replace(keypoints_3d=np.asarray(points)), more, np.inf)
    noisy = true.keypoints_2d + rng.normal(0, 2, true.keypoints_2d.shape)
    sigma = np.where(rng.random(shape) < 0.2, np.inf, 2.0)
    seen = in_image(noisy, sigma, true.focal_length, true.center)
    fit, seconds = timed([seen])
    _line("2-D, noise of 2 px, 20 % missing", body, true, fit, seconds)
    if masks:
        _line("  and masks", body, true, *timed([seen, *outlines]))
    known = fitter([seen], start=true.pose)
    _line("  the same, started at the truth", body, true, known, np.inf)
    off = np.sqrt(((fit.keypoints - true.keypoints_3d) ** 2).sum(-1).mean(1))
    bound = np.sqrt((fitter([seen], start=true.pose, steps=0).sigma ** 2).mean(1))
    print(f"  error of keypoints / Cramer-Rao bound: median of the ratios {np.median(off / bound):.2f}, "
          f"ratio of the medians {np.median(off) / np.median(bound):.2f}")  # fmt: skip
    start, near = network_like(true.pose, rng)
    fit, seconds = timed([seen, *near], start=start, steps=8)
    _line("a network's start", body, true, fitter([seen, *near], start, steps=0), np.inf)
    _line("  refined, 8 steps", body, true, fit, seconds)
    if masks:
        _line("  refined with masks, too", body, true, *timed([seen, *outlines, *near], start=start, steps=8))


def network_like(pose: Pose, rng: np.random.Generator) -> tuple[Pose, list]:
    """A start that is as far off as a network's prediction, and terms that say so."""
    angles, betas, place = 0.2, 0.7, np.array([0.02, 0.02, 0.3])
    vectors = rng.normal(0, angles, (*pose.rotations.shape[:2], 3))
    shift = np.asarray(axis_angle_to_matrix(jnp.asarray(vectors, jnp.float32)))
    start = Pose(
        (pose.betas + rng.normal(0, betas, pose.betas.shape)).astype(np.float32),
        shift @ pose.rotations,
        (pose.translation + rng.normal(0, place, pose.translation.shape)).astype(np.float32),
    )
    sigma = np.full(pose.rotations.shape[:2], angles, np.float32)
    return start, [NearRotations(start.rotations, sigma), Shape(start.betas, np.full_like(start.betas, betas))]


if __name__ == "__main__":
    cli.run(main, "python -m benchmarks.keypoint_fitting")
