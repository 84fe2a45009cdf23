"""The papers' ablations on a fixed budget of synthetic people: python -m benchmarks.ablations [--steps 300 --seeds 3]

Both 2x2 grids of D2A-HMR (depth and distribution; silhouette and masked modelling), the three rows of DeforHMR (one
or many queries, plain or deformable attention) and the choices of its offsets, each from several seeds, which decide
the initial weights and the order of the batches. Every row sees the same people. A finished (row, seed) is kept in
--output and not repeated.

Differences between rows that are smaller than the spread over seeds mean nothing, and a small budget favours whatever
learns fast: read the table beside the papers', not instead of it.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs.d2a_hmr_quickstart import get_config as d2a_config
from configs.quickstart import get_config as deforhmr_config
from data_pipelines.synthetic.source import synthetic_source
from hmr_jax import cli, runtime
from hmr_jax.batch import Batch, zeros
from hmr_jax.checkpoints import load_initial, load_shipped_encoder
from hmr_jax.config import Config, ModelConfig, OptimConfig
from hmr_jax.evaluation.scores import make_score_step, predict_with
from hmr_jax.io.json_files import write_json
from hmr_jax.models import build_model
from hmr_jax.models.encoders import EncoderAlone
from hmr_jax.models.parameters import encoder_variables, init_params, split_params
from hmr_jax.protocols import get_protocol, load_bodies
from hmr_jax.training.step import evaluation_params, init_state, make_train_step

# Row: (MPJPE, PA-MPJPE) in millimetres on 3DPW as D2A-HMR prints them; DeforHMR's numbers could not be had.
PAPER = {"depth": (92.7, 61.8), "distribution": (90.0, 56.9), "silhouette": (89.5, 62.2), "masking": (84.7, 51.4)} | {
    "all": (80.5, 48.4)
}
PAPER_Z = {"distribution": (69.1, 58.3), "all": (65.4, 53.6)}
COLUMNS = ("mpjpe", "pa_mpjpe", "pve", "mpjpe_z", "pa_mpjpe_z")
TABLES = {
    "D2A-HMR: depth and distribution": ("neither of depth and distribution", "depth", "distribution", "all"),
    "D2A-HMR: silhouette and masked modelling": (
        "neither of silhouette and masking", "silhouette", "masking", "all",
    ),
    "DeforHMR: queries and attention": ("single, plain", "multi, plain", "multi, deformable"),
    "DeforHMR: offsets": (
        "multi, deformable", "stride 2", "1 group", "3 groups", "range 4", "range free", "offsets of each layer",
    ),
    "DeforHMR: what the decoder sees of the encoder": (
        "multi, plain", "multi, deformable", "with landmarks", "plain, with landmarks",
        "16x16, plain", "16x16", "16x16, stride 2", "32x32, plain", "32x32",
    ),
}  # fmt: skip
DECODERS: dict[str, dict[str, Any]] = {  # row -> what its decoder has: the quickstart's, three layers, and this
    "single, plain": {"queries": "single", "attention": "plain"},
    "multi, plain": {"attention": "plain"},
    "multi, deformable": {},
    "stride 2": {"offset_stride": 2},
    "1 group": {"offset_groups": 1},
    "3 groups": {"offset_groups": 3},
    "range 4": {"offset_range": 4.0},
    "range free": {"offset_range": -1.0},
    "offsets of each layer": {"share_offsets": False},
    "with landmarks": {"landmarks": True},
    "plain, with landmarks": {"landmarks": True, "attention": "plain"},
    "16x16, plain": {"attention": "plain"},
    "16x16": {},
    "16x16, stride 2": {"offset_stride": 2},
    "32x32, plain": {"attention": "plain"},
    "32x32": {},
}
MAP_STRIDES = {"16x16": 16, "32x32": 8}
"""Of the encoder's map by how the name of a row begins; others have the quickstart's, 8x8 cells of 32 px."""


def configuration(row: str, steps: int, batch_size: int) -> Config:
    """What is trained for a row of the tables."""
    if row in DECODERS:
        config = deforhmr_config()
        decoder = replace(config.model.decoder, **({"depth": 3, "landmarks": False} | DECODERS[row]))
        stride = MAP_STRIDES.get(row.partition(",")[0], config.model.encoder.map_stride)
        model = replace(config.model, decoder=decoder, encoder=replace(config.model.encoder, map_stride=stride))
        config = replace(config, model=model, loss=replace(config.loss, body_pose=1.0))
    else:
        config = d2a_config()
        off = {  # what each row goes without
            "neither of depth and distribution": ("depth", "distribution"),
            "depth": ("distribution",),
            "distribution": ("depth",),
            "neither of silhouette and masking": ("silhouette", "masking"),
            "silhouette": ("masking",),
            "masking": ("silhouette",),
            "all": (),
        }[row]
        model, loss, data = config.model, config.loss, config.data
        model = replace(model, d2a=replace(model.d2a, head="vertices", head_depth=0))  # the paper's head
        if "depth" in off:
            data = replace(data, pseudo_depth=False)
        if "distribution" in off:
            model, loss = replace(model, uncertainty=False), replace(loss, rle=0.0)
        if "silhouette" in off:
            model, loss = replace(model, d2a=replace(model.d2a, silhouette=())), replace(loss, silhouette=0.0)
        if "masking" in off:
            model = replace(model, d2a=replace(model.d2a, mask_ratio=0.0))
        config = replace(config, model=model, loss=loss, data=data)
    early = min(config.loss.rle_early_steps, steps // 4)
    optim = OptimConfig(learning_rate=1e-3, warmup_steps=100, frozen=("encoder",))  # AdamW, as in both papers
    return replace(
        config, steps=steps, batch_size=batch_size, optim=optim, loss=replace(config.loss, rle_early_steps=early),
        data=replace(config.data, source="synthetic"),
    )  # fmt: skip


class Data:
    """The same batches for every row, in memory; a row takes the keys that it reads."""

    def __init__(self, model: ModelConfig, train: int, test: int, batch_size: int):
        cores = os.cpu_count() or 1
        data = replace(d2a_config().data, source="synthetic", processes=cores if cores > 4 else 0)
        config = replace(d2a_config(), batch_size=batch_size, data=data)
        encode = shipped_encoder(model)
        self.train = [encode(batch) for batch in synthetic_source(config, "train", train)(0) if batch["valid"].all()]
        self.test = [encode(batch) for batch in synthetic_source(config, "test", test)(0) if batch["valid"].all()]

    def order(self, seed: int, steps: int) -> Iterator[Batch]:
        """Training batches, every one once before any again."""
        rng = np.random.default_rng(seed)
        for _ in range(-(-steps // len(self.train))):
            yield from (self.train[i] for i in rng.permutation(len(self.train)))


def shipped_encoder(model: ModelConfig) -> Callable[[Batch], Batch]:
    """Puts a batch on the device, with the frozen encoder's features, of 16 bits, in place of its images."""
    variables = encoder_variables(load_shipped_encoder(model.encoder.name))
    encoder = jax.jit(EncoderAlone(model, build_model(model).dtype).apply)

    def encode(batch: Batch) -> Batch:
        found: Any = encoder(variables, batch["image"])
        kept = {name: array for name, array in batch.items() if name != "image"}
        return jax.device_put(kept) | {"features": found.features.astype(np.float16), "landmarks": found.landmarks}

    return encode


def visible(config: Config, batch: Batch) -> Batch:
    """The keys of a batch that this configuration would have asked for."""
    depth, mask = config.data.pseudo_depth, bool(config.loss.silhouette)
    hidden = set() if depth else {"pseudo_depth", "has_pseudo_depth"}
    hidden |= set() if mask else {"mask", "has_mask"}
    return {name: array for name, array in batch.items() if name not in hidden}


def measure(config: Config, data: Data, seeds: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Trains and scores from each seed; everything is compiled once."""
    model, protocol = build_model(config.model), get_protocol("synthetic")
    train_step = jax.jit(make_train_step(config, model), donate_argnums=0)
    score = make_score_step(protocol, load_bodies(protocol, model.body), predict_with(model))
    for seed in seeds:
        start = time.perf_counter()
        weights = init_params(model, jax.random.key(seed), zeros(1, config.data.crop_size))
        trained, frozen = split_params(load_initial(config, weights), config.optim.frozen)
        state = init_state(config, trained)
        for _, batch in zip(range(config.steps), data.order(seed, config.steps), strict=False):
            state, scalars = train_step(state, frozen, visible(config, batch))
        final = evaluation_params(state, frozen)
        rows = [jax.device_get(score(final, visible(config, batch))) for batch in data.test]
        result = {name: float(np.mean([row[name] for row in rows])) for name in COLUMNS}
        yield seed, result | {"loss": float(scalars["loss"]), "seconds": time.perf_counter() - start}


def tables(results: dict[str, dict[int, dict[str, float]]], about: str) -> str:
    """Markdown: mean and standard deviation over seeds, beside the papers' rows."""
    names = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pve": "PVE", "mpjpe_z": "MPJPE(z)", "pa_mpjpe_z": "PA(z)"}
    lines = [about, ""]
    for title, rows in TABLES.items():
        rows = tuple(row for row in rows if results.get(row))
        if not rows:
            continue
        lines += [f"### {title}", "", f"| row | seeds | {' | '.join(names.values())} | paper MPJPE / PA | paper z |"]
        lines += ["|---" * (len(names) + 4) + "|"]
        for row in rows:
            runs = list(results[row].values())
            cells = [_spread([run[name] for run in runs]) for name in names]
            paper = [" / ".join(map(str, found[row])) if row in found else "" for found in (PAPER, PAPER_Z)]
            lines.append(f"| {row} | {len(runs)} | {' | '.join([*cells, *paper])} |")
        lines.append("")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--train", type=int, default=4096, help="people to train on; kept in memory")
    parser.add_argument("--test", type=int, default=512)
    parser.add_argument("--rows", nargs="*", help="of the tables; default: all")
    parser.add_argument("--output", type=Path, default=Path("runs/ablations"))
    options = parser.parse_args()
    known = list(dict.fromkeys(row for rows in TABLES.values() for row in rows))
    if unknown := set(options.rows or ()) - set(known):
        raise ValueError(f"There is no row {min(unknown)!r}: choose of {', '.join(map(repr, known))}.")
    if options.batch_size > min(options.train, options.test):
        raise ValueError(
            f"--train {options.train} and --test {options.test} must fill a batch of {options.batch_size}."
        )
    runtime.set_up()
    options.output.mkdir(parents=True, exist_ok=True)
    budget = (
        f"{options.steps} steps of {options.batch_size}, {options.train} people to train on, {options.test} to test"
    )

    store = options.output / "results.json"
    kept = json.loads(store.read_text()) if store.exists() else {"budget": budget, "rows": {}}
    if kept["budget"] != budget:
        raise ValueError(f"{store} holds results of another budget ({kept['budget']}): choose another --output.")
    results = {row: {int(seed): run for seed, run in runs.items()} for row, runs in kept["rows"].items()}
    data, stride = None, 0
    configs = {row: configuration(row, options.steps, options.batch_size) for row in options.rows or known}
    for row, config in sorted(configs.items(), key=lambda each: -each[1].model.encoder.map_stride):
        missing = [seed for seed in range(options.seeds) if seed not in results.setdefault(row, {})]
        if not missing:
            continue
        if data is None or stride != config.model.encoder.map_stride:
            data, stride = None, config.model.encoder.map_stride  # one map at a time is in memory
            data = Data(config.model, options.train, options.test, options.batch_size)
        for seed, run in measure(config, data, missing):
            results[row][seed] = run
            write_json(store, {"budget": budget, "rows": results})
            print(f"{row}, seed {seed}: " + "  ".join(f"{name} {value:.1f}" for name, value in run.items()), flush=True)
    device = jax.devices()[0].device_kind
    text = tables(
        results, f"Synthetic people: {budget}; on {device}. Millimetres, mean ± standard deviation over seeds."
    )
    (options.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    with cli.one_line_errors():
        main()
