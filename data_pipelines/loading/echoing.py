"""Data echoing (Choi et al. 2019): each person is shown several times where devices train faster than processors draw.

A pool of batches is shown as it is made. It is then shown again, as often as asked for, in a new order over the whole
pool and mirrored every second time. Then the next pool begins. What is shown at a step depends on the step and the
seed alone.

Shapes: S side of the crop.
"""

from collections.abc import Generator

import numpy as np

from data_pipelines.loading.background import BatchStream
from data_pipelines.loading.crops import Labels, flip
from hmr_jax.batch import MAPS, Batch
from hmr_jax.body.joints import SMPL_24_FLIP

_PARTS_FLIP = np.concatenate([[0], 1 + SMPL_24_FLIP]).astype(np.uint8)  # 0 is the background


def echoed(fresh: BatchStream, step: int, uses: int, pool: int, seed: int) -> Generator[Batch, None, None]:
    """The batches from `step` on.

    Args:
        fresh: new batches, from the beginning of the pool that `step` falls into; closed at the end.
        step: where to start.
        uses: how often each example is shown.
        pool: batches that are kept.
        seed: of the order.
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
        fresh.close()


def _rows(kept: list[Batch], batches: np.ndarray, rows: np.ndarray) -> Batch:
    """A batch of the given rows of the given batches."""
    chosen = list(zip(batches.tolist(), rows.tolist(), strict=True))
    return {name: np.stack([kept[batch][name][row] for batch, row in chosen]) for name in kept[0]}


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
    labels = flip(labels, np.full(count, 1 - 1 / side), np.ones(count, bool))  # a crop is 1 wide, a pixel 1 / S
    for name in ("keypoints_2d", "keypoints_3d", "pose"):
        out[name] = getattr(labels, name).astype(np.float32)
    return out
