"""Fills the pages of the documentation that come from the code; a hook of mkdocs, see mkdocs.yml.

A page holds a mark, what readers of the file itself should know, and the end of the mark. The site shows instead of it

    <!-- generated: commands -->                      the help of every command of `hmr`
    <!-- generated: fields -->                        every field of the configuration, from the sources
    <!-- generated: script examples/predict.py -->    a script in percent format: text and code

`markdown` makes the text without mkdocs, so tests read the pages as the site shows them.
"""

import ast
import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints
from unittest import mock

from hmr_commands import program
from hmr_jax.config import Config

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
RUN_MARK = re.compile(r"^```python exec$", re.MULTILINE)
WIDTH = 100


def on_page_markdown(text: str, **_: Any) -> str:
    """What mkdocs calls with the text of each page."""
    return RUN_MARK.sub("```python", markdown(text))


def markdown(text: str) -> str:
    """The text of a page with its marks filled in."""
    return MARK.sub(lambda found: MAKERS[found[1]](*found[2].split()), text)


def commands() -> str:
    """A section for each command: its help."""
    sections = []
    for name in program.COMMANDS:
        said = io.StringIO()
        plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
        with mock.patch.dict(os.environ, plain), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            program.parse([name, "--help"])()
        lines = [line.rstrip() for line in said.getvalue().strip().splitlines() if line.strip(" -") or not line.strip()]
        sections.append("\n".join([f"## hmr {name}\n", "```text", *lines, "```"]))
    return "\n\n".join(sections)


def fields() -> str:
    """A table for each part of the configuration, the whole first."""
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in _tables(Config, ""))


def _tables(kind: type, prefix: str) -> list[tuple[str, str]]:
    documented = field_docs(kind)
    hints, rows, parts = get_type_hints(kind), [], []
    for field in dataclasses.fields(kind):
        name = f"{prefix}{field.name}"
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        text, shown = documented[field.name], f"`{_cell(str(default))}`" if default != "" else "empty"
        if dataclasses.is_dataclass(default):
            shown = f"[below](#{name.replace('.', '')})"
            parts += _tables(hints[field.name], f"{name}.")
        if isinstance(default, tuple):
            shown = " ".join(f"`{_cell(str(item))}`" for item in default) or "none"
        rows.append(f"| `{name}` | {_cell(text)} | {shown} |")
    head = f"{_cell(ast.get_docstring(_class(kind)) or '')}\n\n| field | meaning | default |\n|---|---|---|"
    return [(prefix.rstrip(".") or "Config", "\n".join([head, *rows])), *parts]


def field_docs(kind: type) -> dict[str, str]:
    """Field: the string below it in the source; raises KeyError later where there is none."""
    body = _class(kind).body
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _class(kind: type) -> ast.ClassDef:
    tree = ast.parse(ROOT.joinpath(*kind.__module__.split(".")).with_suffix(".py").read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def script(name: str) -> str:
    """A script in percent format as text and blocks of code."""
    parts = [f"*This page is the script `{name}`. Run it with `python {name}`.*"]
    for markdown_cell, lines in cells((ROOT / name).read_text()):
        body = "\n".join(lines).strip("\n")
        if body:
            parts.append(body if markdown_cell else f"```python\n{body}\n```")
    heading = next((part for part in parts if part.startswith("# ")), "")
    return "\n\n".join(parts) if not heading else "\n\n".join([parts[1], parts[0], *parts[2:]])


def cells(text: str) -> list[tuple[bool, list[str]]]:
    """Cells of a script: whether it is text, and its lines, of a text without "# " before them."""
    found: list[tuple[bool, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            found.append((line.endswith("[markdown]"), []))
        elif found and found[-1][0]:
            found[-1][1].append(line.removeprefix("#").removeprefix(" "))
        elif found:
            found[-1][1].append(line)
    return found


MAKERS: dict[str, Callable[..., str]] = {"commands": commands, "fields": fields, "script": script}
