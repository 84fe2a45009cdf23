"""Builds a data set: `python -m data_pipelines.build NAME --manual-dir D --data-dir O`.

Nothing unfinished is ever under the data set's name: it is built in a folder beside it, checked, and then renamed.
"""

import argparse
import ast
import contextlib
import inspect
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from data_pipelines.builders import BUILDERS, load_builder
from data_pipelines.decode import import_tensorflow


def build(
    name: str,
    data_dir: str | Path,
    manual_dir: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Builds a data set and writes `build_report.json` into its folder.

    Args:
        name: One of `BUILDERS`.
        data_dir: Where data sets are; the new one becomes data_dir/name/version.
        manual_dir: Where the files are that the owners publish.
        overwrite: Replace a data set that is there already, once the new one is finished.
        **options: Keyword arguments of the builder.

    Returns:
        The report: split: rows read, kept, dropped and why.

    Raises:
        FileExistsError: It is there already.
        ValueError: Unknown name or option, or a split without a single good row.
    """
    builder_class = load_builder(name)
    _check_options(name, builder_class, options)
    import_tensorflow()
    import tensorflow_datasets as tfds

    data_dir = Path(data_dir).expanduser().resolve()
    staging = data_dir / f".{name}.building-{os.getpid()}"
    try:
        builder = builder_class(data_dir=staging, file_format="array_record", **options)
        finished = Path(builder.data_dir)
        target = data_dir / finished.relative_to(staging)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists already: add --overwrite to build it again.")
        manual = None if manual_dir is None else Path(manual_dir).expanduser()
        tfds.disable_progress_bar()  # the report has one that knows the total
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces the staging folder
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
        report = builder.report.as_dict()
        (finished / "build_report.json").write_text(json.dumps(report, indent=2) + "\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(staging / "replaced")
        finished.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    print(f"{target}\n{builder.report}")
    return report


def _check_options(name: str, builder_class: type, options: dict[str, Any]) -> None:
    known = [p.name for p in inspect.signature(builder_class).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise ValueError(f"'{name}' has no option '{option}'; it has {', '.join(known) or 'none'}.")


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    try:
        return key, ast.literal_eval(value.capitalize() if value.lower() in ("true", "false") else value)
    except (ValueError, SyntaxError):
        return key, value  # a plain word, such as a path


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m data_pipelines.build", description="Build a data set of records.")
    parser.add_argument("name", help=f"one of: {', '.join(BUILDERS)}")
    parser.add_argument("--data-dir", default="data", help="where data sets are (default: data)")
    parser.add_argument("--manual-dir", help="where the files are that you got from the data set's owners")
    parser.add_argument(
        "--examples", nargs="+", type=_pair, metavar="SPLIT=N", help="how many examples to make or keep"
    )
    parser.add_argument("--option", nargs="+", type=_pair, default=[], metavar="NAME=VALUE", help="for the builder")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that is there already")
    chosen = parser.parse_args(arguments)
    options = dict(chosen.option)
    if chosen.examples:
        options["examples"] = dict(chosen.examples)
    try:
        build(chosen.name, chosen.data_dir, chosen.manual_dir, chosen.overwrite, **options)
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
