"""Showing each person several times, where devices train faster than processors draw (data echoing, Choi et al. 2019).

A pool of batches is shown as it is made, then again as often as asked for: mixed anew over the whole pool, and mirrored
every second time. Then comes the next pool. What is shown at a step depends on nothing but the step and the seed.
"""

from collections.abc import Iterator

import numpy as np

from data_pipelines.loading.crops import Labels, flip
from hmr_jax.batch import MAPS, Batch
from hmr_jax.body.joints import SMPL_24_FLIP

_PARTS_FLIP = np.concatenate([[0], 1 + SMPL_24_FLIP]).astype(np.uint8)  # 0 is the background


def reused(fresh: Iterator[Batch], step: int, uses: int, pool: int, seed: int) -> Iterator[Batch]:
    """The batches from `step` on.

    Args:
        fresh: new batches, from the beginning of the pool that `step` falls into.
        step: where to start.
        uses: how often each example is shown.
        pool: batches that are kept.
        seed: of the mixing.
    """
    cycle, position = divmod(step, uses * pool)
    try:
        while True:
            kept: list[Batch] = []
            for batch in fresh:
                kept.append(batch)
                if len(kept) > position:
                    yield batch
                if len(kept) == pool:
                    break
            else:
                return
            size = len(kept[0]["index"])
            for use in range(1, uses):
                order = np.random.default_rng([seed, cycle, use]).permutation(pool * size).reshape(pool, size)
                for number in range(max(0, position - use * pool), pool):
                    batch = _rows(kept, *np.divmod(order[number], size))
                    yield mirrored(batch) if use % 2 else batch
            cycle, position = cycle + 1, 0
    finally:
        fresh.close()  # type: ignore[attr-defined]


def _rows(kept: list[Batch], batches: np.ndarray, rows: np.ndarray) -> Batch:
    places = list(zip(batches.tolist(), rows.tolist(), strict=True))
    return {name: np.stack([kept[batch][name][row] for batch, row in places]) for name in kept[0]}


def mirrored(batch: Batch) -> Batch:
    """A batch of crops without a source image, mirrored left to right with its labels."""
    out = dict(batch)
    for name in MAPS:
        if name in batch:
            out[name] = np.ascontiguousarray(batch[name][:, :, ::-1])
    if "parts" in batch:
        out["parts"] = _PARTS_FLIP[out["parts"]]
    count, side = batch["image"].shape[:2]
    nothing = np.zeros((count, 3, 3))
    labels = Labels(
        nothing[:, 0, :2], np.ones(count), batch["keypoints_2d"], batch["keypoints_3d"], batch["pose"], nothing
    )
    labels = flip(labels, np.full(count, 1 - 1 / side), np.ones(count, bool))  # the crop is 1 wide; so a pixel is 1 / S
    for name in ("keypoints_2d", "keypoints_3d", "pose"):
        out[name] = getattr(labels, name).astype(np.float32)
    return out
