"""Training: from a configuration and batches to checkpoints.

`train` reads from top to bottom: the run's folder, the model and its state, the last checkpoint, then one step after
another. Its helpers follow in the order in which it uses them.
"""

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from hmr_jax import distributed
from hmr_jax.batch import Batch, BatchSource, check, zeros
from hmr_jax.checkpoints import load_initial, runs
from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.evaluation.loop import evaluate
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.models import build_model
from hmr_jax.models.encoders import encoded_zeros
from hmr_jax.models.parameters import init_params, split_params
from hmr_jax.training import mixture
from hmr_jax.training.feature_cache import cached_source
from hmr_jax.training.logger import RunLogger, parameter_table
from hmr_jax.training.optimizer import learning_rate
from hmr_jax.training.step import evaluation_params, init_state, make_train_step


def train(
    config: Config,
    batches: BatchSource | Iterable[Batch],
    validation: BatchSource | None = None,
    profile: tuple[int, int] | None = None,
) -> Path:
    """Trains a model, or resumes the run from its last checkpoint.

    Args:
        config: the experiment. A run of the same name must have the same configuration, except for steps, logging,
            validation, checkpoints and devices.
        batches: a source, called with the step to start from; or any iterable of batches, of which a resumed run takes
            whatever comes next.
        validation: a finite source that is evaluated every `config.eval_every` steps.
        profile: first and last step of a profiler trace, written to the run's folder.

    Returns:
        The run's folder.

    Raises:
        ValueError: if the configuration does not fit the batches, the devices or the run's folder.
        FloatingPointError: if a loss is not finite; that state is not saved.
        OSError: if a checkpoint cannot be written.
    """
    # ---- The run's folder.
    run = Path(config.output, config.name).resolve()
    _write_or_compare_config(run, config)

    # ---- The model and its state, created on the devices with their shardings.
    model = build_model(config.model)
    mesh = distributed.make_mesh(config.mesh)
    _check_batch_size(config, mesh.size)
    example = zeros(1, config.data.crop_size)
    if config.init_from == "encoder":  # which needs no initial values
        example |= encoded_zeros(config.model, config.data.crop_size)
    params = init_params(model, jax.random.key(config.seed), example)
    params = jax.tree.map(np.asarray, load_initial(config, params))
    trained, frozen = split_params(params, config.optim.frozen)
    frozen = jax.device_put(frozen, distributed.parameter_sharding(mesh, frozen, config.mesh.min_shard_size))
    shapes = jax.eval_shape(lambda: init_state(config, trained))
    shardings = distributed.parameter_sharding(mesh, shapes, config.mesh.min_shard_size)
    state = jax.jit(lambda params: init_state(config, params), out_shardings=shardings)(trained)

    # ---- The last checkpoint, if there is one.
    runs.save_frozen(run, frozen)
    manager = runs.open_manager(run, config)
    if manager.latest_step() is not None:
        state = state.with_items(runs.restore(manager, state.items()))
    start = int(state.step)

    # ---- The log.
    logger = RunLogger(run, config.steps, start)
    logger.say(f"run {run}\ndevices {mesh.size} x {jax.devices()[0].device_kind}, start at step {start}")
    logger.say(parameter_table(trained, frozen))
    logger.say(f"data {mixture.names(mixture.training_mixture(config.data))}")

    # ---- The features of a frozen encoder, if they are kept.
    if config.cache.examples:
        batches = cached_source(config, batches, params, model.dtype, logger.say)

    # ---- The loop: one batch, one step; now and then log, validate, save.
    train_step = jax.jit(make_train_step(config, model), donate_argnums=0, out_shardings=(shardings, None))
    schedule = learning_rate(config)
    signals = _StopSignals()
    timer = _Timer()
    pending: list[_PendingStep] = []
    metrics: dict[str, float] | None = None  # of the last validation, until they are saved with a checkpoint
    stopping = False
    stream = _stream_from(batches, start)
    try:
        for step in range(start, config.steps):
            if profile and step == profile[0]:
                jax.profiler.start_trace(str(run / "profile"))
            with timer.waiting_for_data(pending):
                batch = next(stream, None)
            if batch is None:
                raise ValueError(f"The data ended at step {step} of {config.steps}: lower --steps or repeat the data.")
            if step == start:
                check(batch)
            state, scalars = train_step(state, frozen, distributed.to_global(batch, mesh))
            pending.append(_PendingStep(step, scalars, batch["index"]))
            logger.advance()
            if profile and step == profile[1]:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()

            done = step + 1
            stopping = signals.stop_requested  # read once: a signal between two reads would stop without saving
            last = done == config.steps or stopping

            if done % config.log_every == 0 or last or step == start:
                examples = len(pending) * config.batch_size
                means = mixture.per_dataset(_finite_means(pending), examples)
                pending.clear()
                logger.write(done, means | {"lr": float(schedule(step))} | timer.rates(examples))

            due = config.eval_every and (done % config.eval_every == 0 or done == config.steps)
            if validation is not None and due:
                _finite_means(pending)
                metrics = evaluate(model, evaluation_params(state, frozen), validation(0), mesh=mesh).metrics
                logger.write(done, metrics, "validation")
                timer.restart()

            if done % config.checkpoint.every == 0 or last:
                _finite_means(pending)  # a state that is not finite is never saved
                runs.save(manager, config, done, state.items(), metrics)
                metrics = None
                timer.restart()

            if stopping:
                break
        manager.wait_until_finished()
        if stopping:
            logger.say(f"Stopped at step {done}; the same command resumes from there.")
    except OSError as error:
        raise OSError(
            f"Training stopped: {error}. Checkpoints up to step {manager.latest_step()} are complete; the same command "
            "resumes from there."
        ) from error
    finally:
        signals.restore_handlers()
        logger.close()
        if hasattr(stream, "close"):
            stream.close()
        manager.close()
    return run


def _write_or_compare_config(run: Path, config: Config) -> None:
    """Writes the configuration of a new run; raises ValueError if an existing run has another experiment."""
    path = run / "config.json"
    may_change = ("steps", "log_every", "eval_every", "eval_examples", "output", "checkpoint", "mesh")
    if path.exists():
        old, new = to_dict(from_dict(read_json(path))), to_dict(config)
        for values in (old, new):
            del (
                values["data"]["workers"],
                values["data"]["processes"],
            )  # another machine may have other numbers of cores
            del values["cache"]["directory"], values["cache"]["limit_gib"]
        changed = sorted(name for name in new if name not in may_change and old[name] != new[name])
        if changed:
            raise ValueError(
                f"{run} holds a run with other values of {', '.join(changed)}: choose another --name, or remove it."
            )
    elif jax.process_index() == 0:
        run.mkdir(parents=True, exist_ok=True)
        write_json(path, to_dict(config))


def _check_batch_size(config: Config, devices: int) -> None:
    """Raises ValueError if the micro-batches do not divide over the devices."""
    if config.batch_size % (config.optim.accumulate * devices):
        raise ValueError(
            f"batch_size {config.batch_size} is not divisible by optim.accumulate {config.optim.accumulate} times "
            f"{devices} devices."
        )


def _stream_from(batches: BatchSource | Iterable[Batch], step: int) -> Iterator[Batch]:
    """The batches from a step on."""
    return batches(step) if callable(batches) else iter(batches)


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


class _StopSignals:
    """SIGTERM and the first SIGINT ask the loop to save and stop; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._old_handlers = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._old_handlers[number] = signal.signal(number, self._request)
            except ValueError:  # not in the main thread: the caller handles signals
                break

    def _request(self, *_) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True

    def restore_handlers(self) -> None:
        """Reinstates the handlers from before."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)


class _Timer:
    """Images per second, and the share of time in which the devices were idle because data was late."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Starts a new measurement; called after validation and saving, which do not count."""
        self._start, self._waited = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting_for_data(self, pending: Sequence[_PendingStep]) -> Iterator[None]:
        """Times a wait for a batch; it does not count if the devices were still computing the last step."""
        entered = time.perf_counter()
        yield
        if not pending or pending[-1].scalars["loss"].is_ready():
            self._waited += time.perf_counter() - entered

    def rates(self, images: int) -> dict[str, float]:
        """Rates since the last restart, for this many images; restarts."""
        elapsed, waited = time.perf_counter() - self._start, self._waited
        self.restart()
        return {"images_per_second": images / elapsed, "data_wait": waited / elapsed}
