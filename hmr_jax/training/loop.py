"""Training: one linear story from a configuration and batches to checkpoints."""

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np

from hmr_jax import distributed
from hmr_jax.batch import Batch, BatchSource, check, zeros
from hmr_jax.checkpoints import load_initial, runs
from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.evaluation.loop import evaluate
from hmr_jax.io.json_files import read_json, write_json
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params, split_params
from hmr_jax.training import mixture
from hmr_jax.training.logger import RunLogger, parameter_table
from hmr_jax.training.optimizer import learning_rate
from hmr_jax.training.step import init_state, make_train_step, weights_of


def train(
    config: Config,
    batches: BatchSource | Iterable[Batch],
    validation: BatchSource | None = None,
    profile: tuple[int, int] | None = None,
) -> Path:
    """Trains, or goes on where the run's last checkpoint stands.

    Args:
        config: the experiment; a run of the same name must have the same configuration, steps and logging aside.
        batches: a source, called with the step to start from; or any iterable of batches, then a restart
            continues with whatever it yields next.
        validation: a finite source that is evaluated every `config.eval_every` steps.
        profile: first and last step of a profiler trace, written to the run's folder.

    Returns:
        The run's folder.

    Raises:
        ValueError: if the configuration does not fit the batches, the devices or the run's folder.
        FloatingPointError: if a loss is not finite; the last checkpoint is from before.
    """
    run = Path(config.output, config.name).resolve()
    _claim(run, config)

    # ---- model, parameters, state: made on the devices, sharded from the start
    model = build_model(config.model)
    mesh = distributed.make_mesh(config.mesh)
    if config.batch_size % (config.optim.accumulate * mesh.size):
        raise ValueError(
            f"batch_size {config.batch_size} is not divisible by optim.accumulate {config.optim.accumulate} times "
            f"{mesh.size} devices."
        )
    weights = init_params(model, jax.random.key(config.seed), zeros(1, config.data.crop_size))
    weights = jax.tree.map(np.asarray, load_initial(config, weights))
    trained, frozen = split_params(weights, config.optim.frozen)
    frozen = jax.device_put(frozen, distributed.parameter_sharding(mesh, frozen, config.mesh.min_shard_size))
    shapes = jax.eval_shape(lambda: init_state(config, trained))
    shardings = distributed.parameter_sharding(mesh, shapes, config.mesh.min_shard_size)
    state = jax.jit(lambda params: init_state(config, params), out_shardings=shardings)(trained)

    # ---- go on where the last checkpoint stands
    runs.save_frozen(run, frozen)
    manager = runs.open_manager(run, config)
    if manager.latest_step() is not None:
        state = state.with_items(runs.restore(manager, state.items()))
    start = int(state.step)
    logger = RunLogger(run, config.steps, start)
    logger.say(f"run {run}\ndevices {mesh.size} x {jax.devices()[0].device_kind}, start at step {start}")
    logger.say(parameter_table(trained, frozen))
    logger.say(f"data {mixture.names(mixture.training_mixture(config.data))}")

    # ---- the loop
    step_fn = jax.jit(make_train_step(config, model), donate_argnums=0, out_shardings=(shardings, None))
    schedule = learning_rate(config)
    stop = _StopFlag()
    pending: list[tuple[int, dict, np.ndarray]] = []
    clock = _Clock()
    metrics: dict[str, float] | None = None
    stopping = False
    stream = _open(batches, start)
    try:
        for step in range(start, config.steps):
            if profile and step == profile[0]:
                jax.profiler.start_trace(str(run / "profile"))
            with clock.waiting(pending):
                batch = next(stream, None)
            if batch is None:
                raise ValueError(f"The data ended at step {step} of {config.steps}: lower --steps or repeat the data.")
            if step == start:
                check(batch)
            state, scalars = step_fn(state, frozen, distributed.to_global(batch, mesh))
            pending.append((step, scalars, batch["index"]))
            logger.advance()
            if profile and step == profile[1]:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()

            done = step + 1
            stopping = stop.requested  # read once: a signal between two reads would stop without saving
            last = done == config.steps or stopping
            if done % config.log_every == 0 or last or step == start:
                images = len(pending) * config.batch_size
                means = mixture.per_dataset(_fetch(pending), images)
                pending.clear()
                logger.write(done, means | {"lr": float(schedule(step))} | clock.rates(images))
            due = config.eval_every and (done % config.eval_every == 0 or done == config.steps)
            if validation is not None and due:
                _fetch(pending)
                metrics = evaluate(model, weights_of(state, frozen), validation(0), mesh=mesh).metrics
                logger.write(done, metrics, "validation")
                clock.skip()
            if done % config.checkpoint.every == 0 or last:
                _fetch(pending)  # a state that is not finite is never saved
                runs.save(manager, config, done, state.items(), metrics)
                metrics = None
                clock.skip()
            if stopping:
                break
        manager.wait_until_finished()
        if stopping:
            logger.say(f"Stopped at step {done}; the same command goes on from there.")
    except OSError as error:
        raise OSError(
            f"Training stopped: {error}. Checkpoints up to step {manager.latest_step()} are whole."
        ) from error
    finally:
        stop.restore()
        logger.close()
        if hasattr(stream, "close"):
            stream.close()
        manager.close()
    return run


def _claim(run: Path, config: Config) -> None:
    """Writes the run's configuration, or checks that the one it has is the same but for how long and how loud."""
    path = run / "config.json"
    free = ("steps", "log_every", "eval_every", "eval_examples", "output", "checkpoint", "mesh")
    if path.exists():
        old, new = to_dict(from_dict(read_json(path))), to_dict(config)
        for data in (old["data"], new["data"]):
            del data["workers"], data["processes"]  # another machine may have other numbers of cores
        changed = sorted(name for name in new if name not in free and old[name] != new[name])
        if changed:
            raise ValueError(
                f"{run} holds a run with other values of {', '.join(changed)}: choose another --name, or remove it."
            )
    elif jax.process_index() == 0:
        run.mkdir(parents=True, exist_ok=True)
        write_json(path, to_dict(config))


def _open(batches: BatchSource | Iterable[Batch], step: int) -> Iterator[Batch]:
    return batches(step) if callable(batches) else iter(batches)


def _fetch(pending: list[tuple[int, dict, np.ndarray]]) -> dict[str, float]:
    """Means of the scalars of some steps; raises where one of them is not finite."""
    if not pending:
        return {}
    rows = jax.device_get([scalars for _, scalars, _ in pending])
    for (step, _, index), row in zip(pending, rows, strict=True):
        if not np.isfinite(list(row.values())).all():
            values = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            raise FloatingPointError(
                f"Step {step} is not finite ({values}). Its examples are {np.asarray(index).tolist()}. "
                "The last checkpoint is from before; lower optim.learning_rate or look at these examples."
            )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


class _StopFlag:
    """SIGTERM and the first SIGINT ask the loop to save and stop; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._old = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._old[number] = signal.signal(number, self._request)
            except ValueError:  # not in the main thread: the caller handles signals
                break

    def _request(self, *_) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def restore(self) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


class _Clock:
    """Images per second, and the share of time in which the devices had nothing to do because data was late."""

    def __init__(self) -> None:
        self.skip()

    def skip(self) -> None:
        """Starts anew: evaluation and saving do not count."""
        self._start, self._waited = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting(self, pending: list[tuple[int, dict, np.ndarray]]) -> Iterator[None]:
        """Times a wait; one during which the last step was still being computed costs nothing."""
        entered = time.perf_counter()
        yield
        if not pending or pending[-1][1]["loss"].is_ready():
            self._waited += time.perf_counter() - entered

    def rates(self, images: int) -> dict[str, float]:
        elapsed, waited = time.perf_counter() - self._start, self._waited
        self.skip()
        return {"images_per_second": images / elapsed, "data_wait": waited / elapsed}
