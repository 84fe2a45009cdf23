"""Whole tracks moved onto the keypoints of their frames, by what each frame says and by how people move.

Shapes: F frames, K = 44 keypoints.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.body import BodyModel
from hmr_jax.body.fitting import Pose
from hmr_jax.body.fitting.tracks import ACCELERATION, TrackFitter
from hmr_jax.body.joints import KEYPOINTS_44
from hmr_jax.inference.refining import Evidence, Spread, around_pelvis, keypoint_error
from hmr_jax.video.footing import POINT_IDS, find_stances
from hmr_jax.video.motion import Motion, posed_again
from hmr_jax.video.posing import Posing
from hmr_jax.video.smoothing import HALF_WIDTH

# Chosen on the real capture of docs/benchmarks/real_people.md, roughly. The errors of landmarks differ from frame to
# frame more than those of the network, so they count more than in one image.
LANDMARKS = 0.5
"""Times their standard deviation in one image."""
SPREAD = Spread(own_keypoints=0.1, rotations=0.3, betas=0.01)
STANDING = 0.05
"""Metres per second: one standard deviation of the speed of heels and toes that stand."""
_FILLED = 3.0  # times the standard deviation of rotations, in frames that were interpolated
_UNKNOWN = 1e3  # metres
_MARGIN = 0.1  # of the box's longer side


class MotionRefiner:
    """Refines motions of one body model."""

    def __init__(self, body: BodyModel, posing: Posing):
        """Prepares the solver; `posing` is of the same body."""
        self._fitter, self._posing = TrackFitter(body), posing

    def __call__(self, predicted: Motion, smoothed: Motion, seconds: float = HALF_WIDTH, stand: bool = True) -> Motion:
        """The motion nearer to the keypoints that were seen; `smoothed` with `moved` 0 if it does not come nearer.

        Args:
            predicted: by the network frame by frame, without gaps, with `seen`.
            smoothed: the same smoothed, with one shape: the start.
            seconds: for which smoothing was asked; bodies of twice as many accelerate by a fourth.
            stand: whether feet stand that do in `smoothed`.

        Returns:
            With `moved`, and with keypoints in the image where the bodies have them.
        """
        evidence, prior = _evidence(predicted), _pose(predicted)._replace(betas=smoothed.betas.astype(np.float32))
        terms = evidence.terms(prior, SPREAD)
        free = np.where(predicted.predicted, 1.0, _FILLED)[:, None].astype(np.float32)
        terms[2] = terms[2]._replace(sigma=terms[2].sigma * free)
        if predicted.sigma is not None:
            sigma = np.where(predicted.predicted[:, None], predicted.sigma, _UNKNOWN)
            terms.append(around_pelvis(predicted.keypoints_3d, sigma))
        start = _pose(smoothed)
        still = _standing(smoothed) if stand else None
        fit = self._fitter(terms, predicted.times, start, still, ACCELERATION * (HALF_WIDTH / seconds) ** 2)
        vectors = (
            Rotation.from_matrix(fit.rotations.reshape(-1, 3, 3)).as_rotvec().reshape(-1, *fit.rotations.shape[1:3])
        )
        made = posed_again(
            replace(smoothed, rotations=vectors.astype(np.float32), translation=fit.translation), self._posing
        )
        errors = [
            keypoint_error(terms[0], motion.keypoints_3d + motion.translation[:, None]).sum()
            for motion in (made, smoothed)
        ]
        if not errors[0] < errors[1]:
            return replace(smoothed, moved=np.zeros(len(predicted.times), np.float32))
        before, after = (motion.joints - motion.joints[:, :1] for motion in (smoothed, made))
        return replace(made, moved=np.linalg.norm(after - before, axis=-1).mean(1).astype(np.float32))


def _evidence(motion: Motion) -> Evidence:
    """Of a motion with `seen`."""
    seen = np.array(motion.seen, np.float64)
    seen[~motion.predicted, :, 2] = np.inf
    low, high = motion.boxes[:, :2], motion.boxes[:, 2:]
    side = (high - low).max(1)
    margin = _MARGIN * side[:, None, None]
    pixels = motion.keypoints_image
    inside = ((pixels > low[:, None] - margin) & (pixels < high[:, None] + margin)).all(-1)
    count = len(pixels)
    return Evidence(
        keypoints=motion.camera.straightened(seen[..., :2]),
        sigma=LANDMARKS * seen[..., 2],
        own=motion.camera.straightened(pixels.astype(np.float64)),
        inside=inside & motion.predicted[:, None],
        side=(1 + 2 * _MARGIN) * side,
        focal_length=np.broadcast_to(motion.focal_length, (count, 2)),
        principal_point=np.broadcast_to(motion.principal_point, (count, 2)),
    )


def _pose(motion: Motion) -> Pose:
    matrices = Rotation.from_rotvec(motion.rotations.reshape(-1, 3)).as_matrix()
    return Pose(
        motion.betas.astype(np.float32),
        matrices.reshape(*motion.rotations.shape, 3).astype(np.float32),
        motion.translation.astype(np.float32),
    )


def _standing(motion: Motion) -> np.ndarray:
    """(F, K) seconds per metre: of heels and toes that stand in this frame and the next; 0 for others."""
    number, weights = find_stances(motion).number, np.zeros((len(motion.times), len(KEYPOINTS_44)))
    held = (number[1:] == number[:-1]) & (number[1:] >= 0)
    weights[:-1, POINT_IDS] = held / STANDING
    return weights
