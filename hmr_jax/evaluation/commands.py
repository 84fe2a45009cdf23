"""Evaluation of many checkpoints or prediction files under many protocols: tables, result files, report."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hmr_jax import distributed
from hmr_jax.body import Bodies, BodyModel, load_body_model, named_body
from hmr_jax.body.genders import body_folder, load_gender
from hmr_jax.checkpoints import SHIPPED_MODEL, describe, load_for_inference
from hmr_jax.config import Config, DatasetConfig, MeshConfig, to_dict, training_mixture
from hmr_jax.evaluation.external import ExternalPredictions, TruthFile, predict_from_file
from hmr_jax.evaluation.fingerprints import hash_json, hash_params
from hmr_jax.evaluation.loop import collect, evaluate
from hmr_jax.evaluation.outcome import Outcome
from hmr_jax.evaluation.partial import PartialResults
from hmr_jax.evaluation.results import Evaluation, summarize, write_result
from hmr_jax.evaluation.scores import make_score_step
from hmr_jax.evaluation.tables import summary_table, text_table
from hmr_jax.models import build_model
from hmr_jax.models.backbones.vit import arrange_for_inference
from hmr_jax.models.parameters import Params
from hmr_jax.protocols import PROTOCOLS, Protocol, for_dataset, get_protocol, load_bodies

OpenSource = Callable[..., Any]


@dataclass(frozen=True)
class Settings:
    """Options of the command, which describes them."""

    data: str
    split: str
    examples: int
    batch_size: int
    bodies: Path | None
    flip_test: bool
    output: Path | None
    many: bool
    """Whether there are several results, so that `output` is a folder."""


@distributed.ending_together()
def run(
    checkpoints: Sequence[Path],
    predictions: Sequence[Path],
    protocols: Sequence[str],
    settings: Settings,
    open_source: OpenSource,
    report: Path | None = None,
) -> list[Outcome]:
    """Evaluates everything, prints the tables, writes the results.

    Args:
        checkpoints: folders; "model" is the shipped one.
        predictions: files of other systems.
        protocols: "name" or "name@dataset"; none: "synthetic" for what was made for synthetic people.
        settings: the options.
        open_source: (config, split, examples, topology) -> a `BatchSource` with `keys`; from data_pipelines, which the
            library does not import.
        report: folder of the report.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if an option is wrong; before the computation where possible.
    """
    if not checkpoints and not predictions:
        raise ValueError("Name a --checkpoint, a file of --predictions, or two results to --compare.")
    if settings.batch_size < 1 or settings.examples < 0:
        raise ValueError(f"Batches of {settings.batch_size}, {settings.examples} examples: there is nothing to score.")
    chosen = [_parse(text) for text in protocols]
    distributed.initialize()
    # What is missing for the last result is said before the first is computed.
    tasks: list[Callable[[], Outcome]] = []
    single = len(checkpoints) + len(predictions) == 1
    for checkpoint in map(_shipped_by_name, checkpoints):
        config, params = load_for_inference(checkpoint)
        for protocol, dataset in chosen or [_default_protocol(checkpoint, config, settings)]:
            plan = _plan_checkpoint(checkpoint, config, protocol, dataset, settings, open_source)
            kept = params if single else None  # those of many are not held at once
            tasks.append(functools.partial(_evaluate_checkpoint, checkpoint, plan, kept, settings))
    for file in predictions:
        for protocol, dataset in chosen or [(get_protocol("synthetic"), "")]:
            rows = ExternalPredictions(file, protocol)
            if not chosen:
                _check_built_in(rows)
            plan = _plan_predictions(rows, protocol, dataset, settings, open_source)
            tasks.append(functools.partial(_evaluate_predictions, file, plan, rows if single else None, settings))
    outcomes = [task() for task in tasks]
    if len(outcomes) > 1:
        _say("\n" + "\n".join(summary_table(outcomes)))
    if report is not None and jax.process_index() == 0:
        from hmr_jax.evaluation.report import write_evaluation_report

        _say(f"written: {write_evaluation_report(report, outcomes)}")
    return outcomes


def compare(paths: Sequence[Path]) -> None:
    """Prints the paired differences of two result files."""
    from hmr_jax.evaluation.comparison import compare_results, comparison_table

    if len(paths) != 2:
        raise ValueError(f"--compare takes two result files, not {len(paths)}.")
    print(comparison_table(compare_results(*paths)))


@dataclass(frozen=True)
class _Plan:
    """What is needed to score something under a protocol, opened and checked."""

    protocol: Protocol
    bodies: Bodies | None
    source: Any
    split: str
    output: Path
    config: Config | None = None
    model: Any = None


def _shipped_by_name(path: Path) -> Path:
    return SHIPPED_MODEL if str(path) == "model" and not path.exists() else path


def _default_protocol(path: Path, config: Config, settings: Settings) -> tuple[Protocol, str]:
    """The protocol of a checkpoint for which none was named: that of its run, if it fits the data.

    Raises:
        ValueError: it was made for other people than synthetic ones, whose protocols differ.
    """
    synthetic = get_protocol("synthetic")
    if config.model.name == "dense" or (settings.data or config.data.source) == "synthetic":
        return synthetic, ""
    if config.eval_protocol != synthetic.name:
        return get_protocol(config.eval_protocol), ""
    names = [dataset.name for dataset in config.data.evaluation or training_mixture(config.data)]
    roots = {name.split("/")[0] for name in names}
    if roots <= {synthetic.dataset}:
        return synthetic, ""
    fitting = [protocol.name for protocol in PROTOCOLS.values() if protocol.dataset.split("/")[0] in roots]
    raise ValueError(
        f"{path} was made for {', '.join(names)}: name a --protocol"
        + (f", such as {' or '.join(fitting)}." if fitting else "; `hmr protocols` lists them.")
    )


def _check_built_in(predictions: ExternalPredictions) -> None:
    """Raises ValueError for bodies that are not of synthetic people, whose protocol nobody has named."""
    if predictions.topology != load_body_model().topology:
        raise ValueError(
            f"{predictions.path} holds '{predictions.topology}' bodies: name a --protocol; `hmr protocols` lists them."
        )


def _plan_checkpoint(
    path: Path, config: Config, protocol: Protocol, dataset: str, settings: Settings, open_source: OpenSource
) -> _Plan:
    source_kind = {"": config.data.source, "synthetic": "synthetic"}.get(settings.data, "records")
    if settings.data.endswith(".npz"):
        raise ValueError("A truth file has no images: use it with --predictions, or give --data a folder of data sets.")
    if source_kind == "synthetic" and protocol.name != "synthetic":
        raise ValueError(
            f"Protocol {protocol.name} scores the data set '{protocol.dataset}': name its folder by --data."
        )
    # Other models need dense targets in training only, and records may lack them.
    dense = config.data.dense if config.model.name == "dense" else ()
    data = dataclasses.replace(
        config.data, source=source_kind, directory=settings.data or config.data.directory, dense=dense
    )
    if protocol.name != "synthetic" or dataset:
        scored = (DatasetConfig(dataset or protocol.dataset),)  # and nothing else that the run was evaluated on
        data = dataclasses.replace(data, datasets=scored, evaluation=(), three_dpw=0.0)
    config = dataclasses.replace(config, data=data, batch_size=settings.batch_size)
    split = settings.split or protocol.split
    if split == "train" and not settings.examples:
        raise ValueError(
            "The training split is shuffled, augmented and endless: give --examples, how many of them to score."
        )
    if settings.bodies and not Path(config.model.body).is_file():  # the file has moved
        config = dataclasses.replace(config, model=named_body(config.model, settings.bodies))
    model = build_model(config.model)
    body = getattr(model, "body", None)
    bodies = None if body is None else load_bodies(protocol, body, settings.bodies)
    source = open_source(config, split, settings.examples or (1000 if source_kind == "synthetic" else None), None)
    named = f"{path.name}_{protocol.name}.json"
    default = path / f"evaluation_{split if protocol.name == 'synthetic' else protocol.name}.json"
    if path.resolve().is_relative_to(SHIPPED_MODEL.parent):  # results do not belong into the package
        default = Path(named)
    return _Plan(protocol, bodies, source, split, _output(settings, default, named), config, model)


def _evaluate_checkpoint(path: Path, plan: _Plan, params: Params | None, settings: Settings) -> Outcome:
    start = time.perf_counter()
    params = load_for_inference(path)[1] if params is None else params
    protocol = plan.protocol
    summary = {
        "split": plan.split, "checkpoint": describe(path), "config": to_dict(plan.config),
        "flip_test": settings.flip_test,
    }  # fmt: skip
    hashes = {"checkpoint": hash_params(params), "config": hash_json(summary["config"])}
    identity = hashes | {
        "protocol": protocol.name, "split": plan.split, "examples": settings.examples, "flip": settings.flip_test,
    }  # fmt: skip
    partial = PartialResults(plan.output.with_suffix(".partial"), identity)
    result = evaluate(
        plan.model, arrange_for_inference(params), plan.source, baseline=protocol.name == "synthetic",
        progress=jax.process_index() == 0, protocol=protocol, bodies=plan.bodies, flip_test=settings.flip_test,
        keys=_keys(plan.source), partial=partial,
    )  # fmt: skip
    summary["seconds"] = round(time.perf_counter() - start, 1)
    _finish(plan.output, result, summary, hashes, partial)
    return Outcome(path.resolve().name, plan.output, result, plan.source, plan.config, params, plan.bodies)


def _plan_predictions(
    predictions: ExternalPredictions, protocol: Protocol, dataset: str, settings: Settings, open_source: OpenSource
) -> _Plan:
    file = predictions.path
    body = _neutral_body(predictions.topology, settings.bodies, file)
    predictions.check_body(body)
    bodies = load_bodies(protocol, body, settings.bodies)
    split = settings.split or protocol.split
    source: Any
    if settings.data.endswith(".npz"):
        source = TruthFile(Path(settings.data), settings.batch_size, settings.examples)
        source.check_body(body)
        predictions.check_keys(source.all_keys, settings.data)
    else:
        synthetic = settings.data == "synthetic"
        data = dataclasses.replace(
            Config().data, source="synthetic" if synthetic else "records", directory=settings.data or "data",
            datasets=(DatasetConfig(dataset or protocol.dataset),),
        )  # fmt: skip
        config = dataclasses.replace(Config(), data=data, batch_size=settings.batch_size)
        source = open_source(config, split, settings.examples or (1000 if synthetic else None), body.topology)
    output = _output(settings, file.with_name(f"{file.stem}_{protocol.name}.json"), f"{file.stem}_{protocol.name}.json")
    return _Plan(protocol, bodies, source, split, output)


def _evaluate_predictions(
    file: Path, plan: _Plan, predictions: ExternalPredictions | None, settings: Settings
) -> Outcome:
    start = time.perf_counter()
    protocol, source, output = plan.protocol, plan.source, plan.output
    predictions = ExternalPredictions(file, protocol) if predictions is None else predictions
    assert plan.bodies is not None
    hashes = {"predictions": hash_params(dict(predictions.arrays))}
    identity = {
        **hashes,
        "keys": hash_json(predictions.keys.tolist()),
        "protocol": protocol.name,
        "split": plan.split,
        "data": settings.data,
        "examples": settings.examples,
    }
    partial = PartialResults(output.with_suffix(".partial"), identity)
    mesh = distributed.make_mesh(MeshConfig())
    bodies = plan.bodies.on(mesh)
    step = make_score_step(protocol, bodies, predict_from_file(bodies.neutral))
    keys = _keys(source)
    samples = collect(step, {}, predictions.attach(source, keys), mesh, keys, partial, jax.process_index() == 0)
    predictions.check_keys(samples["key"].tolist(), f"the data set of protocol {protocol.name}")
    result = summarize(protocol, samples)
    if unknown := predictions.unknown(samples["key"].tolist()):
        _say(f"!!! {len(unknown):,} keys of {file} are not among the samples, such as {unknown[0]}; they do not count.")
    summary = {"split": plan.split, "predictions": file.name, "seconds": round(time.perf_counter() - start, 1)}
    _finish(output, result, summary, hashes, partial)
    return Outcome(file.stem, output, result)


def _finish(output: Path, result: Evaluation, summary: dict, hashes: dict, partial: PartialResults) -> None:
    """Writes and prints a result; removes its partial results."""
    if jax.process_index() == 0:
        write_result(output, result, summary, hashes)
        _say(text_table(result))
        _say(f"written: {output}")
    partial.remove()


def _output(settings: Settings, default: Path, name: str) -> Path:
    """The result file: `default`, `settings.output`, or `name` in that folder."""
    if settings.output is None:
        return default
    return settings.output / name if settings.many else settings.output


def _neutral_body(topology: str, folder: Path | None, file: Path) -> BodyModel:
    """The neutral body of external predictions."""
    if topology == load_body_model().topology:
        return load_body_model()
    return load_gender(body_folder(folder), "n", f"{file} has topology '{topology}' and")


def _keys(source: Any) -> Callable[[np.ndarray], Sequence[str]]:
    """The source's names of its examples, or else their numbers."""
    return getattr(source, "keys", None) or (lambda numbers: [str(number) for number in numbers])


def _parse(text: str) -> tuple[Protocol, str]:
    """ "name" or "name@dataset" -> protocol and data set ("" for the protocol's)."""
    name, _, dataset = text.partition("@")
    return for_dataset(get_protocol(name), dataset), dataset


def _say(text: str) -> None:
    """Prints on the first host."""
    if jax.process_index() == 0:
        print(text)
