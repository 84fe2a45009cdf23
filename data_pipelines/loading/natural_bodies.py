"""Natural poses and shapes for the adversarial prior: of motion capture, or those of `synthetic.poses.NaturalPoses`.

Which body goes with an example depends on the example's number alone.

Shapes: B examples, F frames.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.random_streams import Draws
from hmr_jax.batch import Batch, BatchSource
from hmr_jax.io.research_files import read_contents

RATE = 10  # frames of motion capture that are kept per second: neighbours hardly differ
_BODY = slice(3, 66)  # of a row of poses: the 21 joints that SMPL, SMPL+H and SMPL-X share, after the root


def with_natural_bodies(source: BatchSource, bodies: Callable[[np.ndarray], Batch]) -> BatchSource:
    """A source whose batches also hold "natural_pose" and "natural_betas"."""

    def batches(step: int) -> Iterator[Batch]:
        stream: Any = source(step)
        with contextlib.closing(stream) if hasattr(stream, "close") else contextlib.nullcontext(stream):
            for batch in stream:
                yield {**batch, **bodies(np.asarray(batch["index"]))}

    return batches


class MotionCapture:
    """Frames of AMASS: .npz files with "poses" (F, 156 or 165), radians, and "betas"; the hands stay flat."""

    def __init__(self, folder: str | Path, seed: int):
        """Reads every sequence in a folder and its subfolders.

        Raises:
            FileNotFoundError: there is no sequence.
            ValueError: a file is damaged, or holds something else than poses.
        """
        path = Path(folder).expanduser()
        files = sorted(path.rglob("*.npz"))
        sequences = [sequence for file in files if (sequence := _read(file)) is not None]
        if not sequences:
            raise FileNotFoundError(f"There is no motion in {path}: data.motion names a folder of AMASS's .npz files.")
        poses, betas = zip(*sequences, strict=True)
        self._pose = np.concatenate(poses)
        self._betas = np.repeat(np.stack(betas), [len(pose) for pose in poses], axis=0)
        self._seed = seed

    def __call__(self, numbers: np.ndarray) -> Batch:
        """ "natural_pose" (B, 23, 3) and "natural_betas" (B, 10) of examples by their numbers."""
        rows = (Draws(self._seed, numbers, "natural").uniform() * len(self._pose)).astype(np.int64)
        return {"natural_pose": self._pose[rows], "natural_betas": self._betas[rows]}


def _read(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """(F, 23, 3) poses and (10,) betas of a sequence; None for AMASS's files of a subject's shape alone."""
    arrays = read_contents(file)
    if "poses" not in arrays:
        return None
    try:
        poses = np.asarray(arrays["poses"], np.float32)
        betas = np.asarray(arrays.get("betas", np.zeros(10)), np.float32).ravel()[:10]
        rate = next((float(arrays[name]) for name in ("mocap_framerate", "mocap_frame_rate") if name in arrays), RATE)
    except (TypeError, ValueError):
        raise ValueError(f"{file} holds poses, betas or a frame rate that are no numbers, unlike AMASS.") from None
    if not (np.isfinite(poses).all() and np.isfinite(betas).all() and 0 < rate < np.inf):
        raise ValueError(f"{file} holds poses, betas or a frame rate that are not finite: it is damaged.")
    if poses.ndim != 2 or not len(poses) or poses.shape[1] < _BODY.stop or len(betas) < 10:
        raise ValueError(
            f"{file} holds poses of shape {poses.shape} and {len(betas)} betas: AMASS has (F, 156) or (F, 165), and at "
            "least 10."
        )
    if np.abs(poses).max() > 4 * np.pi:
        raise ValueError(f"The poses of {file} reach {np.abs(poses).max():.3g}: they must be axis-angle in radians.")
    kept = poses[:: max(1, round(rate / RATE)), _BODY].reshape(-1, 21, 3)
    return np.pad(kept, ((0, 0), (0, 2), (0, 0))).astype(np.float32), betas
