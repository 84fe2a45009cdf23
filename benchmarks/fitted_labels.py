"""What bodies fitted to keypoints are worth as labels: `python -m benchmarks.fitted_labels`.

Synthetic people of another kind than those of training (lying, crouching and kneeling ones, rolled cameras, strong
colours) are written as photographs with COCO's 17 keypoints, off by a per cent of the box. The decoder of the
quickstart is trained on usual synthetic people alone, and with half of each batch from these photographs, once with
the bodies that `python -m data_pipelines.fit` makes and once with the true ones. All three are scored on other
photographs of the same kind.

Shapes: N people.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.ablations import shipped_encoder
from configs.quickstart import get_config as quickstart
from data_pipelines.build import build, build_with
from data_pipelines.builders.formats.fitted_records import FittedRecords
from data_pipelines.builders.labels.fits import Fitted
from data_pipelines.fit import fit
from data_pipelines.sources import make_source
from data_pipelines.synthetic import poses
from data_pipelines.synthetic.people import STILL, SyntheticPeople
from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import cli, runtime
from hmr_jax.batch import REQUIRED, Batch, zeros
from hmr_jax.checkpoints import load_initial
from hmr_jax.config import Config, DatasetConfig
from hmr_jax.evaluation.scores import make_score_step, predict_with
from hmr_jax.io.json_files import write_json
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params, split_params
from hmr_jax.protocols import get_protocol, load_bodies
from hmr_jax.training.step import evaluation_params, init_state, make_train_step

STANCES = ("lie", "squat", "bend", "kneel", "sit on heels", "sit on floor")
AUGMENT = replace(STILL, rotation=40.0, rotation_probability=1.0, color=0.5)
COCO_17 = [0, 16, 15, 18, 17, 34, 33, 35, 32, 36, 31, 28, 27, 29, 26, 30, 25]
"""Of the 44 keypoints."""
NOISE = 0.01
"""Of the keypoints, units of the box."""
TAN = np.tan(np.radians(30))
LENS = 0.2
"""Spread of the logarithm of the photographs' fields of view, whose middle is the assumed one."""
ROWS = ("synthetic people alone", "and fitted labels", "and true labels")
METRICS = ("mpjpe", "pa_mpjpe", "pve")
KEPT = (*(name for name in REQUIRED if name != "image"), "features", "landmarks")
NAME = "coco_pose/annotations"
VIEWS = 3
"""Augmented views of each photograph."""


@contextlib.contextmanager
def unusual_stances() -> Iterator[None]:
    """Meanwhile the generator draws people of `STANCES` only."""
    usual = dict(poses.STANCES)
    poses.STANCES.update({name: replace(one, weight=0) for name, one in usual.items() if name not in STANCES})
    try:
        yield
    finally:
        poses.STANCES.update(usual)


def write_photographs(folder: Path, split: str, count: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Photographs and their keypoints as COCO publishes them; returns key: pose, betas, keypoints_3d."""
    with unusual_stances():
        source = SyntheticPeople(size=256, seed=seed, margin=1.9, augment=AUGMENT)
        drawn = source.batch(np.arange(count))
        source.close()
    rng = np.random.default_rng(seed)
    images, annotations, truth = [], [], {}
    (folder / f"{split}2014").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for i in range(count):
        middle, focal, side = drawn["intrinsics"][i, :2, 2], drawn["intrinsics"][i, 0, 0], drawn["box_size"][i] / 1.2
        corners = drawn["box_center"][i] + np.array([[-side / 2], [side / 2]]) - middle
        half = focal * TAN * np.exp(rng.normal(0, LENS)) * (np.array([0.8, 0.6]) if i % 2 else np.array([0.6, 0.8]))
        half = np.ceil(half * max(1, (np.abs(corners).max(0) / half).max())).astype(int)  # shows the whole person
        shift = half - np.rint(middle).astype(int)
        photo = np.full((2 * half[1], 2 * half[0], 3), 128, np.uint8)
        low, high = np.maximum(shift, 0), np.minimum(shift + 256, 2 * half)
        photo[low[1] : high[1], low[0] : high[0]] = drawn["image"][i][
            low[1] - shift[1] : high[1] - shift[1], low[0] - shift[0] : high[0] - shift[0]
        ]
        name = f"COCO_{split}2014_{i:012d}.jpg"
        Image.fromarray(photo).save(folder / f"{split}2014" / name, quality=95)
        points = drawn["keypoints_2d"][i, COCO_17] + [*(shift - 0.5), 1]  # visibility 2
        points[:, :2] += NOISE * 1.2 * side * rng.normal(size=(17, 2))
        corner = drawn["box_center"][i] - side / 2 + shift
        images.append({"id": i, "file_name": name, "width": int(2 * half[0]), "height": int(2 * half[1])})
        annotations.append({
            "id": i, "image_id": i, "iscrowd": 0, "num_keypoints": 17, "category_id": 1,
            "bbox": [*map(float, corner), float(side), float(side)], "keypoints": points.ravel().tolist(),
        })  # fmt: skip
        truth[f"{name}-{i}"] = {label: drawn[label][i] for label in ("pose", "betas", "keypoints_3d")}
    path = folder / "annotations" / f"person_keypoints_{split}2014.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return truth


class KnownRecords(FittedRecords):
    """The same records with the true bodies."""

    truth: dict[str, dict[str, np.ndarray]] = {}  # noqa: RUF012

    def fit(self, records: Any) -> list[Fitted]:
        """Looks them up."""
        return [Fitted(record | self._labels(self.truth[record["key"]])) for record in records]

    def _labels(self, true: dict[str, np.ndarray]) -> dict[str, Any]:
        return {
            "topology": "hmr-default", "smpl/global_orient": true["pose"][0], "smpl/betas": true["betas"],
            "smpl/body_pose": true["pose"][1:].reshape(69), "keypoints_3d": true["keypoints_3d"],
            **dict.fromkeys(("smpl/has_pose", "smpl/has_betas"), np.float32(1)),
        }  # fmt: skip


def make_data(folder: Path, train: int, test: int) -> None:
    """Builds the data sets: keypoints, fitted bodies, true bodies."""
    if (folder / "data" / "known").exists():
        return
    shutil.rmtree(folder / "coco", ignore_errors=True)
    KnownRecords.truth = {
        **write_photographs(folder / "coco", "train", train, 71), **write_photographs(folder / "coco", "val", test, 72),
    }  # fmt: skip
    data = folder / "data"
    build(NAME, data, folder / "coco", overwrite=True)
    began = time.perf_counter()
    fit(NAME, data, "fitted", overwrite=True, splits=("train",))
    print(f"fitted in {time.perf_counter() - began:.0f} s", flush=True)
    build_with(KnownRecords, "known", data, data, True, 1, {"source": NAME, "new_name": "known"})


def label_errors(folder: Path) -> np.ndarray:
    """(N,) mm: MPJPE of the accepted fits."""
    from data_pipelines.records.reader import RecordReader

    fitted, known = (RecordReader(folder / "data", name, "train") for name in ("fitted", "known"))
    truth = {record["key"]: record["keypoints_3d"][:, :3] for record in (known[i] for i in range(len(known)))}
    errors = []
    for record in (fitted[i] for i in range(len(fitted))):
        mine, its = record["keypoints_3d"][:, :3], truth[record["key"]]
        errors.append(1000 * np.linalg.norm((mine - mine[39]) - (its - its[39]), axis=1).mean())
    return np.array(errors)


def configuration(folder: Path, steps: int, batch_size: int) -> Config:
    """The quickstart's model, trained for a few steps."""
    config = quickstart()
    data = replace(config.data, directory=str(folder / "data"))
    optim = replace(config.optim, warmup_steps=min(50, steps // 4))
    return replace(config, steps=steps, batch_size=batch_size, optim=optim, data=data)


def encoded(config: Config, folder: Path, synthetic: int, train: int) -> tuple[list[dict], list[Batch]]:
    """The examples of each kind, synthetic, fitted and known, with features; and the batches to score on."""
    encode = shipped_encoder(config.model)

    def pool(batches: Any) -> dict[str, np.ndarray]:
        made = [encode(batch) for batch in batches]
        return {name: np.concatenate([np.asarray(batch[name]) for batch in made]) for name in KEPT}

    size = config.batch_size
    pools = [pool(islice(synthetic_source(config, "train")(0), max(1, synthetic // size)))]
    for name in ("fitted", "known"):
        source = make_source(replace(config, data=replace(config.data, datasets=(DatasetConfig(name),))), "train")
        pools.append(pool(islice(source(0), max(1, VIEWS * train // size))))
    held = replace(config, data=replace(config.data, datasets=(DatasetConfig("known"),)))
    tests = [encode(batch) for batch in make_source(held, "validation")(0)]
    return pools, [{name: batch[name] for name in KEPT} for batch in tests]


def batches(pools: list[dict], row: int, size: int, seed: int) -> Iterator[Batch]:
    """Endless: synthetic people, and in the other rows half of each batch of a second kind."""
    rng = np.random.default_rng(seed)
    shares = [(pools[0], size)] if row == 0 else [(pools[0], size // 2), (pools[row], size - size // 2)]
    while True:
        chosen = [(pool, rng.integers(0, len(pool["index"]), count)) for pool, count in shares]
        yield {name: np.concatenate([pool[name][rows] for pool, rows in chosen]) for name in KEPT}


def main(
    folder: Path = Path("runs/fitted_labels"),
    train: int = 384,
    test: int = 256,
    synthetic: int = 2048,
    steps: int = 240,
    batch_size: int = 32,
    seeds: int = 3,
) -> None:
    """Prints the errors of the three ways of training, and the share of the gain that fitted labels bring.

    Args:
        folder: of everything that is made; data sets that are there are used again.
        train: photographs to train on.
        test: photographs to score on.
        synthetic: usual synthetic people.
        steps: of each training.
        batch_size: of each step.
        seeds: trainings of each way.
    """
    runtime.set_up()
    make_data(folder, train, test)
    errors = label_errors(folder)
    print(f"labels: {len(errors)} of {train} fits accepted; MPJPE median {np.median(errors):.1f} mm, "
          f"90 % {np.quantile(errors, 0.9):.1f} mm", flush=True)  # fmt: skip
    config = configuration(folder, steps, batch_size)
    pools, tests = encoded(config, folder, synthetic, train)
    model, protocol = build_model(config.model), get_protocol("synthetic")
    train_step = jax.jit(make_train_step(config, model), donate_argnums=0)
    score = make_score_step(protocol, load_bodies(protocol, model.body), predict_with(model))
    found = np.zeros((len(ROWS), seeds, len(METRICS)))
    for seed in range(seeds):
        weights = load_initial(config, init_params(model, jax.random.key(seed), zeros(1, config.data.crop_size)))
        for row, name in enumerate(ROWS):
            trained, frozen = split_params(jax.tree.map(np.array, weights), config.optim.frozen)
            state = init_state(config, trained)
            for batch in islice(batches(pools, row, batch_size, seed), steps):
                state, _ = train_step(state, frozen, batch)
            final = evaluation_params(state, frozen)
            scores = [jax.device_get(score(final, batch)) for batch in tests]
            valid = np.concatenate([np.asarray(batch["valid"]) for batch in tests]) > 0
            for number, metric in enumerate(METRICS):
                found[row, seed, number] = np.concatenate([one[metric] for one in scores])[valid].mean()
            print(f"seed {seed}, {name}: {found[row, seed].round(1)}", flush=True)
    means = found.mean(1)
    for row, name in enumerate(ROWS):
        spread = found[row].std(0, ddof=1) if seeds > 1 else np.zeros(len(METRICS))
        cells = (f"{mean:.1f} ± {one:.1f}" for mean, one in zip(means[row], spread, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    shares = (means[0] - means[1]) / (means[0] - means[2])
    print(
        f"share of the gain of true labels: {', '.join(f'{m} {s:.2f}' for m, s in zip(METRICS, shares, strict=True))}"
    )
    write_json(folder / "results.json", {"rows": ROWS, "metrics": METRICS, "errors": found.tolist()})


if __name__ == "__main__":
    cli.run(main, "python -m benchmarks.fitted_labels")
