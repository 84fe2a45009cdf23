"""The folder of a run when training starts: new, left by a start that failed, or holding checkpoints to go on from."""

import secrets
from pathlib import Path
from typing import Any

import jax

from hmr_jax import distributed
from hmr_jax.checkpoints import runs
from hmr_jax.config import Config, from_dict, to_dict
from hmr_jax.io.json_files import read_json, write_json

# Fields that may change between the parts of one run. "cache" and "data" in part: see below.
_MAY_CHANGE = (
    "name", "output", "steps", "log_every", "eval_every", "eval_examples", "eval_protocol", "eval_bodies", "profile",
    "checkpoint", "mesh", "data.workers", "data.processes", "cache.directory", "cache.limit_gib",
    "model.body",  # its content counts, which is the next field
)  # fmt: skip


_CONTENT = "model.body_content"  # "" in runs from before it existed


def claim(config: Config) -> tuple[Path, Config | None]:
    """Makes the run's folder with its config.json, or finds the run that is to be resumed.

    A folder without a checkpoint is free, whatever configuration a start that failed has left in it.

    Returns:
        The folder, and the configuration with which the run was started last, or None for a new run.

    Raises:
        ValueError: the folder holds another experiment, or more steps than `config.steps`; or the hosts do not see
            the same folder.
    """
    run = Path(config.output, config.name).resolve()
    _check_shared(run)
    path = run / "config.json"
    steps = runs.steps(run)
    old = from_dict(read_json(path)) if steps else None
    if old is not None:
        _check_same_experiment(run, old, config)
        if steps[-1] > config.steps:
            raise ValueError(
                f"{run} has done {steps[-1]:,} steps already: --steps {config.steps} cannot take it back; choose a "
                "larger number or another --name."
            )
    distributed.agree(0)  # all hosts have looked before the first one writes
    if jax.process_index() == 0:
        write_json(path, to_dict(config))
    distributed.agree(0)
    return run, old


def what_is_saved(run: Path) -> str:
    """What of a run is saved, and how it goes on, in a sentence."""
    if step := runs.last_step(run):
        return f"Checkpoints in {run} up to step {step} are complete; the same command resumes from there."
    return f"There is no complete checkpoint in {run} yet; the same command starts anew."


def _check_shared(run: Path) -> None:
    """Raises ValueError if a host does not see the folder that the first one sees."""
    run.mkdir(parents=True, exist_ok=True)
    if jax.process_count() == 1:
        return
    mark = run / f"seen_by_all_{distributed.agree(secrets.randbits(30))}"
    if jax.process_index() == 0:
        mark.touch()
    distributed.agree(0)
    seen = distributed.all_agree(mark.exists())
    if jax.process_index() == 0:
        mark.unlink(missing_ok=True)
    if not seen:
        raise ValueError(f"{run} is not the same folder on all hosts: --output must name one that they share.")


def _check_same_experiment(run: Path, old: Config, new: Config) -> None:
    """Raises ValueError if a field differs that makes another experiment."""
    before, now = _flat(to_dict(old)), _flat(to_dict(new))
    changed = [
        f"{name} ({before.get(name)!r} there, {now.get(name)!r} now)"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not _may_change(name) and (name != _CONTENT or before[name])
    ]
    if changed:
        raise ValueError(
            f"{run} holds a run with other values of {', '.join(changed)}: choose another --name, or remove it."
        )


def _may_change(name: str) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in _MAY_CHANGE)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat
