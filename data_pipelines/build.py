"""Builds a data set: `python -m data_pipelines.build NAME --manual-dir D --data-dir O`.

A data set is built in a folder beside its own, checked and then renamed: what has its name is complete. A build in
blocks (`builders.base`) that was interrupted goes on where it stopped.
"""

import ast
import contextlib
import difflib
import inspect
import io
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from etils import epath
from tyro.conf import Positional, UseAppendAction, arg

from data_pipelines.builders import BUILDERS, load_builder
from data_pipelines.records.reader import import_tensorflow
from data_pipelines.records.storage import resolved
from hmr_jax import cli

_NAME_HELP = f"one of: {', '.join(BUILDERS)}; NAME/PART for sets with parts"


def build(
    name: str,
    data_dir: str | Path,
    manual_dir: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """Builds a data set and writes `build_report.json` into its folder.

    Args:
        name: one of `BUILDERS`, with "/configuration" appended where it has several.
        data_dir: where data sets are, on a disk or at gs://; the new one becomes data_dir/name/version.
        manual_dir: where the files are that the owners publish.
        overwrite: replace a data set that is there already, once the new one is finished.
        workers: processes for a builder that works in blocks; 0: one per core.
        **options: keyword arguments of the builder.

    Returns:
        The report: split: rows read, kept, dropped and why.

    Raises:
        FileExistsError: it is there already.
        FileNotFoundError: the owners' files are not there.
        ValueError: the name or an option is unknown, or a split has not a single good row.
        BlockingIOError: another process is building it.
    """
    name, _, chosen = name.partition("/")
    builder_class = load_builder(name)
    _check_options(name, builder_class, options)
    import_tensorflow()
    _check_configuration(name, builder_class, chosen)
    if chosen:
        options["config"] = chosen
    return build_with(
        builder_class, f"{name}-{chosen}" if chosen else name, data_dir, manual_dir, overwrite, workers, options
    )


def build_with(
    builder_class: Any,
    label: str,
    data_dir: str | Path,
    manual_dir: str | Path | None,
    overwrite: bool,
    workers: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Builds a data set with a builder of any class; `label` names the folder of the unfinished build. See `build`."""
    import tensorflow_datasets as tfds

    from data_pipelines.builders.base import RecordBuilder
    from data_pipelines.builders.finish import publish

    home = resolved(data_dir)
    in_blocks = issubclass(builder_class, RecordBuilder)
    staging = home / f".{label}.building{'' if in_blocks else f'-{os.getpid()}'}"
    builder = builder_class(data_dir=staging / "tfds", file_format="array_record", **options)
    target = home / epath.Path(builder.data_dir).relative_to(staging / "tfds")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already: add --overwrite to build it again.")
    keep = False
    try:
        if in_blocks:
            keep = True  # what is finished of an interrupted build
            finished = _build_in_blocks(builder, options, manual_dir, staging, workers or os.cpu_count() or 1)
            keep = False
        else:
            manual = None if manual_dir is None else resolved(manual_dir)
            tfds.disable_progress_bar()  # the report has one that knows the total
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces the staging folder
                builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
            finished = epath.Path(os.fspath(builder.data_dir))
        report = builder.report.as_dict()
        (finished / "build_report.json").write_text(json.dumps(report, indent=2) + "\n")
        publish(finished, target)
    finally:
        if not keep and staging.exists():
            staging.rmtree()
    print(f"{target}\n{builder.report}")
    return report


def _check_configuration(name: str, builder_class: Any, chosen: str) -> None:
    known = [config.name for config in builder_class.BUILDER_CONFIGS]
    if chosen not in (known or [""]):
        near = difflib.get_close_matches(chosen, known)
        hint = f"did you mean {near[0]}? " if near else ""
        has = f"{hint}It has {', '.join(f'{name}/{config}' for config in known)}." if known else "It has no parts."
        raise ValueError(f"'{name}' has no part '{chosen}': {has}" if chosen else f"Say which part of '{name}': {has}")


def _build_in_blocks(builder: Any, options: dict, manual_dir: Any, staging: epath.Path, workers: int) -> epath.Path:
    from data_pipelines.builders.blocks import build_blocks, only_one

    if manual_dir is None:
        raise ValueError(f"'{builder.name}' needs --manual-dir. {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    manual = resolved(manual_dir)
    if not manual.exists():
        raise FileNotFoundError(f"There is no folder {manual}. {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    builder.manual_dir = manual
    blocks = {split: blocks for split, blocks in builder.blocks(manual).items() if blocks}
    if not blocks:
        raise FileNotFoundError(f"{manual} holds nothing of '{builder.name}'. {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    with only_one(staging):
        return build_blocks(builder, options, blocks, staging, workers)


def _check_options(name: str, builder_class: type, options: dict[str, Any]) -> None:
    known = [
        p.name
        for kind in builder_class.__mro__
        if "__init__" in vars(kind) and kind.__module__.split(".")[0] != "tensorflow_datasets"
        for p in inspect.signature(vars(kind)["__init__"]).parameters.values()
        if p.kind == p.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            raise ValueError(f"'{name}' has no option '{option}'; it has {', '.join(known) or 'none'}.")


_Pairs = UseAppendAction[tuple[tuple[str, ...], ...]]  # `--option a=1 b=2` and `--option a=1 --option b=2` alike


def main(
    name: Positional[Annotated[str, arg(metavar="NAME", help=_NAME_HELP)]],
    data_dir: str = "data",
    manual_dir: str | None = None,
    examples: Annotated[_Pairs, arg(metavar="SPLIT=N...")] = (),
    option: Annotated[_Pairs, arg(metavar="NAME=VALUE...")] = (),
    depth_dir: str | None = None,
    workers: int = 0,
    overwrite: bool = False,
) -> None:
    """Builds a data set of records.

    Args:
        name: of the data set.
        data_dir: where data sets are, on a disk or at gs://.
        manual_dir: where the files are that you got from the data set's owners.
        examples: how many to make or keep of each split.
        option: the builder's own options.
        depth_dir: depth maps of the images, as `hmr precompute-depth` writes them for the manual folder.
        workers: processes; 0: one per core.
        overwrite: replace a data set that is there already.
    """
    options = _values(option)
    if examples:
        options["examples"] = _values(examples)
    if depth_dir:
        options["depth_dir"] = depth_dir
    try:
        build(name, data_dir, manual_dir, overwrite, workers, **options)
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on with what is finished.")


def _values(pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """NAME=VALUE texts, the value as Python writes it, or a plain word such as a path."""
    values: dict[str, Any] = {}
    for text in itertools.chain(*pairs):
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"'{text}' is not of the form NAME=VALUE.")
        try:
            values[key] = ast.literal_eval(value.capitalize() if value.lower() in ("true", "false") else value)
        except (ValueError, SyntaxError):
            values[key] = value
    return values


if __name__ == "__main__":
    cli.run(main, "python -m data_pipelines.build")
