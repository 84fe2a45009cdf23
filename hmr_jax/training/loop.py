"""Training: from a configuration and batches to checkpoints.

`train` reads from top to bottom: the run's folder, the model and its state, the last checkpoint, then one step after
another. Its helpers follow in the order in which it uses them.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from hmr_jax import distributed
from hmr_jax.batch import Batch, BatchSource, check
from hmr_jax.body import with_content
from hmr_jax.checkpoints import runs
from hmr_jax.checkpoints.loading import check_frozen
from hmr_jax.config import Config, check_training
from hmr_jax.evaluation.loop import evaluate, score_step
from hmr_jax.metrics import DENSE_METRICS
from hmr_jax.models import build_model
from hmr_jax.models.parameters import Params
from hmr_jax.protocols import get_protocol, load_bodies
from hmr_jax.training import mixture, run_folder
from hmr_jax.training.feature_cache import cached_source
from hmr_jax.training.logger import RunLogger, parameter_table
from hmr_jax.training.optimizer import learning_rate
from hmr_jax.training.rates import Rates
from hmr_jax.training.signals import StopSignals
from hmr_jax.training.stalls import COMPUTING, DATA, SAVING, VALIDATING, StallWatch
from hmr_jax.training.start import initial_state, resumed_state
from hmr_jax.training.step import donated, evaluation_params, kept, make_train_step


@distributed.ending_together()
def train(config: Config, batches: BatchSource | Iterable[Batch], validation: BatchSource | None = None) -> Path:
    """Trains a model, or resumes the run from its last checkpoint.

    Args:
        config: the experiment. A run of the same name must have the same configuration, except for the fields that
            `run_folder` names: steps, logging, validation, checkpoints and devices.
        batches: a source, called with the step to start from; or any iterable of batches, of which a resumed run takes
            whatever comes next.
        validation: a finite source that is evaluated every `config.eval_every` steps.

    Returns:
        The run's folder. After a signal it holds fewer than `config.steps` steps.

    Raises:
        ValueError: if the configuration does not fit the batches, the devices or the run's folder.
        FileNotFoundError: if `config.init_from`, or a body or regressor of the validation, is not there.
        FloatingPointError: if a loss is not finite; that state is not saved.
        OSError: if a checkpoint cannot be written.
    """
    # ---- What can be wrong before anything is computed.
    check_training(config)
    model = build_model(config.model)
    config = replace(config, model=with_content(config.model, getattr(model, "body", None)))
    mesh = distributed.make_mesh(config.mesh)
    _check_batch_size(config, mesh.size)
    if not config.init_from:
        check_frozen(config, config.optim.frozen, set())
    validate = None if validation is None else _Validation(config, model, mesh, validation)

    with contextlib.ExitStack() as closing:
        # ---- The run's folder, and the state: that of its last checkpoint, or a new one on the devices.
        run, before = run_folder.claim(config)
        distributed.at_loss_say(lambda: run_folder.what_is_saved(run))
        manager = closing.enter_context(runs.open_manager(run, config))
        logger = closing.enter_context(RunLogger(run, config.steps))
        if before is None:
            state, frozen = initial_state(config, model, mesh, run)
        else:
            state, frozen = resumed_state(config, model, mesh, run, manager, logger.say)
        start = int(state.step)
        logger.start(start)
        logger.say(f"run {run}\ndevices {mesh.size} x {jax.devices()[0].device_kind}, start at step {start}")
        logger.say(parameter_table(state.params, frozen))
        logger.say(f"data {mixture.names(mixture.training_mixture(config.data))}")
        if before is not None and before.steps != config.steps:
            logger.say(_changed_schedule(before, config, start))

        # ---- The features of a frozen encoder, if they are kept.
        if config.cache.examples:
            parameters = distributed.to_host(frozen, mesh)
            batches = cached_source(config, batches, parameters, model.dtype, logger.say)

        # ---- The loop: one batch, one step; now and then log, validate, save.
        shardings = jax.tree.map(lambda array: array.sharding, state)
        train_step = jax.jit(make_train_step(config, model), donate_argnums=donated(), out_shardings=(shardings, None))
        schedule = learning_rate(config)
        signals = closing.enter_context(StopSignals())
        stalls = closing.enter_context(StallWatch(start, logger.say))
        rates = Rates(logger.say)
        pending: list[_PendingStep] = []
        stream = closing.enter_context(_stream_from(batches, start))
        done, stopping = start, False
        try:
            for step in range(start, config.steps):
                if config.profile and step == config.profile[0]:
                    jax.profiler.start_trace(str(run / "profile"))
                stalls.at(step, DATA)
                with rates.waiting_for_data(pending[-1].scalars["loss"] if pending else None):
                    batch = next(stream, None)
                stalls.at(step, COMPUTING)
                if batch is None:
                    raise ValueError(
                        f"The data ended at step {step} of {config.steps}: lower --steps or repeat the data."
                    )
                if step == start:
                    check(batch)
                state, scalars = train_step(state, frozen, distributed.to_global(batch, mesh))
                pending.append(_PendingStep(step, scalars, batch["index"]))
                logger.advance()
                if config.profile and step == config.profile[1]:
                    jax.block_until_ready(state)
                    jax.profiler.stop_trace()

                done = step + 1
                stopping = signals.stop_at(done)  # read once: a signal between two reads would stop without saving
                last = done == config.steps or stopping

                if done % config.log_every == 0 or last or step == start:
                    examples = len(pending) * config.batch_size
                    means = mixture.per_dataset(_finite_means(pending), examples)
                    pending.clear()
                    logger.write(done, means | {"lr": float(schedule(step))} | rates.of(examples))

                metrics: dict[str, float] | None = None
                due = config.eval_every and (done % config.eval_every == 0 or done == config.steps)
                if validate is not None and due:
                    _finite_means(pending)
                    stalls.at(step, VALIDATING)
                    metrics = validate(evaluation_params(state, frozen))
                    logger.write(done, metrics, "validation")
                    rates.restart()

                # A state that was validated is always saved: else the best checkpoint would be another one.
                if done % config.checkpoint.every == 0 or last or metrics:
                    _finite_means(pending)  # a state that is not finite is never saved
                    stalls.at(step, SAVING)
                    runs.save(manager, config, done, kept(state).items(), metrics)
                    rates.restart()

                if stopping:
                    break
            runs.finish(manager)
        except OSError as error:
            with contextlib.suppress(OSError):
                runs.finish(manager)  # the save before may still be going on
            raise OSError(f"Training stopped: {error}. {run_folder.what_is_saved(run)}") from error
        if done < config.steps:
            logger.say(f"Stopped at step {done:,} of {config.steps:,}; the same command resumes from there.")
    return run


class _Validation:
    """Evaluates parameters during training, with one compiled program; checked before the first step."""

    def __init__(self, config: Config, model: Any, mesh: Mesh, batches: BatchSource):
        self._model, self._mesh, self._batches = model, mesh, batches
        self._protocol = get_protocol(config.eval_protocol)
        body = getattr(model, "body", None)
        bodies = None if body is None else load_bodies(self._protocol, body, config.eval_bodies or None)
        self._step = score_step(model, mesh, self._protocol, bodies)
        names = DENSE_METRICS if body is None else self._protocol.metrics
        if config.checkpoint.metric not in names:
            raise ValueError(
                f"checkpoint.metric is '{config.checkpoint.metric}', but the validation measures {', '.join(names)}."
            )

    def __call__(self, params: Params) -> dict[str, float]:
        return evaluate(
            self._model, params, self._batches(0), mesh=self._mesh, protocol=self._protocol, step=self._step
        ).metrics


def _changed_schedule(before: Config, now: Config, step: int) -> str:
    """What other `steps` do to the learning rate."""
    old, new = (float(learning_rate(config)(step)) for config in (before, now))
    return (
        f"note: steps is {now.steps:,} now and was {before.steps:,}; the schedule of the learning rate stretches with "
        f"it: {new:.3g} at step {step:,}, where it would have been {old:.3g}."
    )


def _check_batch_size(config: Config, devices: int) -> None:
    """Raises ValueError if the micro-batches do not divide over the devices."""
    if config.batch_size % (config.optim.accumulate * devices):
        raise ValueError(
            f"batch_size {config.batch_size} is not divisible by optim.accumulate {config.optim.accumulate} times "
            f"{devices} devices."
        )


@contextlib.contextmanager
def _stream_from(batches: BatchSource | Iterable[Batch], step: int) -> Iterator[Iterator[Batch]]:
    """The batches from a step on; ends the stream's threads, if it has any."""
    stream = batches(step) if callable(batches) else iter(batches)
    try:
        yield stream
    finally:
        if hasattr(stream, "close"):
            stream.close()


class _PendingStep(NamedTuple):
    """A step whose scalars have not been read from the devices yet."""

    step: int
    scalars: dict[str, Any]
    """By name; arrays on the devices."""
    examples: np.ndarray
    """(B,) numbers of the batch's examples."""


def _finite_means(pending: Sequence[_PendingStep]) -> dict[str, float]:
    """Waits for the scalars of some steps; their means, or FloatingPointError if one of them is not finite."""
    if not pending:
        return {}
    rows = jax.device_get([item.scalars for item in pending])
    for item, row in zip(pending, rows, strict=True):
        if not np.isfinite(list(row.values())).all():
            values = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            raise FloatingPointError(
                f"Step {item.step} is not finite ({values}). Its examples are {np.asarray(item.examples).tolist()}. "
                "The last checkpoint is from before; lower optim.learning_rate or look at these examples."
            )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
