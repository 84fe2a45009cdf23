"""Bodies of one person over time, fitted together: what is known of each frame, and how people move.

    pose = TrackFitter(load_body_model())([in_image(...), Shape(...)], times, start)

Each frame is bound to the next two alone, so frames are eliminated one after the other, in double precision. Long
tracks are fitted in windows. Each begins with frames of the window before, which stay where they are, and ends with
frames that the next window fits again.

Shapes: T frames of the track, F frames of a window, K keypoints, J joints, S betas, P parameters of a step, see `pose`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body.fitting.over_time import Coupling, OverTime, accelerations, couple, speeds
from hmr_jax.body.fitting.points import Linearised, Points, keypoint_points, linearise
from hmr_jax.body.fitting.pose import Pose, move
from hmr_jax.body.fitting.solver import Equations, solve_positive
from hmr_jax.body.fitting.terms import total
from hmr_jax.body.model import BodyModel

WINDOW = 64
"""Frames that are fitted together."""
AHEAD = 16
"""Frames at the end of a window that the next one fits again."""
BOUND = 2
"""Frames of the window before that a window begins with: they say where the person is, and how fast."""
ACCELERATION = 20.0
"""Metres per second^2: one standard deviation of keypoints of people who move."""
STEPS = 10
_LEAST = 1e-4  # of the diagonals, so that there is a solution where nothing is known
_LEAST_DAMPING = 1e-3
_ENOUGH = 1e-3  # a window is done when a step gains less than this share of its cost


class TrackFitter:
    """Fits tracks of one body model to one set of keypoints."""

    def __init__(self, model: BodyModel, joint_set: str = "keypoints_44", window: int = WINDOW, ahead: int = AHEAD):
        """Prepares the keypoints.

        Args:
            model: the body.
            joint_set: what the keypoints are, one of `regressors.JOINT_SETS`.
            window: frames that are fitted together.
            ahead: frames at the end of a window that the next one fits again.

        Raises:
            ValueError: the body lacks what the joint set needs.
        """
        self._points, self._parents = keypoint_points(model, joint_set), model.parents
        self._window, self._ahead = window, ahead

    def __call__(
        self,
        terms: Sequence[Any],
        times: np.ndarray,
        start: Pose,
        still: np.ndarray | None = None,
        acceleration: float = ACCELERATION,
        steps: int = STEPS,
    ) -> Pose:
        """The most likely bodies.

        Args:
            terms: `fitting.terms` of T bodies: every array has their axis first.
            times: (T,) seconds, ascending.
            start: of T bodies.
            still: (T, K) seconds per metre, 1 over the standard deviation of a keypoint's speed until the next frame,
                for keypoints that stand; 0 for others. None: nothing stands.
            acceleration: one standard deviation of the keypoints', metres per second^2.
            steps: of each window, at most.

        Returns:
            T bodies, as NumPy arrays.

        Raises:
            ValueError: times do not ascend, or arrays are of another number of frames.
        """
        count, keypoints = len(times), len(self._points.matrix)  # type: ignore[arg-type]
        still = np.zeros((count, keypoints)) if still is None else np.asarray(still)
        if not (np.diff(times) > 0).all():
            raise ValueError("The times of a track must ascend.")
        lengths = {len(array) for array in jax.tree.leaves((list(terms), start, still))}
        if lengths != {count}:
            raise ValueError(f"There are {count} times, but arrays of {sorted(lengths - {count})} frames.")
        made = jax.tree.map(lambda array: np.array(array, np.float32), start)
        for rows, fixed in self._windows(count):
            over = accelerations(times[rows], np.full(keypoints, acceleration)), speeds(times[rows], still[rows])
            padded = np.pad(rows, (0, self._window - len(rows)), "edge")
            known, poses = jax.tree.map(lambda array, rows=padded: np.asarray(array)[rows], (tuple(terms), made))
            solved = self._fit(known, over, poses, fixed, steps)
            for target, array in zip(made, solved, strict=True):
                target[rows] = np.asarray(array)[: len(rows)]
        return made

    def _windows(self, count: int) -> Iterator[tuple[np.ndarray, int]]:
        """Numbers of the frames of windows, and how many of the first ones stay."""
        start, fixed = 0, 0
        while True:
            yield np.arange(start, min(start + self._window, count)), fixed
            if start + self._window >= count:
                return
            start, fixed = start + self._window - self._ahead - BOUND, BOUND

    def _fit(self, terms: tuple, over: Sequence[OverTime], pose: Pose, fixed: int, steps: int) -> Pose:
        """The poses of a window, of which the first `fixed` stay; those beyond the frames of `over` do not count."""
        frames = len(over[0].weights)
        equations, at = _frames(self._points, self._parents, terms, pose)
        system, damping = _System.of(equations, at, over, frames), 1e-2
        for _ in range(steps):
            moved = _move(pose, system.step(self._window, fixed, damping))
            equations, at = _frames(self._points, self._parents, terms, moved)
            tried = _System.of(equations, at, over, frames)
            gain = system.cost - tried.cost
            if gain > 0:
                pose, system, damping = moved, tried, max(damping * 0.1, _LEAST_DAMPING)
            else:
                damping = damping * 10
            if abs(gain) < _ENOUGH * system.cost:
                break
        return pose


class _System(NamedTuple):
    """The equations of the frames of a window: those of each frame alone, and those that bind them."""

    own: np.ndarray  # (F, P, P)
    bound: Coupling
    gradient: np.ndarray  # (F, P)
    cost: float

    @classmethod
    def of(cls, alone: Equations, at: Linearised, over: Sequence[OverTime], frames: int) -> "_System":
        hessian, gradient, cost = (np.asarray(array[:frames], np.float64) for array in alone)
        bound = couple(over, np.asarray(at.points[:frames]), np.asarray(at.jacobian[:frames]))
        return cls(hessian, bound, gradient + bound.gradient, cost.sum() + bound.cost)

    def step(self, window: int, fixed: int, damping: float) -> np.ndarray:
        """(window, P) float32, 0 for frames that stay or do not count.

        Damping is in proportion to what is known of each frame alone: in proportion to all, it would hold back what
        frames do together.
        """
        frames, count = self.gradient.shape
        eye = np.eye(count)
        held = (damping * np.diagonal(self.own, axis1=1, axis2=2) + _LEAST)[..., None] * eye
        blocks, right = np.zeros((3, window, count, count)), np.zeros((window, count))
        blocks[0] = eye
        blocks[:, fixed:frames] = np.stack([self.own + held + self.bound.same, *self.bound[1:3]])[:, fixed:]
        right[fixed:frames] = self.gradient[fixed:]
        return -solve_blocks(blocks[0], blocks[1], blocks[2], right).astype(np.float32)


def solve_blocks(same: np.ndarray, one: np.ndarray, two: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x of a positive definite matrix of blocks, of which each is bound to the next two alone.

    Args:
        same: (F, P, P) blocks on the diagonal.
        one: (F, P, P) blocks right of these; 0 for the last one.
        two: (F, P, P) blocks right of those; 0 for the last two.
        right: (F, P) the right side.

    Returns:
        (F, P).
    """
    with jax.enable_x64(True):  # of this thread and until here alone
        return np.asarray(_solve_blocks(same, one, two, right[..., None]))[..., 0]


@jax.jit
def _solve_blocks(same: jax.Array, one: jax.Array, two: jax.Array, right: jax.Array) -> jax.Array:
    """(F, P, 1). Frames are eliminated one after the other: each is y - a x of the next - b x of the one after."""
    count = right.shape[1]

    def eliminate(before: tuple, block: tuple) -> tuple[tuple, tuple]:
        (to_this, to_next, a, b, y), (to_this_2, b_2, y_2) = before  # of the last frame, and of the one before that
        own, one, two, side = block
        own = own - to_this.T @ a - to_this_2.T @ b_2
        own = (own + own.T) / 2  # else errors of rounding grow from frame to frame
        one = one - to_this.T @ b
        side = side - to_this.T @ y - to_this_2.T @ y_2
        found = solve_positive(own[None], jnp.concatenate([one, two, side], 1)[None])[0]
        solved = found[:, :count], found[:, count:-1], found[:, -1:]
        return ((one, two, *solved), (to_next, b, y)), solved

    def put_back(after: tuple, block: tuple) -> tuple[tuple, jax.Array]:
        a, b, y = block
        found = y - a @ after[0] - b @ after[1]
        return (found, after[0]), found

    none, zero = jnp.zeros_like(same[0]), jnp.zeros_like(right[0])
    start = (none, none, none, none, zero), (none, none, zero)
    _, solved = jax.lax.scan(eliminate, start, (same, one, two, right))
    return jax.lax.scan(put_back, (zero, zero), solved, reverse=True)[1]


@partial(jax.jit, static_argnames=("parents",))
def _frames(points: Points, parents: tuple[int, ...], terms: tuple, pose: Pose) -> tuple[Equations, Linearised]:
    """What is known of each frame alone."""
    at = linearise(points, parents, pose)
    return total(terms, at), at


_move = jax.jit(move)
