"""What the documentation holds: its pages, blocks of code, inline code and links, and the commands among them.

Pages are read as the site shows them, with what comes from the code filled in (tools/docs_pages.py).
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hmr_jax.config import Config
from tools import docs_pages

ROOT = Path(__file__).parent.parent
PROGRAMS = ("python", "hmr", "make", "pip", "pytest", "pre-commit")
LANGUAGES = {"bash", "python", "python exec", "text", "json"}
_FENCE = re.compile(r"^ *```(.*)$")
_LIST = re.compile(r"^\s*([-*]|\d+\.)\s")


@dataclass(frozen=True)
class Piece:
    """Something that a page holds."""

    page: str
    line: int
    text: str
    language: str = ""
    """Of a block; "" for inline code."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@functools.cache
def pages() -> dict[str, str]:
    """Texts by the paths of their files: every page of the documentation and the headers of configurations."""
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    names += [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))]
    names += [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("hmr_jax/assets/*/README.md"))]
    texts = {name: docs_pages.markdown((ROOT / name).read_text()) for name in names}
    headers = {path: ast.get_docstring(ast.parse(path.read_text())) for path in sorted(ROOT.glob("configs/*.py"))}
    return texts | {str(path.relative_to(ROOT)): text or "" for path, text in headers.items()}


def blocks(page: str, text: str) -> Iterator[Piece]:
    """Fenced blocks, and blocks that are indented by four spaces as "bash": they should hold commands."""
    language, start, in_list = None, 0, False
    fenced: list[str] = []
    indented: list[str] = []
    for number, line in enumerate([*text.splitlines(), "."], 1):
        if fence := _FENCE.match(line):
            if language is None:
                language, start, fenced = fence[1].strip(), number, []
            else:
                yield Piece(page, start, "\n".join(fenced), language)
                language = None
            continue
        if language is not None:
            fenced.append(line)
            continue
        in_list = bool(_LIST.match(line)) or line.startswith(":::") or (in_list and line[:1] in ("", " "))
        if line.startswith("    ") and not in_list:
            start = start if indented else number
            indented.append(line)
        elif indented and line:
            yield Piece(page, start, "\n".join(indented), "bash")
            indented = []


def without_blocks(text: str) -> str:
    """The text with fenced and indented blocks blank, so that lines keep their numbers."""
    lines, fenced = text.splitlines(), False
    for number, line in enumerate(lines):
        fence = bool(_FENCE.match(line))
        if fence or fenced:
            lines[number] = ""
        fenced ^= fence
    return "\n".join(lines)


def inline_code(page: str, text: str) -> Iterator[Piece]:
    """What is in backticks; it may go on over the end of a line."""
    plain = without_blocks(text)
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", plain):
        yield Piece(page, plain.count("\n", 0, found.start()) + 1, " ".join(found[1].split()))


def links(page: str, text: str) -> Iterator[Piece]:
    """Targets of links and images."""
    plain = re.sub(r"`[^`]*`", "", without_blocks(text))
    for found in re.finditer(r"\]\(([^)\s]+)\)", plain):
        yield Piece(page, plain.count("\n", 0, found.start()) + 1, found[1])


def anchors(text: str) -> set[str]:
    """Names of the headings of a page, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def commands(block: Piece) -> Iterator[Piece]:
    """The command lines of a block, continued ones as one, loops with their first value."""
    values: dict[str, str] = {}
    whole = re.sub(r"\s*\\\n\s*", " ", block.text)
    for number, line in enumerate(whole.splitlines()):
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        if loop := re.fullmatch(r"for (\w+) in (\S+).*; do", text):
            values[loop[1]] = loop[2]
        elif text and text != "done":
            for name, value in values.items():
                text = text.replace(f"${name}", value)
            yield Piece(block.page, block.line + number + 1, text, "bash")


def every_block() -> list[Piece]:
    """All blocks of all pages."""
    return [block for page, text in pages().items() for block in blocks(page, text)]


def every_command() -> list[Piece]:
    """All command lines: those of shell blocks, and inline code that starts with a program."""
    found = [command for block in every_block() if block.language == "bash" for command in commands(block)]
    return found + [piece for piece in every_inline_code() if _program(piece.text) in PROGRAMS]


def every_inline_code() -> list[Piece]:
    """All inline code of all pages."""
    return [piece for page, text in pages().items() for piece in inline_code(page, text)]


def _program(text: str) -> str:
    return text.split()[0].rpartition("/")[2]


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def has_field(name: str) -> bool:
    """Whether the configuration has a field, such as "optim.learning_rate"."""
    value: Any = Config()
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
